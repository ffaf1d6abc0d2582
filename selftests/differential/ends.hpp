// SPDX-License-Identifier: BSD-2-Clause
// Who talks to whom, and the frame around it.
#pragma once

#include "model/state.hpp"
#include "packets.hpp"

namespace differential {

// The two ends of a flow. `own` is mostly one that is claimed, or would be but for one thing.
struct Ends {
  model::Tuple own;
  model::Address other;
  std::uint16_t other_port = 0;

  bool are_ip4() const { return own.address.is_ip4() && other.is_ip4(); }
};
Ends any_ends(Random& random, const model::State& state);
model::Address other_end(Random& random, const model::Address& own);

// A packet of theirs in the direction, or the message in it.
Envelope envelope_of(const Ends& ends, model::Direction direction);
Draft message_of(Random& random, const Ends& ends, model::Direction direction);

void begin_frame(Random& random, Draft& draft, unsigned type);
void begin_frame(Random& random, Draft& draft, const Ends& ends);
void add_padding(Random& random, Draft& draft);

}  // namespace differential
