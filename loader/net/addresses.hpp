// SPDX-License-Identifier: BSD-2-Clause
//
// The addresses of this host, and the news of them.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "mstack/error.hpp"
#include "mstack_abi.h"
#include "net/link.hpp"
#include "net/netlink.hpp"

namespace mstack::net {

struct LocalAddress {
  mstack_address address;
  mstack_local where;  // one of the devices, if several have it
};

// The local addresses of the network namespace of `links`, of both families, and the broadcast addresses of its
// subnets, in order and each once. Left out: loopback (127/8, ::1) and link-local ones, which cannot be claimed, and
// IPv6 addresses that another host may have (duplicate address detection goes on, or failed).
Expected<std::vector<LocalAddress>> local_addresses(Links& links);

// Which of them local_addresses() leaves out for what they are.
bool is_claimable_address(const mstack_address& address);

struct RouteEvent {
  enum class Kind {
    addresses_changed,  // of whatever device: dump them anew
    vlans_changed,      // a VLAN device is new, changed or gone: list them anew
    link_changed,       // a device is new, or was renamed, set up or down, got another MTU or XDP program, ...
    link_gone,          // a device was removed, or moved to another namespace
    filters_gone,       // TC filters of a device were removed or replaced, or a qdisc with all of its
    resync,             // events were lost: dump links and addresses anew
  };
  Kind kind;
  std::uint32_t ifindex = 0;  // of link_*, filters_gone
  std::string name;           // of link_*
  std::uint32_t mtu = 0;      // of link_changed
  Mac mac = {};               // of link_changed
};

// Hears of changes to the links, addresses and TC filters of the network namespace in which it was opened. Open it
// before the first dump: nothing is then missed in between.
class RouteMonitor {
 public:
  static Expected<RouteMonitor> open();
  [[nodiscard]] int fd() const { return netlink_.fd(); }  // readable when drain() has something to say; non-blocking
  // Everything that has happened since, in order; of addresses_changed, of vlans_changed and of resync, one is enough,
  // and of filters_gone one for a device.
  Expected<std::vector<RouteEvent>> drain();

 private:
  explicit RouteMonitor(Netlink netlink) : netlink_(std::move(netlink)) {}
  Netlink netlink_;
};

}  // namespace mstack::net
