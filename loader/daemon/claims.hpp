// SPDX-License-Identifier: BSD-2-Clause
//
// Admits and releases claims, in batches.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "daemon/admission.hpp"
#include "daemon/claim_store.hpp"
#include "daemon/local_addresses.hpp"
#include "fd.hpp"
#include "mstack/error.hpp"

namespace mstack::daemon {

// Whose claims they are to be.
struct Claimant {
  std::uint32_t vport, slot, queues;
  std::uint32_t claims_left;  // of the user's quota
  std::uint32_t max_claims;   // the quota, for the refusal
  bool repeated;              // what this vport has claimed for the same socket already is no error
};

class Claims {
 public:
  struct Outcome {
    mstack_tuple tuple = {};  // of a claim: what the descriptor is bound to, as far as that is known
    int error = 0;
    std::string text;  // of the error
  };

  // All must outlive it.
  Claims(const Datapath& datapath, const ClaimStore& store, LocalAddresses& addresses, bool bound_tcp_is_seen)
      : datapath_(&datapath), store_(&store), addresses_(&addresses), bound_tcp_is_seen_(bound_tcp_is_seen) {}

  // One outcome a descriptor. An owner is bound and not yet connected; each gets its claim, or nothing.
  std::vector<Outcome> claim(const Claimant& claimant, std::span<const Fd> owners);
  // A claim on one address is for as long as that is this host's: ACTIVE or SUSPENDED, after each sync of the
  // addresses. A wildcard's claim is for whatever addresses there are, and a group's for none of them.
  void follow_addresses();
  // Only what this vport has claimed; of ::, the IPv4 wildcard of the same owner too. ENOENT for all else.
  std::vector<Outcome> release(std::uint32_t vport, std::span<const mstack_tuple> tuples);

 private:
  struct Candidate;
  Expected<void> enter(Candidate& candidate, const Claimant& claimant, std::uint32_t& left, const LookUp& look_up);
  Expected<void> insert(Candidate& candidate, const Claimant& claimant, std::uint32_t left);
  Expected<void> confirm(const Candidate& candidate);
  void confirm_wildcards(std::span<Candidate> candidates);
  void refuse(Candidate& candidate, const Error& error);
  void withdraw(Candidate& candidate);
  [[nodiscard]] bool is_claimed(const mstack_tuple& tuple, const mstack_claim& claim) const;

  const Datapath* datapath_;
  const ClaimStore* store_;
  LocalAddresses* addresses_;
  bool bound_tcp_is_seen_;
  std::optional<std::uint64_t> followed_;  // LocalAddresses::changes() that the claims' states are of
};

}  // namespace mstack::daemon
