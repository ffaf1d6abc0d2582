// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/egress.hpp"

#include "daemon/log.hpp"
#include "net/tc.hpp"

namespace mstack::daemon::egress {
namespace {

net::SharedEgress place_on(const Datapath& datapath, std::uint32_t ifindex) {
  return {.ifindex = ifindex, .claims = datapath.map("claims")};
}

}  // namespace

Expected<void> attach(const Datapath& datapath, const Hook& hook) {
  const auto order = net::attach_tc_egress(place_on(datapath, hook.ifindex), hook.program);
  if (!order) return std::unexpected(order.error());
  if (*order == net::TcOrder::behind_others)
    log::warn(
        "other TC programs or filters on the egress of {0} come before MultiStack's: what they end the way of {1} (tc "
        "filter show dev {0} egress, bpftool net show dev {0})",
        hook.device, hook.loss);
  if (*order == net::TcOrder::behind_multistack)
    log::warn(
        "another MultiStack's TC filter on the egress of {0} comes before this one's: what it ends the way of {1}; if "
        "its mstackd is gone, remove it (tc filter show dev {0} egress, tc filter del dev {0} egress pref N)",
        hook.device, hook.loss);
  return {};
}

Expected<bool> is_lost(const Datapath& datapath, std::uint32_t ifindex, std::string_view device) {
  const auto there = net::has_tc_egress(place_on(datapath, ifindex));
  if (!there) {
    log::warn("{}: {}; looking again in a second", device, there.error().what);
    return std::unexpected(there.error());
  }
  if (*there) return false;
  log::warn("somebody has removed MultiStack's TC filter from the egress of {}: it is put back", device);
  return true;
}

Expected<void> detach(const Datapath& datapath, std::uint32_t ifindex) {
  return net::detach_tc_egress(place_on(datapath, ifindex));
}

}  // namespace mstack::daemon::egress
