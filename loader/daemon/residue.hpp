// SPDX-License-Identifier: BSD-2-Clause
//
// What is left of a vport after its end, as long as somebody holds on to it: a client may keep its AF_XDP sockets, map
// its packet memory, or share it with an AF_XDP socket of its own making (in a user namespace anyone may make one).
// That memory was pinned by mstackd, so no limit of the client's counts it; the quota must, until it is free.
#pragma once

#include <cstdint>
#include <memory>

#include "daemon/datapath.hpp"
#include "daemon/quota.hpp"
#include "daemon/slots.hpp"
#include "fd.hpp"

namespace mstack::daemon {

class Residue {
 public:
  // `memory` may be none: an earlier mstackd made it, and then only the sockets are waited for.
  Residue(const Datapath& datapath, SlotLease lease, LedgerEntry account, Fd memory);
  Residue(Residue&&) = default;
  ~Residue();

  // Looks once. True: nobody holds anything any more, and the packet memory is given back, mapped or not.
  bool is_settled();

 private:
  struct Memory;
  [[nodiscard]] bool has_socket() const;

  const Datapath* datapath_;
  SlotLease lease_;  // no other vport gets the slots while a socket is in one
  LedgerEntry account_;
  std::shared_ptr<Memory> memory_;  // shared with the thread that looks at it
};

}  // namespace mstack::daemon
