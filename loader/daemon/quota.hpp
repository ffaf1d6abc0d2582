// SPDX-License-Identifier: BSD-2-Clause
//
// What each user may have, and has. No system calls. The claims themselves are counted in the kernel, in slot_claims,
// since only it sees every release.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <utility>

#include "mstack/error.hpp"

namespace mstack::daemon {

// Of one user; 0 is no limit. root is not exempt: most mistakes are made as root.
struct Quota {
  std::uint32_t vports = 64;
  std::uint32_t queues = 256;  // a quarter of all there are: no one user can have them all
  std::uint32_t claims = 16384;
  std::uint64_t umem_bytes = std::uint64_t{1} << 30;
};

struct VportSize {
  std::uint32_t queues = 0;
  std::uint64_t umem_bytes = 0;
};

class Ledger {
 public:
  explicit Ledger(const Quota& quota) : quota_(quota) {}

  // Whether the user may have one vport more, of this size. EDQUOT, with the limit and how to raise it.
  [[nodiscard]] Expected<void> check_vport(std::uint32_t uid, const VportSize& size) const;
  // How many claims more, of a user who has `claims`.
  [[nodiscard]] std::uint32_t claims_left(std::uint32_t claims) const;
  [[nodiscard]] std::uint32_t max_claims() const { return quota_.claims; }
  [[nodiscard]] std::uint64_t max_umem_bytes() const { return quota_.umem_bytes; }

  // Also beyond the quota: vports that are taken over were admitted by another mstackd.
  void add(std::uint32_t uid, const VportSize& size);
  void remove(std::uint32_t uid, const VportSize& size);

 private:
  struct Use {
    std::uint32_t vports = 0, queues = 0;
    std::uint64_t umem_bytes = 0;
  };
  Quota quota_;
  std::unordered_map<std::uint32_t, Use> users_;
};

// What one vport adds to its user's account.
class LedgerEntry {
 public:
  LedgerEntry(Ledger& ledger, std::uint32_t uid, const VportSize& size) : ledger_(&ledger), uid_(uid), size_(size) {
    ledger.add(uid, size);
  }
  LedgerEntry(LedgerEntry&& other) noexcept
      : ledger_(std::exchange(other.ledger_, nullptr)), uid_(other.uid_), size_(other.size_) {}
  LedgerEntry& operator=(LedgerEntry&&) = delete;
  ~LedgerEntry() {
    if (ledger_) ledger_->remove(uid_, size_);
  }

 private:
  Ledger* ledger_;
  std::uint32_t uid_;
  VportSize size_;
};

}  // namespace mstack::daemon
