// SPDX-License-Identifier: BSD-2-Clause
// Frames of every kind that the rules speak of, whole at first; then a few things in them are made wrong.
#pragma once

#include "draft.hpp"
#include "model/packet.hpp"
#include "model/state.hpp"
#include "random.hpp"

namespace differential {

// `direction` says which end of it is this host: most frames have a claim of the state there, or nearly.
Draft whole_frame(Random& random, const model::State& state, model::Direction direction);

// Nothing at all, or up to four changes.
void mutate(Random& random, Draft& draft);

}  // namespace differential
