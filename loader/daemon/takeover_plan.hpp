// SPDX-License-Identifier: BSD-2-Clause
//
// What to do with what an earlier mstackd left in the kernel. No system calls: what was found goes in, what to keep and
// what to remove comes out.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "mstack_abi.h"

namespace mstack::daemon {

struct Found {
  struct Vport {
    std::uint32_t id;
    mstack_vport record;
    bool alive;  // one of its queues still has a socket
  };
  struct HostEnd {
    std::uint32_t ifindex;
    std::uint32_t vport, queue;  // as its name says
  };
  std::vector<Vport> vports;
  std::vector<std::pair<mstack_tuple, mstack_claim>> claims;
  std::vector<HostEnd> host_ends;                                           // devices
  std::vector<std::pair<std::uint32_t, mstack_host_end>> host_end_entries;  // of the host_ends map, by ifindex
  std::vector<std::string> link_pins;                                       // names in the links directory
};

struct Plan {
  struct Adopted {
    std::uint32_t id;
    mstack_vport record;
    std::array<std::uint32_t, MSTACK_MAX_QUEUES> host_ends;  // ifindexes by queue, 0: it is gone
  };
  std::vector<Adopted> adopted;
  // In the order in which they are removed.
  std::vector<mstack_tuple> claims;
  std::vector<std::uint32_t> vports;            // entries of vports
  std::vector<std::uint32_t> host_end_entries;  // entries of host_ends
  std::vector<std::uint32_t> slots;             // entries of the maps of devices and of vport_xsks
  std::vector<std::string> link_pins;
  std::vector<std::uint32_t> host_ends;  // devices
};

Plan plan_takeover(const Found& found);

// Names of the links directory.
std::string host_link_name(std::uint32_t slot);
std::string stack_link_name(std::uint32_t slot);
std::string uplink_link_name(std::uint32_t ifindex);

}  // namespace mstack::daemon
