// SPDX-License-Identifier: BSD-2-Clause
#include "frames.hpp"

#include <vector>

#include "ends.hpp"
#include "errors.hpp"
#include "pools.hpp"

namespace differential {
namespace {

using model::Direction;

void add_flow_packet(Random& random, Draft& draft, const Ends& ends, Direction direction) {
  begin_frame(random, draft, ends);
  add_ip_packet(random, draft, envelope_of(ends, direction), message_of(random, ends, direction));
}

void add_solicitation(Random& random, Draft& draft, Direction direction) {
  begin_frame(random, draft, model::type_ip6);
  const Envelope envelope{.from = random.of(pools().six),
                          .to = random.of(pools().six),
                          .protocol = model::protocol_icmp6,
                          .direction = direction};
  add_ip_packet(random, draft, envelope, solicitation(random));
}

model::Tags known_tags(Random& random, const model::State& state) {
  std::vector<model::Tags> known;
  for (const auto& [ifindex, device] : state.devices)
    if (device.vlan) known.push_back(device.vlan->tags);
  return random.of(known);
}

model::Tag any_tag(Random& random) {
  static constexpr std::uint16_t ids[] = {0, 7, 100, 200, 300, 4094, 4095};
  return {.protocol = static_cast<std::uint16_t>(random.one_in(2) ? 0x8100 : 0x88a8), .id = random.of(ids)};
}

}  // namespace

model::Bytes any_tags(Random& random, const model::State& state) {
  model::Tags tags = known_tags(random, state);
  if (random.one_in(6)) tags[random.below(tags.size())] = any_tag(random);
  if (random.one_in(8))
    tags.insert(tags.begin() + static_cast<std::ptrdiff_t>(random.below(tags.size() + 1)), any_tag(random));
  if (random.one_in(16)) tags.pop_back();
  Draft draft;
  for (const model::Tag& tag : tags) {
    draft.u16(tag.protocol);
    draft.u16((random.one_in(2) ? static_cast<unsigned>(random.below(16)) << 12 : 0U) | tag.id);
  }
  return draft.bytes;
}

void add_tags(Draft& draft, const model::Bytes& tags) {
  constexpr std::size_t behind_addresses = 12;
  for (auto* places : {&draft.boundaries, &draft.lengths, &draft.kinds})
    for (std::size_t& place : *places) place += tags.size();
  draft.bytes.insert(draft.bytes.begin() + behind_addresses, tags.begin(), tags.end());
  for (std::size_t at = 0; at < tags.size(); at += 4) draft.boundaries.push_back(behind_addresses + at);
}

Draft whole_frame(Random& random, const model::State& state, Direction direction) {
  Draft draft;
  const Ends ends = any_ends(random, state);
  static constexpr unsigned other_types[] = {0x8100, 0x88a8, 0x88cc, 0x002e, 0x8847, 0x8864, 0x0008, 0xdd86, 0, 0xffff};
  switch (random.below(32)) {
    case 0:
      begin_frame(random, draft, model::type_arp);
      add_arp(random, draft);
      break;
    case 1: add_solicitation(random, draft, direction); break;
    case 2:
      add_flow_packet(random, draft, ends, direction);
      model::put16(draft.bytes, 12, static_cast<std::uint16_t>(random.of(other_types)));
      break;
    case 3:
    case 4:
    case 5:
    case 6:
    case 7: {
      begin_frame(random, draft, ends);
      const Error error = error_about(random, ends, direction);
      add_ip_packet(random, draft, error.envelope, error.message);
      break;
    }
    default: add_flow_packet(random, draft, ends, direction);
  }
  add_padding(random, draft);
  if (random.one_in(direction == Direction::received ? 5 : 40)) add_tags(draft, any_tags(random, state));
  return draft;
}

}  // namespace differential
