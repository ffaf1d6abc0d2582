// SPDX-License-Identifier: BSD-2-Clause
//
// The NICs that MultiStack is attached to, and those that it waits for.
//
// An uplink is an interface, whatever it comes to be called: it stays one while it is renamed, set down and up, or has
// no address. When it goes (removed, or moved to another network namespace), an interface of the name that was asked
// for takes its place as soon as there is one.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "daemon/attachment.hpp"
#include "daemon/datapath.hpp"
#include "daemon/vlans.hpp"
#include "mstack/error.hpp"
#include "net/addresses.hpp"
#include "net/link.hpp"
#include "protocol.hpp"

namespace mstack::daemon {

class Uplinks {
 public:
  // Both must outlive it. What is attached when it goes stays attached, unless detached before.
  // `guarded`: nobody but its owner sends from a claimed tuple by them.
  Uplinks(const Datapath& datapath, net::Links& links, bool guarded)
      : datapath_(&datapath), links_(&links), guarded_(guarded), vlans_(datapath, links) {}
  Uplinks(Uplinks&&) = default;
  ~Uplinks();

  // Those of an earlier mstackd get our program with no gap. Those whose device is gone are waited for.
  Expected<void> take_over();
  // At the start, for as long as this mstackd runs. One that is attached or waited for already is kept, and this now
  // decides about its mode and its end.
  Expected<void> attach_temporarily(const std::string& name, protocol::XdpMode mode, bool chained);
  // On request; it stays when mstackd ends. EEXIST: it is attached already. Of both: ENODEV, EBUSY (another's program
  // is there, named), EOPNOTSUPP (not Ethernet), or why the driver does not have the mode. `chained`: next to others'
  // programs, which is so in any case where they are chained already.
  Expected<void> attach(const std::string& name, protocol::XdpMode mode, bool chained);
  // Also of one that is waited for: it is then no more.
  Expected<void> detach(const std::string& name);
  // All but those that stay.
  void detach_temporary();
  void detach_all();

  // What the events say may be old news: they only tell where to look.
  void link_changed(const net::RouteEvent& event);
  void link_gone(std::uint32_t ifindex);
  void vlans_changed();
  void filters_gone(std::uint32_t ifindex);
  void resync();
  // Whether the filters of some could not be looked at when there was news of them: call resync() again, later.
  [[nodiscard]] bool is_in_doubt() const;

  [[nodiscard]] bool empty() const { return uplinks_.empty() && awaited_.empty(); }
  [[nodiscard]] std::uint32_t mtu() const;  // the largest

 private:
  struct Uplink {
    mstack_uplink info;
    std::uint32_t mtu;
    Attachment attachment;
    bool in_doubt = false;  // whether the guard is there
  };
  struct Awaited {
    std::uint32_t key;  // in uplink_info
    mstack_uplink info;
    std::string refusal;  // of the last attempt
  };
  using Found = std::map<std::uint32_t, Uplink>::iterator;

  Expected<net::Link> find_interface(const std::string& name);
  Expected<void> attach_new(const net::Link& device, protocol::XdpMode mode, std::uint32_t flags);
  Expected<void> keep(const net::Link& device, protocol::XdpMode mode, bool chained);
  Expected<void> leave_unrecorded_chains();
  Expected<bool> take_over_one(std::uint32_t ifindex, const mstack_uplink* info);
  void guard(const net::Link& device, mstack_uplink& info) const;
  void leave_egress(std::uint32_t ifindex) const;
  Expected<void> publish(std::uint32_t ifindex, Uplink& uplink);
  void forget(std::uint32_t ifindex);
  void look_at(std::uint32_t ifindex);
  void refresh(const net::Link& device, Uplink& uplink);
  void lose(Found lost);
  void wait_for(mstack_uplink info);
  void give_up(const std::string& name);
  void welcome(const net::Link& device);

  const Datapath* datapath_;
  net::Links* links_;
  bool guarded_;
  Vlans vlans_;
  std::map<std::uint32_t, Uplink> uplinks_;  // by ifindex
  std::map<std::string, Awaited> awaited_;   // by the name that was asked for
};

}  // namespace mstack::daemon
