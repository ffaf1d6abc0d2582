// SPDX-License-Identifier: BSD-2-Clause
// Datagrams cut up, byte by byte from RFC 791 and RFC 8200.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "wire.hpp"

namespace bpf_test {

struct Cut {
  std::uint32_t offset = 0;  // bytes
  bool more = true;
  std::uint32_t id = 0x1234;
};

// The bytes of a datagram from `offset` on, as the fragment of it that the cut says. Everything but the addresses and
// the protocol is taken from the cut.
inline Bytes fragment_of(const Packet& packet, const Bytes& data, const Cut& cut) {
  if (packet.from.find(':') == std::string_view::npos) {
    const Bytes frame = around(packet, data);
    const auto field = static_cast<std::uint16_t>(cut.offset / 8 | (cut.more ? 0x2000U : 0U));
    return patch_ip4(patch_ip4(frame, l3_at + 4, be16(static_cast<std::uint16_t>(cut.id))), l3_at + 6, be16(field));
  }
  Packet outer = packet;
  const auto field = static_cast<std::uint16_t>(cut.offset | (cut.more ? 1U : 0U));
  outer.extensions.push_back({44, hex("00 00") + be16(field) + be32(cut.id)});
  return around(outer, data);
}

// The first bytes of a UDP datagram of `whole` bytes, or of a TCP segment.
inline Bytes head_of(const Packet& packet, std::size_t size = 24, std::uint16_t whole = 3000) {
  Bytes head = be16(packet.from_port) + be16(packet.to_port);
  if (packet.protocol == proto_udp)
    head = head + be16(whole) + hex("ab cd");
  else
    head = head + hex("00 00 00 01 00 00 00 00 50 02 ff ff ab cd 00 00");
  while (head.size() < size) head.push_back(static_cast<std::uint8_t>(head.size()));
  return head;
}

inline Bytes first_of(const Packet& packet, std::uint32_t id = 0x1234) {
  return fragment_of(packet, head_of(packet), {.offset = 0, .more = true, .id = id});
}
inline Bytes later_of(const Packet& packet, std::uint32_t id = 0x1234, std::uint32_t offset = 24) {
  return fragment_of(packet, Bytes(16, 0x5a), {.offset = offset, .more = true, .id = id});
}
inline Bytes last_of(const Packet& packet, std::uint32_t id = 0x1234, std::uint32_t offset = 40) {
  return fragment_of(packet, hex("01 02 03"), {.offset = offset, .more = false, .id = id});
}

}  // namespace bpf_test
