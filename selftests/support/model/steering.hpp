// SPDX-License-Identifier: BSD-2-Clause
// The way in.
#pragma once

#include <expected>

#include "decision.hpp"

namespace model {

// A frame that the uplink `ifindex` received.
Decision uplink_rx(const State& state, Memory& memory, View frame, std::uint32_t ifindex);
// One that this host sends to itself.
Decision lo_tx(const State& state, Memory& memory, View frame);
// A frame on the stack end of a slot; `has_socket`: a stack's AF_XDP socket is there to take it.
Decision vport_rx(View frame, std::uint32_t slot, bool has_socket);

// Who gets what is for a tuple, or why it is the kernel's.
std::expected<Claim, mstack_verdict> receiver_of(const State& state, const Tuple& to);
// To a queue of the claim's vport: RX_STEERED, or why not.
Decision steer(const State& state, View frame, const Tuple& remote, const Tuple& local, const Claim& claim);

}  // namespace model
