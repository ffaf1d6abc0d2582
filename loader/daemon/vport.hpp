// SPDX-License-Identifier: BSD-2-Clause
//
// One vport: everything in the kernel that belongs to it, owned.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "daemon/bpf_link.hpp"
#include "daemon/claim_store.hpp"
#include "daemon/datapath.hpp"
#include "daemon/quota.hpp"
#include "daemon/residue.hpp"
#include "daemon/slots.hpp"
#include "daemon/takeover_plan.hpp"
#include "fd.hpp"
#include "mstack/error.hpp"
#include "net/link.hpp"
#include "net/netns.hpp"
#include "protocol.hpp"

namespace mstack::daemon {

// Where vports are made: lent to each of them, and outliving them all.
struct VportHost {
  const Datapath& datapath;
  const ClaimStore& claims;
  net::Links& links;        // of the uplinks' namespace, which the thread is in
  const net::Sysfs& sysfs;  // of the same
  net::Links& stack_links;  // of the stack ends' namespace, which is ours alone
  // Whether a client can map the rings of a socket that is bound: Linux 6.4. Else it must get its sockets before they
  // are, and could bind them itself to any stack end that it can reach: so then each vport has a namespace of its own.
  bool maps_bound_rings;
  bool takes_multi_buffer;  // AF_XDP packets of several frames: Linux 6.6
};

// Whom a vport is for.
struct VportOwner {
  std::uint32_t uid = 0, pid = 0;
  std::string comm;
};

// The message's numbers, each checked before it means anything. EINVAL names the first that is wrong. Pure.
Expected<void> check_request(const protocol::OpenVport& request);
std::uint64_t umem_bytes_of(const protocol::OpenVport& request);
// What fits both the uplinks and a packet's frames. Pure.
std::uint32_t vport_mtu(std::uint32_t uplink_mtu, const protocol::OpenVport& request);
// Of the veth pair of such a vport. Pure.
std::uint32_t device_mtu(const protocol::OpenVport& request);

class Vport {
 public:
  struct Opened {
    std::unique_ptr<Vport> vport;
    std::vector<Fd> descriptors;  // packet memory, then the queues' sockets
  };
  struct OpenOptions {
    std::uint32_t id;
    const VportOwner& owner;
    const protocol::OpenVport& request;  // checked
    std::uint64_t umem_limit;            // of the owner's user, bytes; 0: none
  };
  // A failure leaves nothing behind. Its sockets are bound unless bound rings cannot be mapped.
  static Expected<Opened> open(const VportHost& host, SlotLease lease, LedgerEntry account, const OpenOptions& options);
  // Of an earlier mstackd, with its programs replaced by ours.
  static Expected<std::unique_ptr<Vport>> adopt(const VportHost& host, SlotLease lease, LedgerEntry account,
                                                const Plan::Adopted& found);
  // Once the client has mapped the rings. Fails if it has bound a socket itself; the vport is to be closed then.
  Expected<void> bind();
  Vport(const Vport&) = delete;
  ~Vport();

  [[nodiscard]] std::uint32_t id() const { return id_; }
  [[nodiscard]] const mstack_vport& record() const { return record_; }
  [[nodiscard]] bool is_bound() const { return unbound_.empty(); }
  [[nodiscard]] std::vector<std::uint32_t> host_ends() const;  // ifindexes, by queue
  // Whether one of its queues still has a socket.
  [[nodiscard]] Expected<bool> is_alive() const;
  // It has been taken back by this process.
  Expected<void> resumed_by(const VportOwner& owner);
  // Everything stays as it is, for stacks that run on without an mstackd.
  void leave();
  // Ends it as its destruction does, but for what whoever keeps one of its sockets still has. Only to be destroyed
  // then.
  [[nodiscard]] Residue end();

 private:
  Vport(const VportHost& host, SlotLease lease, LedgerEntry account, std::uint32_t id)
      : host_(host), lease_(std::move(lease)), account_(std::move(account)), id_(id) {}
  Expected<void> create_ends(std::uint32_t queue, std::uint32_t mtu, bool throughput);
  Expected<void> attach_host_end(std::uint32_t queue);
  Expected<void> attach_stack_ends();
  Expected<void> set_up_ends(std::uint32_t queue);
  Expected<std::vector<Fd>> create_sockets(int memory, const OpenOptions& options);
  Expected<void> connect(std::span<const Fd> sockets);
  Expected<void> pin_link(const Fd& link, const std::string& name);
  Expected<void> replace_programs(std::uint32_t queue) const;
  void erase_entries() const;
  void erase_sockets() const;
  void remove_ends();
  [[nodiscard]] net::Links& stack_links() { return own_stack_links_ ? *own_stack_links_ : host_.stack_links; }

  const VportHost& host_;
  // Given back last: nobody else is given a slot while anything of the vport is left.
  SlotLease lease_;
  LedgerEntry account_;
  Fd memory_;  // none if an earlier mstackd made it
  std::optional<net::Links> own_stack_links_;
  std::vector<Fd> unbound_;  // sockets that wait for bind()
  std::vector<LinkPin> links_;
  std::vector<net::OwnedLink> host_ends_;  // by queue
  std::uint32_t id_;
  mstack_vport record_ = {};
  bool left_ = false;
};

}  // namespace mstack::daemon
