// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/vlan_plan.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <optional>

namespace mstack::daemon {
namespace {

std::optional<mstack_vlan> vlan_of(const net::Link& device, std::span<const net::Link> devices,
                                   const std::set<std::uint32_t>& uplinks) {
  mstack_vlan vlan = {};
  const net::Link* at = &device;
  for (int tags = 0; tags < MSTACK_MAX_TAGS; ++tags) {
    if (!at->tag || !at->up || at->master != 0) return std::nullopt;
    std::copy_backward(std::begin(vlan.tags), std::end(vlan.tags) - 1, std::end(vlan.tags));
    vlan.tags[0] = {.protocol = htons(at->tag->protocol), .id = htons(at->tag->id)};
    if (uplinks.contains(at->lower)) {
      vlan.uplink = at->lower;
      return vlan;
    }
    const auto below = std::ranges::find(devices, at->lower, &net::Link::ifindex);
    if (below == devices.end()) return std::nullopt;
    at = &*below;
  }
  return std::nullopt;
}

}  // namespace

bool is_same_vlan(const mstack_vlan& a, const mstack_vlan& b) {
  return std::memcmp(&a, &b, sizeof(a)) == 0;
}

std::map<std::uint32_t, mstack_vlan_device> plan_vlans(std::span<const net::Link> devices,
                                                       const std::set<std::uint32_t>& uplinks) {
  std::map<std::uint32_t, mstack_vlan_device> plan;
  for (const net::Link& device : devices) {
    const auto vlan = vlan_of(device, devices, uplinks);
    if (!vlan) continue;
    mstack_vlan_device& planned = plan[device.ifindex];
    planned.vlan = *vlan;
    device.name.copy(planned.name, sizeof(planned.name) - 1);
  }
  return plan;
}

}  // namespace mstack::daemon
