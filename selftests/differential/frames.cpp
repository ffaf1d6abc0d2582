// SPDX-License-Identifier: BSD-2-Clause
#include "frames.hpp"

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

}  // namespace

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
  return draft;
}

}  // namespace differential
