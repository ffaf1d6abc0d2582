// SPDX-License-Identifier: BSD-2-Clause
//
// The claims map and the two counts that go with it.
//
// One rule keeps the counts right although BPF deletes entries at any moment: count up before the insertion, and
// whoever deletes an entry, mstackd or BPF, counts it down after. So no count is ever too low: port_gate of 0 says for
// certain that a port has no claim, PENDING ones included, which sock_bind relies on.
#pragma once

#include <cstdint>
#include <vector>

#include "daemon/datapath.hpp"
#include "mstack/error.hpp"

namespace mstack::daemon {

class ClaimStore {
 public:
  explicit ClaimStore(const Datapath& datapath) : datapath_(&datapath), claims_(datapath.claims()) {}

  // EEXIST: it is claimed. E2BIG: the map is full.
  Expected<void> insert(const mstack_tuple& tuple, const mstack_claim& claim) const;
  // ENOENT: BPF has deleted it, and counted it down.
  Expected<void> set_state(const mstack_tuple& tuple, mstack_claim claim, mstack_claim_state state) const;
  // False: it was gone already.
  Expected<bool> erase(const mstack_tuple& tuple, const mstack_claim& claim) const;
  // One of an mstackd that is no more, which may or may not be counted: correct_counts() must follow.
  Expected<bool> erase_uncounted(const mstack_tuple& tuple) const { return claims_.erase(tuple); }
  [[nodiscard]] Expected<std::optional<mstack_claim>> find(const mstack_tuple& tuple) const {
    return claims_.find(tuple);
  }

  // Those that are still a vport's. Returns at once if there are none.
  Expected<void> erase_all_of(std::uint32_t vport, std::uint32_t slot) const;
  [[nodiscard]] std::uint32_t count_of_slot(std::uint32_t slot) const;

  template <class Visit>
  Expected<void> for_each(Visit&& visit) const {
    return claims_.for_each(visit);
  }
  // After a takeover: takes off what an mstackd counted and did not come to insert.
  Expected<void> correct_counts() const;

 private:
  void count(const mstack_tuple& tuple, std::uint32_t slot, std::int32_t change) const;
  const Datapath* datapath_;
  Datapath::Claims claims_;
};

}  // namespace mstack::daemon
