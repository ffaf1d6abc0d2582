// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <cstdint>
#include <map>

#include "daemon/admission.hpp"
#include "daemon/datapath.hpp"
#include "mstack/error.hpp"
#include "mstack_abi.h"
#include "net/addresses.hpp"

namespace mstack::daemon {

// The addresses of this host, and the broadcast addresses of its subnets, in local_addrs and here alike.
class LocalAddresses {
 public:
  LocalAddresses(const Datapath& datapath, net::Links& links)
      : map_(datapath.local_addrs()), gate_(&datapath.address_gate()), links_(&links) {}

  // Reads what an earlier mstackd wrote, so that the first sync() removes what is no longer so.
  Expected<void> take_over();
  // Asks the kernel. What is new is added before what is old is removed: an address that moves is never missing.
  Expected<void> sync();
  // How often a sync() has changed something.
  [[nodiscard]] std::uint64_t changes() const { return changes_; }
  [[nodiscard]] Whose whose(const mstack_address& address) const;
  // A device may get another MAC address; whether an address is there with one that is not its device's any more.
  [[nodiscard]] bool is_outdated_by(const net::RouteEvent& link) const;

 private:
  using Key = std::array<std::uint32_t, 4>;
  static Key key_of(const mstack_address& address);
  static mstack_address address_of(const Key& key);
  using Entries = std::map<Key, mstack_local>;
  // False: not all of them, the map is full.
  Expected<bool> add(const Entries& wanted);

  void correct_gate() const;
  Expected<bool> add(const Key& key, const mstack_local& where);

  Datapath::LocalAddrs map_;
  const maps::Gauges* gate_;
  net::Links* links_;
  Entries addresses_;
  std::uint64_t changes_ = 0;
};

}  // namespace mstack::daemon
