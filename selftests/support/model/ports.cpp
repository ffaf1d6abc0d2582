// SPDX-License-Identifier: BSD-2-Clause
// RFC 768 and RFC 9293. Checksums are the receiver's to check: a wrong one changes nothing about whose the packet is.
#include "packet.hpp"

namespace model {
namespace {

// A datagram may end before its packet does, not after.
bool is_whole_udp(View message) {
  return message.size() >= 8 && message.u16(4) >= 8 && message.u16(4) <= message.size();
}

bool is_whole_tcp(View message) {
  if (message.size() < 20) return false;
  const std::size_t header = (std::size_t{message.u8(12)} >> 4) * 4;
  return header >= 20 && header <= message.size();
}

}  // namespace

std::expected<Ports, Reason> read_ports(std::uint8_t protocol, View message) {
  bool whole = false;
  switch (protocol) {
    case protocol_udp: whole = is_whole_udp(message); break;
    case protocol_tcp: whole = is_whole_tcp(message); break;
    default: return std::unexpected(Reason::protocol);
  }
  if (!whole) return std::unexpected(Reason::malformed);
  return Ports{.source = message.u16(0), .destination = message.u16(2)};
}

}  // namespace model
