// SPDX-License-Identifier: BSD-2-Clause
//
// The NICs that MultiStack is attached to.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "daemon/bpf_link.hpp"
#include "daemon/datapath.hpp"
#include "mstack/error.hpp"
#include "net/addresses.hpp"
#include "net/link.hpp"
#include "protocol.hpp"

namespace mstack::daemon {

class Uplinks {
 public:
  // Both must outlive it. What is attached when it goes stays attached, unless detached before.
  Uplinks(const Datapath& datapath, net::Links& links) : datapath_(&datapath), links_(&links) {}
  Uplinks(Uplinks&&) = default;
  ~Uplinks();

  // Those of an earlier mstackd get our program with no gap. Those whose device is gone are forgotten.
  Expected<void> take_over();
  // At the start, for as long as this mstackd runs. One that is attached already is kept, and this now decides about
  // its mode and its end.
  Expected<void> attach_temporarily(const std::string& name, protocol::XdpMode mode);
  // On request; it stays when mstackd ends. EEXIST: it is attached already. Of both: ENODEV, EBUSY (another's program
  // is there, named), EOPNOTSUPP (not Ethernet), or why the driver does not have the mode.
  Expected<void> attach(const std::string& name, protocol::XdpMode mode);
  Expected<void> detach(const std::string& name);
  // All but those that stay.
  void detach_temporary();
  void detach_all();

  void link_changed(const net::RouteEvent& event);
  void link_gone(std::uint32_t ifindex);
  void resync();

  [[nodiscard]] bool empty() const { return uplinks_.empty(); }
  [[nodiscard]] std::uint32_t mtu() const;  // the largest

 private:
  struct Uplink {
    mstack_uplink info;
    std::uint32_t mtu;
    LinkPin pin;
  };
  Expected<void> attach_new(const net::Link& link, protocol::XdpMode mode, std::uint32_t flags);
  Expected<net::Link> find_interface(const std::string& name);
  Expected<void> keep(const net::Link& link, protocol::XdpMode mode);
  Expected<void> take_over_one(std::uint32_t ifindex, const std::string& path);
  Expected<void> publish(std::uint32_t ifindex, Uplink& uplink);
  void forget(std::uint32_t ifindex);
  void refresh(const net::Link& link, Uplink& uplink);

  const Datapath* datapath_;
  net::Links* links_;
  std::map<std::uint32_t, Uplink> uplinks_;  // by ifindex
};

}  // namespace mstack::daemon
