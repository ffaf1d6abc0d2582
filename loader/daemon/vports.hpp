// SPDX-License-Identifier: BSD-2-Clause
//
// All vports: who has which, and those that nobody has.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "daemon/quota.hpp"
#include "daemon/residue.hpp"
#include "daemon/takeover_plan.hpp"
#include "daemon/vport.hpp"
#include "mstack/error.hpp"

namespace mstack::daemon {

class Vports {
 public:
  // `datapath` is that of the host, to be written to.
  Vports(const VportHost& host, Datapath& datapath, const Quota& quota)
      : host_(host), datapath_(&datapath), ledger_(quota) {}
  Vports(const Vports&) = delete;

  // Puts in order what an earlier mstackd left: its vports with living stacks are kept, everything else is removed.
  Expected<void> take_over();

  struct Opened {
    std::uint32_t id, slot, mtu;
    std::vector<Fd> descriptors;
    bool bound;  // if not, bind() is to follow
  };
  Expected<Opened> open(const VportOwner& owner, const protocol::OpenVport& request, std::uint32_t uplink_mtu);
  Expected<void> bind(std::uint32_t id);  // once, after an open() that did not
  // ENOENT: there is none, or it is somebody's; EPERM: it is not this user's, or the socket is not its queue 0.
  Expected<void> resume(std::uint32_t id, const VportOwner& owner, int socket);
  void close(std::uint32_t id);

  [[nodiscard]] const Vport* find(std::uint32_t id) const;
  [[nodiscard]] std::optional<std::uint32_t> owner_of_host_end(std::uint32_t ifindex) const;
  [[nodiscard]] std::vector<std::uint32_t> host_ends() const;  // of all vports, by ifindex
  [[nodiscard]] std::uint32_t claims_of(std::uint32_t uid) const;
  [[nodiscard]] const Ledger& ledger() const { return ledger_; }

  // Vports that were taken over and not yet resumed live as long as their sockets do, and what is left of a vport stays
  // as long as somebody keeps its sockets; which only asking tells.
  [[nodiscard]] bool is_to_be_asked() const;
  void when_to_be_asked(std::function<void()> call) { on_residue_ = std::move(call); }
  void remove_dead();

  void close_all() {
    vports_.clear();
    residues_.clear();
  }
  void leave_all();

 private:
  struct Entry {
    std::unique_ptr<Vport> vport;
    bool orphan;
  };
  Expected<Found> find_everything() const;
  Expected<void> remove(const Plan& plan) const;
  void remove_residues();
  void adopt(const Plan::Adopted& found);

  const VportHost host_;
  Datapath* datapath_;
  // In this order: vports give back to both.
  SlotAllocator slots_;
  Ledger ledger_;
  std::map<std::uint32_t, Entry> vports_;
  std::list<Residue> residues_;
  std::function<void()> on_residue_ = [] {};
};

}  // namespace mstack::daemon
