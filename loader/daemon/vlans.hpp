// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <map>
#include <set>

#include "daemon/datapath.hpp"
#include "mstack/error.hpp"
#include "mstack_abi.h"
#include "net/link.hpp"

namespace mstack::daemon {

// The VLAN devices on uplinks, in vlans, in vlan_devices and here alike.
class Vlans {
 public:
  // Both must outlive it.
  Vlans(const Datapath& datapath, net::Links& links)
      : by_tags_(datapath.vlans()), by_device_(datapath.vlan_devices()), links_(&links) {}

  // Reads what an earlier mstackd wrote, so that the first sync() removes what is no longer so.
  Expected<void> take_over();
  // Asks the kernel.
  Expected<void> sync(const std::set<std::uint32_t>& uplinks);

 private:
  Expected<void> remove(std::uint32_t ifindex, const mstack_vlan& vlan);
  // False: the map is full.
  Expected<bool> add(std::uint32_t ifindex, const mstack_vlan_device& device);
  void look_for_stripping(std::uint32_t uplink);

  maps::VlanByTags by_tags_;
  maps::VlanDevices by_device_;
  net::Links* links_;
  std::map<std::uint32_t, mstack_vlan_device> devices_;  // by ifindex
  std::set<std::uint32_t> looked_at_;                    // uplinks that have VLANs
};

}  // namespace mstack::daemon
