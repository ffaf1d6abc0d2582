// SPDX-License-Identifier: BSD-2-Clause
#include "guarding.hpp"

#include "packet.hpp"

namespace model {
namespace {

// The most that a receiver could take for the sender, whatever lengths the headers say.
struct Sender {
  Address address;
  std::optional<Tuple> tuple = {};  // none: the ports are behind more than is read
};

// The bytes as far as there are any; there is nothing to read beyond.
std::optional<View> readable(View frame, std::size_t at, std::size_t count) {
  if (at > frame.size() || count > frame.size() - at) return std::nullopt;
  return frame.part(at, count);
}

bool has_ports(std::uint8_t protocol) {
  return protocol == protocol_tcp || protocol == protocol_udp || protocol == protocol_udp_lite ||
         protocol == protocol_sctp || protocol == protocol_dccp;
}

// How long a header is that another follows. None: it is no such header.
std::optional<std::size_t> length_of(std::uint8_t protocol, bool is_ip6, std::uint8_t says) {
  switch (protocol) {
    case 51: return std::size_t{4} * (says + 2U);
    case 0:
    case 43:
    case 60: return is_ip6 ? std::optional(std::size_t{8} * (says + 1U)) : std::nullopt;
    case 44: return is_ip6 ? std::optional(std::size_t{8}) : std::nullopt;
    default: return std::nullopt;
  }
}

std::optional<Sender> behind(View frame, std::size_t at, std::uint8_t protocol, bool is_ip6, bool is_cut,
                             const Address& address) {
  for (unsigned headers = 0; headers <= headers_walked; ++headers) {
    const auto start = readable(frame, at, 4);
    if (!start) return is_cut ? std::optional(Sender{.address = address}) : std::nullopt;
    if (has_ports(protocol)) return Sender{.address = address, .tuple = Tuple{address, start->u16(0), protocol}};
    const auto length = length_of(protocol, is_ip6, start->u8(1));
    if (!length) return std::nullopt;
    if (protocol == 44) {
      if (start->u16(2) >> 3 != 0) return std::nullopt;
      is_cut |= (start->u16(2) & 1) != 0;
    }
    at += *length;
    protocol = start->u8(0);
  }
  return Sender{.address = address};
}

std::optional<Sender> sender_of(View frame) {
  std::size_t at = 12;
  unsigned tags = 0;
  auto type = readable(frame, at, 2);
  for (; type && (type->u16(0) == 0x8100 || type->u16(0) == 0x88a8) && tags < headers_walked; ++tags)
    type = readable(frame, at += 4, 2);
  if (!type) return std::nullopt;
  at += 2;
  if (type->u16(0) == type_ip4) {
    const auto ip = readable(frame, at, 20);
    if (!ip || (ip->u16(6) & 0x1fff) != 0) return std::nullopt;
    return behind(frame, at + std::size_t{4} * (ip->u8(0) & 15U), ip->u8(9), false, (ip->u16(6) & 0x2000) != 0,
                  Address::ip4(ip->part(12, 4)));
  }
  const auto ip = readable(frame, at, 40);
  if (type->u16(0) != type_ip6 || !ip) return std::nullopt;
  return behind(frame, at + 40, ip->u8(6), true, false, Address::ip6(ip->part(8, 16)));
}

}  // namespace

Decision uplink_tx(const State& state, View frame, std::uint32_t device) {
  Decision leaves{.action = Action::pass};
  const auto known = state.devices.find(device);
  const auto sender = sender_of(frame);
  if (!sender || known == state.devices.end() || !known->second.uplink) return leaves;
  if (!sender->tuple) {
    if (!state.is_local(sender->address)) return leaves;
    return {.action = Action::drop, .verdict = MSTACK_GUARD_DROP_HEADERS};
  }
  const Claim* claim = state.find(*sender->tuple);
  const auto exact = state.claims.find(*sender->tuple);
  const bool is_exact = exact != state.claims.end() && claim == &exact->second;
  if (sender->address.is_any() || claim == nullptr || (!is_exact && !state.is_local(sender->address))) return leaves;
  return {.action = Action::drop, .verdict = MSTACK_GUARD_DROP_NOT_OWNER};
}

}  // namespace model
