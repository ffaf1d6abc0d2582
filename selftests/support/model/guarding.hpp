// SPDX-License-Identifier: BSD-2-Clause
// What the host itself sends.
#pragma once

#include "decision.hpp"

namespace model {

// A frame on its way out of a device, of no socket that owns a claim. No verdict: it leaves.
Decision uplink_tx(const State& state, View frame, std::uint32_t device);

}  // namespace model
