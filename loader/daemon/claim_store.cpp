// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/claim_store.hpp"

#include <arpa/inet.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <unordered_map>

namespace mstack::daemon {
namespace {

// Waits until every BPF program that runs now has ended: they are RCU readers, and this is what the barrier waits for.
// Where the kernel does not offer it (nohz_full), the counts may be left too high, never too low: see below.
bool wait_for_running_programs() {
  return ::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0;
}

using Counts = std::unordered_map<std::uint32_t, std::uint32_t>;

// Takes off by how much a count is above what the entries say.
void lower(const maps::Gauges& gauges, std::uint32_t size, const Counts& counted) {
  for (std::uint32_t index = 0; index < size; ++index) {
    const std::uint32_t value = gauges.load(index);
    if (value == 0) continue;
    const auto found = counted.find(index);
    const auto excess = static_cast<std::int32_t>(value - (found == counted.end() ? 0 : found->second));
    if (excess > 0) gauges.add(index, -excess);
  }
}

}  // namespace

void ClaimStore::count(const mstack_tuple& tuple, std::uint32_t slot, std::int32_t change) const {
  datapath_->port_gate().add(mstack_gate_index(tuple.protocol, ntohs(tuple.port)), change);
  datapath_->slot_claims().add(slot, change);
}

Expected<void> ClaimStore::insert(const mstack_tuple& tuple, const mstack_claim& claim) const {
  count(tuple, claim.slot, +1);
  auto inserted = claims_.set(tuple, claim, BPF_NOEXIST);
  if (!inserted) count(tuple, claim.slot, -1);
  return inserted;
}

Expected<void> ClaimStore::set_state(const mstack_tuple& tuple, mstack_claim claim, mstack_claim_state state) const {
  claim.state = state;
  return claims_.set(tuple, claim, BPF_EXIST);
}

Expected<bool> ClaimStore::erase(const mstack_tuple& tuple, const mstack_claim& claim) const {
  auto erased = claims_.erase(tuple);
  if (erased && *erased) count(tuple, claim.slot, -1);
  return erased;
}

Expected<void> ClaimStore::erase_all_of(std::uint32_t vport, std::uint32_t slot) const {
  // The sockets of a client that ends are closed with its connection, so there is most often nothing left to do.
  if (count_of_slot(slot) == 0) return {};
  std::vector<std::pair<mstack_tuple, mstack_claim>> own;
  auto seen = claims_.for_each([&](const mstack_tuple& tuple, const mstack_claim& claim) {
    if (claim.vport == vport) own.emplace_back(tuple, claim);
  });
  if (!seen) return seen;
  for (const auto& [tuple, claim] : own)
    if (auto erased = erase(tuple, claim); !erased) return std::unexpected(erased.error());
  return {};
}

std::uint32_t ClaimStore::count_of_slot(std::uint32_t slot) const {
  return datapath_->slot_claims().load(slot);
}

// BPF goes on deleting entries, each followed by its count down. Entries are read first and the counts after, with a
// barrier in between: whatever a program had deleted unseen by then is counted down by then, and what is deleted later
// was seen. So a count exceeds the entries by no more than what an mstackd left, and taking that off never takes it
// below the claims there are. Releases in between make the excess look smaller; each is rare, so the second round
// finds the rest.
Expected<void> ClaimStore::correct_counts() const {
  for (int round = 0; round < 2; ++round) {
    Counts gate, slots;
    auto seen = claims_.for_each([&](const mstack_tuple& tuple, const mstack_claim& claim) {
      ++gate[mstack_gate_index(tuple.protocol, ntohs(tuple.port))];
      ++slots[claim.slot];
    });
    if (!seen) return seen;
    if (!wait_for_running_programs()) return {};
    lower(datapath_->port_gate(), MSTACK_GATE_SIZE, gate);
    lower(datapath_->slot_claims(), MSTACK_MAX_SLOTS, slots);
  }
  return {};
}

}  // namespace mstack::daemon
