// SPDX-License-Identifier: BSD-2-Clause
// What the host itself sends.
#pragma once

#include "decision.hpp"

namespace model {

// A frame of no socket that owns a claim, on its way out of an uplink. Dropped: nor may it come back to this host.
Decision uplink_tx(const State& state, View frame);

}  // namespace model
