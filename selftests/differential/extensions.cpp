// SPDX-License-Identifier: BSD-2-Clause
#include "extensions.hpp"

#include <algorithm>

namespace differential {
namespace {

constexpr std::uint8_t hop_by_hop = 0;
constexpr std::uint8_t routing = 43;
constexpr std::uint8_t fragment = 44;
constexpr std::uint8_t authentication = 51;
constexpr std::uint8_t destination_options = 60;

using Chain = std::vector<std::uint8_t>;

// Rest of a header of 2 + `room` bytes: mostly one option that pads it all, else any.
void add_options(Random& random, Draft& draft, std::size_t room) {
  const std::size_t end = draft.size() + room;
  if (random.one_in(2)) {
    draft.u8(1);
    draft.length8(static_cast<unsigned>(room - 2));
    draft.zeros(room - 2);
    return;
  }
  static constexpr std::uint8_t types[] = {0, 0, 0, 1, 1, 5, 0xc2, 201, 0x3e};
  while (draft.size() < end) {
    const std::uint8_t type = random.of(types);
    const std::size_t left = end - draft.size();
    draft.u8(type);
    if (type == 0 || left < 2) continue;
    const std::size_t size = std::min<std::size_t>(left - 2, random.below(9));
    draft.length8(static_cast<unsigned>(size));
    draft.zeros(size);
  }
}

void add_fragment_header(Draft& draft, std::uint8_t next, std::uint32_t field, std::uint32_t id) {
  draft.kind(next);
  draft.u8(0);
  draft.lengths.push_back(draft.size() + 1);
  draft.u16(field);
  draft.u32(id);
}

void add_header(Random& random, Draft& draft, std::uint8_t type, std::uint8_t next, model::Direction direction) {
  draft.boundary();
  if (type == fragment) {
    // Mostly around a whole datagram; 6 is of the bits that say nothing.
    static constexpr unsigned fields[] = {0, 0, 0, 0, 6, 1, 8, 0x05b0, 0x05b1};
    return add_fragment_header(draft, next, random.of(fields), static_cast<std::uint32_t>(random.next()));
  }
  draft.kind(next);
  if (type == authentication) {
    const std::size_t words = random.one_in(8) ? random.below(2) : random.between(1, 6);
    draft.length8(static_cast<unsigned>(words));
    draft.zeros((words + 2) * 4 - 2);
    return;
  }
  const std::size_t units = random.one_in(6) ? random.between(1, 4) : 0;
  draft.length8(static_cast<unsigned>(units));
  if (type == routing) {
    draft.u8(static_cast<unsigned>(random.below(5)));
    draft.u8(random.one_in(direction == model::Direction::received ? 4 : 2) ? 1 : 0);
    draft.zeros(4 + units * 8);
  } else {
    add_options(random, draft, 6 + units * 8);
  }
}

Headers headers_of(Random& random, const Chain& chain, std::uint8_t protocol, model::Direction direction) {
  Headers headers{.first = chain.empty() ? protocol : chain.front(), .bytes = {}};
  for (std::size_t i = 0; i < chain.size(); ++i) {
    add_header(random, headers.bytes, chain[i], i + 1 < chain.size() ? chain[i + 1] : protocol, direction);
  }
  return headers;
}

Chain any_chain(Random& random) {
  static constexpr std::uint8_t types[] = {destination_options, destination_options, hop_by_hop, routing, fragment,
                                           authentication};
  Chain chain(random.one_in(4) ? random.between(5, 8) : random.between(1, 3));
  // Most of a long chain is walked over, or its end would never be seen.
  for (std::uint8_t& type : chain) {
    type = chain.size() > 4 && !random.one_in(12) ? (random.one_in(3) ? authentication : hop_by_hop) : random.of(types);
  }
  return chain;
}

}  // namespace

Headers headers_of_ip4(Random& random, std::uint8_t protocol) {
  const std::size_t count = random.one_in(10) ? random.one_in(4) ? random.between(5, 8) : 1 : 0;
  return headers_of(random, Chain(count, authentication), protocol, model::Direction::received);
}

Headers headers_of_ip6(Random& random, const Envelope& envelope) {
  if (!envelope.cut) {
    return headers_of(random, random.one_in(3) ? any_chain(random) : Chain{}, envelope.protocol, envelope.direction);
  }
  Headers headers = headers_of(random, random.one_in(16) ? any_chain(random) : Chain{}, fragment, envelope.direction);
  headers.bytes.boundary();
  add_fragment_header(headers.bytes, envelope.protocol,
                      static_cast<std::uint32_t>(envelope.cut->offset) | (envelope.cut->more ? 1U : 0U),
                      envelope.cut->id);
  return headers;
}

Headers headers_behind_fragment(Random& random, const Envelope& envelope) {
  if (!envelope.to.is_ip4()) return headers_of(random, any_chain(random), envelope.protocol, envelope.direction);
  return headers_of(random, Chain(random.between(1, 2), authentication), envelope.protocol, envelope.direction);
}

}  // namespace differential
