// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/vports.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "daemon/log.hpp"
#include "daemon/xsk.hpp"

namespace mstack::daemon {

Expected<Found> Vports::find_everything() const {
  Found found;
  std::optional<Error> failed;
  auto seen = datapath_->vports().for_each([&](std::uint32_t id, const mstack_vport& record) {
    Found::Vport vport = {.id = id, .record = record, .alive = false};
    for (std::uint32_t slot = record.slot; slot < MSTACK_MAX_SLOTS && slot - record.slot < record.queues; ++slot) {
      const auto alive = datapath_->is_alive(slot);
      if (!alive) failed = alive.error();
      vport.alive |= alive && *alive;
    }
    found.vports.push_back(vport);
  });
  if (!seen) return std::unexpected(seen.error());
  if (failed) return std::unexpected(*failed);

  seen = datapath_->claims().for_each(
      [&](const mstack_tuple& tuple, const mstack_claim& claim) { found.claims.emplace_back(tuple, claim); });
  if (!seen) return std::unexpected(seen.error());
  seen = datapath_->host_ends().for_each(
      [&](std::uint32_t ifindex, const mstack_host_end& end) { found.host_end_entries.emplace_back(ifindex, end); });
  if (!seen) return std::unexpected(seen.error());

  const auto devices = host_.links.host_ends();
  if (!devices) return std::unexpected(devices.error());
  for (const net::Link& device : *devices)
    if (const auto name = net::parse_host_end(device.name))
      found.host_ends.push_back({.ifindex = device.ifindex, .vport = name->vport, .queue = name->queue});
  auto pins = datapath_->pins().links();
  if (!pins) return std::unexpected(pins.error());
  found.link_pins = std::move(*pins);
  return found;
}

Expected<void> Vports::take_over() {
  const auto found = find_everything();
  if (!found) return std::unexpected(found.error());
  const Plan plan = plan_takeover(*found);
  if (auto removed = remove(plan); !removed) return removed;
  for (const Plan::Adopted& vport : plan.adopted) adopt(vport);
  if (datapath_->is_taken_over()) {
    if (auto corrected = host_.claims.correct_counts(); !corrected) return corrected;
    log::info("took over {} vports and {} claims; removed {} vports whose stacks are gone", vports_.size(),
              found->claims.size() - plan.claims.size(), plan.vports.size());
  }
  return {};
}

Expected<void> Vports::remove(const Plan& plan) const {
  for (const mstack_tuple& tuple : plan.claims)
    if (auto erased = host_.claims.erase_uncounted(tuple); !erased) return std::unexpected(erased.error());
  using DeviceMap = maps::Hash<std::uint32_t, std::uint32_t>;
  for (const std::uint32_t slot : plan.slots) {
    for (const char* map : maps::device_maps) (void)DeviceMap(datapath_->map(map)).erase(slot);
    (void)DeviceMap(datapath_->map("vport_xsks")).erase(slot);
  }
  for (const std::uint32_t ifindex : plan.host_end_entries) (void)datapath_->host_ends().erase(ifindex);
  for (const std::string& name : plan.link_pins) remove_link(datapath_->pins().link(name));
  for (const std::uint32_t ifindex : plan.host_ends) {
    const auto device = host_.links.find(ifindex);
    if (!device) continue;
    // Ours have lost their programs by now; one that has a program works for another mstackd.
    if (device->xdp_program != 0) {
      log::warn("{} is left alone: it has the XDP program {}", device->name, describe_program(device->xdp_program));
      continue;
    }
    if (auto removed = host_.links.remove(ifindex); !removed) return removed;
  }
  for (const std::uint32_t id : plan.vports) (void)datapath_->vports().erase(id);
  return {};
}

void Vports::adopt(const Plan::Adopted& found) {
  const mstack_vport& record = found.record;
  if (!slots_.take(record.slot, record.queues)) return;  // not after plan_takeover()
  auto vport =
      Vport::adopt(host_, SlotLease(slots_, record.slot, record.queues),
                   LedgerEntry(ledger_, record.uid, {.queues = record.queues, .umem_bytes = record.umem_bytes}), found);
  if (!vport) {
    log::warn("vport {} is removed: {}", found.id, vport.error().what);
    return;
  }
  vports_.emplace(found.id, Entry{.vport = std::move(*vport), .orphan = true});
}

Expected<Vports::Opened> Vports::open(const VportOwner& owner, const protocol::OpenVport& request,
                                      std::uint32_t uplink_mtu) {
  if (auto valid = check_request(request); !valid) return std::unexpected(valid.error());
  if ((request.flags & MSTACK_VPORT_MULTI_BUFFER) != 0 && !host_.takes_multi_buffer)
    return failure(
        EOPNOTSUPP,
        "packets of several frames (multi_buffer) need Linux 6.6: without them, frames of 4096 bytes take an "
        "MTU of 3498");
  remove_residues();  // a user who has just closed a vport may open another
  const VportSize size = {.queues = request.queues, .umem_bytes = umem_bytes_of(request)};
  if (auto allowed = ledger_.check_vport(owner.uid, size); !allowed) return std::unexpected(allowed.error());
  const auto slot = slots_.allocate(request.queues);
  if (!slot)
    return failure(ENOSPC, fmt::format("no {} queues in a row are free, of {} in all: close a vport", request.queues,
                                       SlotAllocator::end - SlotAllocator::first));
  SlotLease lease(slots_, *slot, request.queues);
  const auto id = datapath_->next_vport();
  if (!id) return std::unexpected(id.error());

  const std::uint32_t mtu = vport_mtu(uplink_mtu, request);
  auto opened = Vport::open(host_, std::move(lease), LedgerEntry(ledger_, owner.uid, size),
                            {.id = *id, .owner = owner, .request = request, .umem_limit = ledger_.max_umem_bytes()});
  if (!opened && opened.error().code == EDQUOT) return std::unexpected(opened.error());
  if (!opened) {
    // The reason is this machine's, not the client's: its log should have it.
    log::warn("cannot make a vport: {}", opened.error().what);
    return failure(opened.error().code, "cannot make the vport: " + opened.error().what);
  }
  log::debug("vport {} opened by {} (uid {}, pid {}): {} queues from slot {}", *id, owner.comm, owner.uid, owner.pid,
             request.queues, *slot);
  const bool bound = opened->vport->is_bound();
  vports_.emplace(*id, Entry{.vport = std::move(opened->vport), .orphan = false});
  return Opened{.id = *id, .slot = *slot, .mtu = mtu, .descriptors = std::move(opened->descriptors), .bound = bound};
}

Expected<void> Vports::bind(std::uint32_t id) {
  const auto found = vports_.find(id);
  if (found == vports_.end()) return failure(ENOENT, fmt::format("there is no vport {}", id));
  auto bound = found->second.vport->bind();
  if (!bound) log::warn("cannot bind the sockets of vport {}: {}", id, bound.error().what);
  return bound;
}

Expected<void> Vports::resume(std::uint32_t id, const VportOwner& owner, int socket) {
  const auto found = vports_.find(id);
  if (found == vports_.end())
    return failure(ENOENT, fmt::format("there is no vport {}: it is gone, open a new one", id));
  Entry& entry = found->second;
  const mstack_vport& record = entry.vport->record();
  if (record.uid != owner.uid || !is_xsk(socket))
    return failure(EPERM, fmt::format("vport {} is taken back by the user who opened it, with its queue 0 socket", id));
  const auto cookie = socket_cookie(socket);
  if (!cookie || *cookie != record.xsk_cookie)
    return failure(EPERM, fmt::format("vport {} is taken back with its queue 0 socket, not with another", id));
  if (!entry.orphan) return failure(EBUSY, fmt::format("vport {} has a connection already: go on with that one", id));
  if (auto resumed = entry.vport->resumed_by(owner); !resumed) return resumed;
  entry.orphan = false;
  log::debug("vport {} resumed by {} (uid {}, pid {})", id, owner.comm, owner.uid, owner.pid);
  return {};
}

void Vports::close(std::uint32_t id) {
  const auto found = vports_.find(id);
  if (found == vports_.end()) return;
  residues_.push_back(found->second.vport->end());
  vports_.erase(found);
  remove_residues();
  if (!residues_.empty()) on_residue_();
  log::debug("vport {} closed", id);
}

const Vport* Vports::find(std::uint32_t id) const {
  const auto found = vports_.find(id);
  return found == vports_.end() ? nullptr : found->second.vport.get();
}

std::optional<std::uint32_t> Vports::owner_of_host_end(std::uint32_t ifindex) const {
  for (const auto& [id, entry] : vports_)
    if (const auto ends = entry.vport->host_ends(); std::ranges::find(ends, ifindex) != ends.end()) return id;
  return std::nullopt;
}

std::vector<std::uint32_t> Vports::host_ends() const {
  std::vector<std::uint32_t> ifindexes;
  for (const auto& [id, entry] : vports_) std::ranges::copy(entry.vport->host_ends(), std::back_inserter(ifindexes));
  return ifindexes;
}

std::uint32_t Vports::claims_of(std::uint32_t uid) const {
  std::uint32_t claims = 0;
  for (const auto& [id, entry] : vports_)
    if (entry.vport->record().uid == uid) claims += host_.claims.count_of_slot(entry.vport->record().slot);
  return claims;
}

bool Vports::is_to_be_asked() const {
  return !residues_.empty() || std::ranges::any_of(vports_, [](const auto& entry) { return entry.second.orphan; });
}

void Vports::remove_residues() {
  std::erase_if(residues_, [](const Residue& residue) { return !residue.is_held(); });
}

void Vports::remove_dead() {
  remove_residues();
  std::erase_if(vports_, [](const auto& item) {
    const auto& [id, entry] = item;
    if (!entry.orphan) return false;
    const auto alive = entry.vport->is_alive();
    if (!alive || *alive) return false;
    log::debug("vport {} closed: its stack is gone", id);
    return true;
  });
}

void Vports::leave_all() {
  for (auto& [id, entry] : vports_)
    if (entry.vport->is_bound()) entry.vport->leave();
  vports_.clear();
  residues_.clear();
}

}  // namespace mstack::daemon
