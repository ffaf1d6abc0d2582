// SPDX-License-Identifier: BSD-2-Clause
//
// Which VLAN devices are the uplinks'. No system calls.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>

#include "mstack_abi.h"
#include "net/link.hpp"

namespace mstack::daemon {

// By ifindex. One that is up, not a part of anything (a bridge, a VRF: those have their own ideas about its packets),
// and on an uplink, or on another such device; of both together no more than two tags.
std::map<std::uint32_t, mstack_vlan_device> plan_vlans(std::span<const net::Link> devices,
                                                       const std::set<std::uint32_t>& uplinks);

bool is_same_vlan(const mstack_vlan& a, const mstack_vlan& b);

}  // namespace mstack::daemon
