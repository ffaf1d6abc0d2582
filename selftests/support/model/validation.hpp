// SPDX-License-Identifier: BSD-2-Clause
// The way out.
#pragma once

#include "decision.hpp"

namespace model {

// A frame that a stack sent, on the host end `ifindex`. Action::pass without a verdict: vport_tx_slow has to look.
Decision vport_tx(const State& state, Memory& memory, View frame, std::uint32_t ifindex);
Decision vport_tx_slow(const State& state, Memory& memory, View frame, std::uint32_t ifindex);

}  // namespace model
