// SPDX-License-Identifier: BSD-2-Clause
#include "frames.hpp"

#include <algorithm>
#include <iterator>

#include "packets.hpp"
#include "pools.hpp"

namespace differential {
namespace {

using model::Direction;

// Mostly one that is claimed, or would be but for one thing.
model::Tuple own_end(Random& random, const model::State& state) {
  model::Tuple tuple{.address = random.of(random.one_in(2) ? pools().four : pools().six),
                     .port = random.of(pools().ports),
                     .protocol = random.of(pools().claimed_protocols)};
  if (!state.claims.empty() && !random.one_in(6)) {
    tuple = std::next(state.claims.begin(), static_cast<std::ptrdiff_t>(random.below(state.claims.size())))->first;
    if (tuple.address.is_any()) {
      const auto& family = tuple.address.is_ip4() ? pools().four : pools().six;
      tuple.address = random.one_in(3) ? random.of(family) : random.of(pools().local);
    }
  }
  if (random.one_in(16)) tuple.port = random.of(pools().ports);
  if (random.one_in(16)) tuple.protocol = random.of(pools().claimed_protocols);
  if (random.one_in(16)) tuple.address = random.of(tuple.address.is_ip4() ? pools().four : pools().six);
  if (random.one_in(24)) {
    static constexpr std::uint8_t others[] = {0, 1, 2, 4, 41, 43, 44, 47, 50, 51, 58, 59, 60, 89, 132, 135, 136, 255};
    tuple.protocol = random.of(others);
  }
  return tuple;
}

model::Address other_end(Random& random, const model::Address& own) {
  if (random.one_in(64)) return random.of(own.is_ip4() ? pools().six : pools().four);
  if (own.is_ip4()) return random.one_in(2) ? pools().four.front() : random.of(pools().four);
  return random.one_in(2) ? pools().six.front() : random.of(pools().six);
}

void add_macs(Random& random, Draft& draft) {
  if (random.one_in(4)) {
    for (int i = 0; i < 12; ++i) draft.u8(random.byte());
  } else {
    draft.add(model::Bytes{0x02, 0x4d, 0x53, 0x01, 0, 1, 0x02, 0x4d, 0x53, 0, 0, 1});
  }
}

void add_type(Draft& draft, unsigned type) {
  draft.kinds.push_back(draft.size());
  draft.kinds.push_back(draft.size() + 1);
  draft.u16(type);
}

void add_padding(Random& random, Draft& draft) {
  switch (random.below(24)) {
    case 0: draft.zeros(random.below(64)); break;
    case 1:
      for (std::size_t count = random.below(64); count != 0; --count) draft.u8(random.byte());
      break;
    case 2: draft.zeros(random.between(1200, 1700)); break;
    case 3:
    case 4: draft.zeros(draft.size() < 60 ? 60 - draft.size() : 0); break;
    default: break;
  }
}

void add_tcp_or_udp(Random& random, Draft& draft, const model::State& state, Direction direction) {
  const model::Tuple own = own_end(random, state);
  const model::Address other = other_end(random, own.address);
  const std::uint16_t other_port =
      random.one_in(3) ? random.of(pools().ports) : static_cast<std::uint16_t>(random.next());
  const bool received = direction == Direction::received;
  const Draft message = received ? message_of(random, own.protocol, other_port, own.port)
                                 : message_of(random, own.protocol, own.port, other_port);
  const Envelope envelope{.from = received ? other : own.address,
                          .to = received ? own.address : other,
                          .protocol = own.protocol,
                          .direction = direction};
  add_type(draft, envelope.from.is_ip4() && envelope.to.is_ip4() ? model::type_ip4 : model::type_ip6);
  add_ip_packet(random, draft, envelope, message);
}

}  // namespace

Draft whole_frame(Random& random, const model::State& state, Direction direction) {
  Draft draft;
  add_macs(random, draft);
  static constexpr unsigned other_types[] = {0x8100, 0x88a8, 0x88cc, 0x002e, 0x8847, 0x8864, 0x0008, 0xdd86, 0, 0xffff};
  switch (random.below(32)) {
    case 0:
      add_type(draft, model::type_arp);
      add_arp(random, draft);
      break;
    case 1: {
      add_type(draft, model::type_ip6);
      const Envelope envelope{.from = random.of(pools().six),
                              .to = random.of(pools().six),
                              .protocol = model::protocol_icmp6,
                              .direction = direction};
      add_ip_packet(random, draft, envelope, solicitation(random));
      break;
    }
    case 2:
      add_tcp_or_udp(random, draft, state, direction);
      model::put16(draft.bytes, 12, static_cast<std::uint16_t>(random.of(other_types)));
      break;
    default: add_tcp_or_udp(random, draft, state, direction);
  }
  add_padding(random, draft);
  return draft;
}

}  // namespace differential
