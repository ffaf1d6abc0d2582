// SPDX-License-Identifier: BSD-2-Clause
//
// What is left of a vport after its end while somebody still has one of its AF_XDP sockets, duplicated or in another
// process: the account of its user and its slots. Who keeps a socket keeps the packet memory that the kernel pinned for
// it, and no other vport may have a slot whose socket is another's.
#pragma once

#include "daemon/datapath.hpp"
#include "daemon/quota.hpp"
#include "daemon/slots.hpp"
#include "fd.hpp"

namespace mstack::daemon {

class Residue {
 public:
  // `memory` may be none: an earlier mstackd made it.
  Residue(const Datapath& datapath, SlotLease lease, LedgerEntry account, Fd memory)
      : datapath_(&datapath), lease_(std::move(lease)), account_(std::move(account)), memory_(std::move(memory)) {}
  Residue(Residue&&) noexcept = default;
  Residue& operator=(Residue&&) = delete;
  // Gives back what is in the packet memory, which its client may have mapped: pages that nobody accounts for.
  ~Residue();

  // Whether a socket is still in one of the slots; also if that cannot be found out.
  [[nodiscard]] bool is_held() const;

 private:
  const Datapath* datapath_;
  SlotLease lease_;
  LedgerEntry account_;
  Fd memory_;
};

}  // namespace mstack::daemon
