// SPDX-License-Identifier: BSD-2-Clause
// The way in.
#pragma once

#include "decision.hpp"

namespace model {

// A frame that the uplink `ifindex` received.
Decision uplink_rx(const State& state, Memory& memory, View frame, std::uint32_t ifindex);
// A frame on the stack end of a slot; `has_socket`: a stack's AF_XDP socket is there to take it.
Decision vport_rx(View frame, std::uint32_t slot, bool has_socket);

}  // namespace model
