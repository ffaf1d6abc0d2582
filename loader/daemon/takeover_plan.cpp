// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/takeover_plan.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "daemon/bpf_link.hpp"
#include "daemon/slots.hpp"

namespace mstack::daemon {
namespace {

// A record that cannot be ours would make us index by it: whoever wrote it, it is not adopted.
bool is_sound(const mstack_vport& record) {
  return record.queues >= 1 && record.queues <= MSTACK_MAX_QUEUES;
}

}  // namespace

std::string host_link_name(std::uint32_t slot) {
  return "host_" + std::to_string(slot);
}

std::string stack_link_name(std::uint32_t slot) {
  return "stack_" + std::to_string(slot);
}

std::string uplink_link_name(std::uint32_t ifindex) {
  return "uplink_" + std::to_string(ifindex);
}

Plan plan_takeover(const Found& found) {
  Plan plan;
  SlotAllocator slots;
  std::map<std::uint32_t, Plan::Adopted*> by_id;
  std::set<std::string> pins;

  plan.adopted.reserve(found.vports.size());  // by_id points into it
  for (const Found::Vport& vport : found.vports) {
    const mstack_vport& record = vport.record;
    if (!vport.alive || !is_sound(record) || !slots.take(record.slot, record.queues)) {
      plan.vports.push_back(vport.id);
      continue;
    }
    by_id[vport.id] = &plan.adopted.emplace_back(Plan::Adopted{.id = vport.id, .record = record, .host_ends = {}});
    for (std::uint32_t slot = record.slot; slot < std::uint32_t{record.slot} + record.queues; ++slot) {
      pins.insert(host_link_name(slot));
      pins.insert(stack_link_name(slot));
    }
  }

  for (const auto& [tuple, claim] : found.claims) {
    // PENDING: the mstackd that was about to look at its owner again never did.
    const auto owner = by_id.find(claim.vport);
    const bool whole = claim.state == MSTACK_CLAIM_ACTIVE || claim.state == MSTACK_CLAIM_SUSPENDED;
    if (!whole || owner == by_id.end() || owner->second->record.slot != claim.slot ||
        owner->second->record.queues != claim.queues)
      plan.claims.push_back(tuple);
  }

  for (const Found::HostEnd& end : found.host_ends) {
    const auto owner = by_id.find(end.vport);
    if (owner == by_id.end() || end.queue >= owner->second->record.queues)
      plan.host_ends.push_back(end.ifindex);
    else
      owner->second->host_ends[end.queue] = end.ifindex;
  }

  for (const auto& [ifindex, entry] : found.host_end_entries) {
    // Also of a device that is gone: its index may be another's by now, and frames of that are not the vport's.
    const auto owner = by_id.find(entry.vport);
    if (owner == by_id.end() || entry.slot < owner->second->record.slot ||
        entry.slot - owner->second->record.slot >= owner->second->record.queues ||
        owner->second->host_ends[entry.slot - owner->second->record.slot] != ifindex)
      plan.host_end_entries.push_back(ifindex);
  }

  for (std::uint32_t slot = 0; slot < SlotAllocator::end; ++slot)
    if (slot < SlotAllocator::first || slots.is_free(slot, 1)) plan.slots.push_back(slot);

  for (const std::string& name : found.link_pins)
    if (name.starts_with(temporary_prefix) ||
        ((name.starts_with("host_") || name.starts_with("stack_")) && !pins.contains(name)))
      plan.link_pins.push_back(name);
  return plan;
}

}  // namespace mstack::daemon
