// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/vlans.hpp"

#include <cerrno>
#include <vector>

#include "checks/places.hpp"
#include "daemon/log.hpp"
#include "daemon/vlan_plan.hpp"

namespace mstack::daemon {

// An entry of one map that has none in the other is of an mstackd that was killed in between: as if it were not there.
Expected<void> Vlans::take_over() {
  auto read = by_device_.for_each([this](std::uint32_t ifindex, mstack_vlan_device device) {
    device.name[sizeof(device.name) - 1] = '\0';
    devices_.emplace(ifindex, device);
  });
  if (!read) return read;
  std::set<std::uint32_t> whole;
  std::vector<mstack_vlan> alone;
  read = by_tags_.for_each([&](const mstack_vlan& vlan, std::uint32_t ifindex) {
    const auto device = devices_.find(ifindex);
    if (device != devices_.end() && is_same_vlan(device->second.vlan, vlan))
      whole.insert(ifindex);
    else
      alone.push_back(vlan);
  });
  if (!read) return read;
  for (const mstack_vlan& vlan : alone)
    if (auto erased = by_tags_.erase(vlan); !erased) return std::unexpected(erased.error());
  for (auto device = devices_.begin(); device != devices_.end();) {
    if (whole.contains(device->first)) {
      ++device;
      continue;
    }
    if (auto erased = by_device_.erase(device->first); !erased) return std::unexpected(erased.error());
    device = devices_.erase(device);
  }
  return {};
}

Expected<void> Vlans::sync(const std::set<std::uint32_t>& uplinks) {
  const auto current = links_->vlans();
  if (!current) return std::unexpected(current.error());
  const auto wanted = plan_vlans(*current, uplinks);

  for (auto device = devices_.begin(); device != devices_.end();) {
    const auto found = wanted.find(device->first);
    if (found != wanted.end() && is_same_vlan(found->second.vlan, device->second.vlan)) {
      ++device;
      continue;
    }
    if (auto removed = remove(device->first, device->second.vlan); !removed) return removed;
    log::info("{} is no VLAN device of an uplink any more", device->second.name);
    device = devices_.erase(device);
  }
  std::set<std::uint32_t> with_vlans;
  for (const auto& [ifindex, device] : wanted) {
    const auto added = add(ifindex, device);
    if (!added) return std::unexpected(added.error());
    if (!*added) {
      log::warn("the uplinks have more than {} VLAN devices: the rest are the kernel's alone", MSTACK_MAX_VLANS);
      break;
    }
    with_vlans.insert(device.vlan.uplink);
  }
  for (const std::uint32_t uplink : with_vlans)
    if (!looked_at_.contains(uplink)) look_for_stripping(uplink);
  looked_at_ = with_vlans;
  return {};
}

Expected<void> Vlans::remove(std::uint32_t ifindex, const mstack_vlan& vlan) {
  if (auto erased = by_tags_.erase(vlan); !erased) return std::unexpected(erased.error());
  if (auto erased = by_device_.erase(ifindex); !erased) return std::unexpected(erased.error());
  return {};
}

Expected<bool> Vlans::add(std::uint32_t ifindex, const mstack_vlan_device& device) {
  const auto known = devices_.find(ifindex);
  if (known != devices_.end() && std::string_view(known->second.name) == device.name) return true;
  auto set = by_tags_.set(device.vlan, ifindex);
  if (set) set = by_device_.set(ifindex, device);
  if (!set && set.error().code == E2BIG) return false;
  if (!set) return std::unexpected(set.error());
  if (known == devices_.end()) log::info("{} is a VLAN device of an uplink", device.name);
  devices_[ifindex] = device;
  return true;
}

void Vlans::look_for_stripping(std::uint32_t uplink) {
  const auto device = links_->find(uplink);
  if (!device) return;
  if (const checks::Check check = checks::tags_check(device->name); check.state == checks::State::warning)
    log::warn("{}", check.text);
}

}  // namespace mstack::daemon
