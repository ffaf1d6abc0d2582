// SPDX-License-Identifier: BSD-2-Clause
// Where the host sends a packet.
#pragma once

#include <cstddef>

#include "state.hpp"

namespace model {

struct NextHop {
  enum class Kind { none, too_big, unknown_neighbour, known } kind = Kind::none;
  std::uint32_t device = 0;
  Mac mac{};
};

// `size`: of the packet with all that is sent behind the Ethernet header.
NextHop next_hop(const State& state, const Address& destination, std::size_t size);

// To one party, and one that may be elsewhere.
bool is_unicast(const Address& address);
// A group of hosts elsewhere, or everybody on the link.
bool is_group(const Address& address);
// The MAC address of a group, or of everybody.
Mac mac_of_many(const Address& address);

}  // namespace model
