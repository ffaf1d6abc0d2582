// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <cstdint>
#include <set>

#include "daemon/datapath.hpp"
#include "mstack/error.hpp"
#include "mstack_abi.h"

namespace mstack::daemon {

// The addresses of this host, in local_addrs and here alike.
class LocalAddresses {
 public:
  explicit LocalAddresses(const Datapath& datapath) : map_(datapath.local_addrs()) {}

  // Reads what an earlier mstackd wrote, so that the first sync() removes what is no longer so.
  Expected<void> take_over();
  // Asks the kernel. What is new is added before what is old is removed: an address that moves is never missing.
  Expected<void> sync();
  // How often a sync() has changed something.
  [[nodiscard]] std::uint64_t changes() const { return changes_; }
  [[nodiscard]] bool contains(const mstack_address& address) const { return addresses_.contains(key_of(address)); }

 private:
  using Key = std::array<std::uint32_t, 4>;
  static Key key_of(const mstack_address& address);
  static mstack_address address_of(const Key& key);
  // False: not all of them, the map is full.
  Expected<bool> add(const std::set<Key>& wanted);

  Datapath::LocalAddrs map_;
  std::set<Key> addresses_;
  std::uint64_t changes_ = 0;
};

}  // namespace mstack::daemon
