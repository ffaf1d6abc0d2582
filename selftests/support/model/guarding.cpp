// SPDX-License-Identifier: BSD-2-Clause
#include "guarding.hpp"

#include "packet.hpp"

namespace model {
namespace {

// The most that a receiver could take for the sender, whatever lengths the headers say.
struct Sender {
  std::optional<Address> address;   // none: behind more tags than are read
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

std::optional<Sender> behind(View frame, std::size_t at, std::size_t end, std::uint8_t protocol, bool is_ip6,
                             bool is_cut, const Address& address) {
  for (unsigned headers = 0; headers <= headers_walked; ++headers) {
    if (is_cut && end < at + 4) return Sender{.address = address};
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
  if (type->u16(0) == 0x8100 || type->u16(0) == 0x88a8) return Sender{.address = std::nullopt};
  at += 2;
  if (type->u16(0) == type_ip4) {
    const auto ip = readable(frame, at, 20);
    if (!ip || (ip->u16(6) & 0x1fff) != 0) return std::nullopt;
    return behind(frame, at + std::size_t{4} * (ip->u8(0) & 15U), at + ip->u16(2), ip->u8(9), false,
                  (ip->u16(6) & 0x2000) != 0, Address::ip4(ip->part(12, 4)));
  }
  const auto ip = readable(frame, at, 40);
  if (type->u16(0) != type_ip6 || !ip) return std::nullopt;
  return behind(frame, at + 40, at + 40 + ip->u16(4), ip->u8(6), true, false, Address::ip6(ip->part(8, 16)));
}

// Why it may not leave. None: it may.
std::optional<mstack_verdict> guarded(const State& state, View frame) {
  const auto sender = sender_of(frame);
  if (!sender) return std::nullopt;
  if (!sender->tuple) {
    if (sender->address && !state.is_local(*sender->address)) return std::nullopt;
    return MSTACK_GUARD_DROP_HEADERS;
  }
  const Claim* claim = state.find(*sender->tuple);
  const auto exact = state.claims.find(*sender->tuple);
  const bool is_exact = exact != state.claims.end() && claim == &exact->second;
  if (sender->tuple->address.is_any() || claim == nullptr) return std::nullopt;
  if (!is_exact && !state.is_local(sender->tuple->address)) return std::nullopt;
  return MSTACK_GUARD_DROP_NOT_OWNER;
}

}  // namespace

Decision uplink_tx(const State& state, View frame) {
  const auto verdict = guarded(state, frame);
  Decision decision{.action = verdict ? Action::drop : Action::pass, .verdict = verdict};
  const auto link = read_link(frame);
  auto network = link ? read_network(*link) : std::unexpected(link.error());
  if (!network) return decision;
  (void)walk(*network, Direction::received);
  decision.kind = kind_of(state, *network);
  decision.is_ip6 = network->is_ip6;
  return decision;
}

}  // namespace model
