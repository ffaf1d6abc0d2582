// SPDX-License-Identifier: BSD-2-Clause
// ICMP errors around what they quote.
#pragma once

#include <vector>

#include "wire.hpp"

namespace bpf_test {

struct IcmpKind {
  std::uint8_t type, code;
};
inline const std::vector<IcmpKind> errors4{{3, 0}, {3, 1}, {3, 3}, {3, 13}, {11, 0}, {11, 1}, {12, 0}};
inline const std::vector<IcmpKind> errors6{{1, 0}, {1, 4}, {3, 0}, {3, 1}, {4, 0}, {4, 1}, {4, 2}};
inline const IcmpKind too_big4{3, 4}, too_big6{2, 0};

inline bool is_six(const Packet& packet) {
  return packet.to.contains(':');
}

// The IP packet, as a router has it when it gives up on it.
inline Bytes quote_of(const Packet& packet) {
  const Bytes frame = packet.bytes();
  return slice(frame, l3_at, frame.size() - l3_at);
}

// The frame of an error from `outer.from` to `outer.to`.
inline Bytes icmp_error(Packet outer, IcmpKind kind, const Bytes& quote) {
  outer.protocol = is_six(outer) ? proto_icmp6 : proto_icmp;
  return around(outer, icmp_message(outer.from, outer.to, kind.type, kind.code, quote));
}

}  // namespace bpf_test
