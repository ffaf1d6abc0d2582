// SPDX-License-Identifier: BSD-2-Clause
// What the host itself sends.
#pragma once

#include "decision.hpp"

namespace model {

// Why a frame, of no socket that owns a claim, may not leave this host or come back to it. None: it may.
std::optional<mstack_verdict> guarded(const State& state, View frame);

// On its way out of an uplink.
Decision uplink_tx(const State& state, View frame);

}  // namespace model
