// SPDX-License-Identifier: BSD-2-Clause
// Frames of every kind that the rules speak of, whole at first; then a few things in them are made wrong.
#pragma once

#include "ends.hpp"

namespace differential {

// `direction` says which end of it is this host: most frames have a claim of the state there, or nearly.
Draft whole_frame(Random& random, const model::State& state, model::Direction direction);

// One datagram, mostly in the order of its pieces; now and then followed by other firsts of the same number.
struct Pieces {
  Ends ends;
  std::vector<Draft> frames;
};
Pieces pieces_of_datagram(Random& random, const model::State& state, model::Direction direction);

// Tags of a VLAN that there is, or nearly, as they are on the wire.
model::Bytes any_tags(Random& random, const model::State& state);
void add_tags(Draft& draft, const model::Bytes& tags);

// Of an IPv4 header; elsewhere nobody looks at it.
void correct_checksum(Draft& draft);

// Nothing at all, or up to four changes.
void mutate(Random& random, Draft& draft);

}  // namespace differential
