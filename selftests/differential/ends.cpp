// SPDX-License-Identifier: BSD-2-Clause
#include "ends.hpp"

#include <iterator>

#include "pools.hpp"

namespace differential {
namespace {

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
  if (random.one_in(12)) tuple.address = random.of(tuple.address.is_ip4() ? pools().many_four : pools().many_six);
  if (random.one_in(24)) {
    static constexpr std::uint8_t others[] = {0, 1, 2, 4, 41, 43, 44, 47, 50, 51, 58, 59, 60, 89, 135, 255};
    tuple.protocol = random.of(others);
  }
  return tuple;
}

// Now and then the other end is a stack's of this host, too.
void meet_a_claim(Random& random, const model::State& state, Ends& ends) {
  if (state.claims.empty() || !random.one_in(6)) return;
  for (int tries = 0; tries < 8; ++tries) {
    const model::Tuple& tuple =
        std::next(state.claims.begin(), static_cast<std::ptrdiff_t>(random.below(state.claims.size())))->first;
    if (tuple.protocol != ends.own.protocol || tuple.address.is_ip4() != ends.own.address.is_ip4()) continue;
    if (!tuple.address.is_any()) ends.other = tuple.address;
    ends.other_port = tuple.port;
    return;
  }
}

void add_macs(Random& random, Draft& draft) {
  if (random.one_in(4)) {
    for (int i = 0; i < 12; ++i) draft.u8(random.byte());
  } else {
    draft.add(model::Bytes{0x02, 0x4d, 0x53, 0x01, 0, 1, 0x02, 0x4d, 0x53, 0, 0, 1});
  }
}

}  // namespace

model::Address other_end(Random& random, const model::Address& own) {
  if (random.one_in(64)) return random.of(own.is_ip4() ? pools().six : pools().four);
  if (random.one_in(8)) return random.of(pools().local);  // of this host too
  if (random.one_in(12)) return random.of(own.is_ip4() ? pools().many_four : pools().many_six);
  if (own.is_ip4()) return random.one_in(2) ? pools().four.front() : random.of(pools().four);
  return random.one_in(2) ? pools().six.front() : random.of(pools().six);
}

Ends any_ends(Random& random, const model::State& state) {
  Ends ends{.own = own_end(random, state), .other = {}};
  ends.other = other_end(random, ends.own.address);
  ends.other_port = random.one_in(3) ? random.of(pools().ports) : static_cast<std::uint16_t>(random.next());
  meet_a_claim(random, state, ends);
  return ends;
}

Envelope envelope_of(const Ends& ends, model::Direction direction) {
  const bool received = direction == model::Direction::received;
  return {.from = received ? ends.other : ends.own.address,
          .to = received ? ends.own.address : ends.other,
          .protocol = ends.own.protocol,
          .direction = direction};
}

Draft message_of(Random& random, const Ends& ends, model::Direction direction) {
  return direction == model::Direction::received
             ? message_of(random, ends.own.protocol, ends.other_port, ends.own.port)
             : message_of(random, ends.own.protocol, ends.own.port, ends.other_port);
}

void begin_frame(Random& random, Draft& draft, unsigned type) {
  add_macs(random, draft);
  draft.kinds.push_back(draft.size());
  draft.kinds.push_back(draft.size() + 1);
  draft.u16(type);
}

void begin_frame(Random& random, Draft& draft, const Ends& ends) {
  begin_frame(random, draft, ends.are_ip4() ? model::type_ip4 : model::type_ip6);
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

}  // namespace differential
