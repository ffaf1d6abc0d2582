// SPDX-License-Identifier: BSD-2-Clause
// MultiStack's programs, loaded for one test into the current network namespace and pinned nowhere, with what a
// daemon would have put into their maps.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mstack_abi.h"
#include "wire.hpp"

struct bpf_link;
struct mstack_bpf;

namespace bpf_test {

// The key of a claim, put together byte by byte.
mstack_tuple tuple(std::string_view address, std::uint16_t port, std::uint8_t protocol);
bool same(const mstack_tuple& left, const mstack_tuple& right);

struct ClaimOptions {
  std::uint32_t vport = 1;
  std::uint16_t slot = 1;
  std::uint16_t queues = 1;
  std::uint64_t cookie = 0xc0ffee;
  std::uint32_t state = MSTACK_CLAIM_ACTIVE;
};

// What a daemon sets before it loads the programs.
struct Settings {
  std::uint64_t next_hop_interval_ns = 0;
  bool send_fragments = true;
  std::optional<std::uint64_t> fragment_lifetime_ns = {};  // none: as it is
};

// What one run of a program did.
struct Outcome {
  std::uint32_t action = 0;
  Bytes frame;
  std::map<std::string, std::uint64_t> counted;                                   // verdict > packets
  std::map<std::uint32_t, std::map<std::string, std::uint64_t>> counted_by_slot;  // of the slots watched
  std::uint64_t rx_bytes = 0;                                                     // of all slots watched
  std::uint64_t tx_bytes = 0;
};

class Programs {
 public:
  // Loads those named, or all: the verifier takes its time over each. Throws std::system_error.
  explicit Programs(std::uint64_t netns_cookie, std::initializer_list<std::string_view> wanted = {},
                    const Settings& settings = {});
  ~Programs();
  Programs(const Programs&) = delete;
  Programs& operator=(const Programs&) = delete;

  int program(std::string_view name) const;
  int map(std::string_view name) const;
  bpf_link* attach_to_cgroup(std::string_view program, int cgroup);

  // One frame through a program, as XDP or as TC (by the program's type) from an interface of this namespace.
  // ingress 0 is whatever the kernel takes. Every count made meanwhile is in the outcome.
  Outcome run(std::string_view program, const Bytes& frame, std::uint32_t ingress = 0);
  // The same, but what the program decides does happen: a redirect is carried out.
  Outcome run_live(std::string_view program, const Bytes& frame, std::uint32_t ingress);

  // Counted in port_gate and slot_claims as well, as mstackd does it before it inserts a claim.
  void claim(const mstack_tuple& tuple, const ClaimOptions& options = {}) const;
  void unclaim(const mstack_tuple& tuple) const;  // without a look at the counts
  bool claimed(const mstack_tuple& tuple) const;
  mstack_claim claim_of(const mstack_tuple& tuple) const;
  void local(std::string_view address, const mstack_local& where = {}) const;
  void foreign(std::string_view address) const;  // no longer local
  // As whoever changes claims or local_addrs must; those above do.
  void begin_epoch() const;
  std::uint64_t epoch() const;
  void leave_epoch() const;  // as a daemon that was killed half-way through a change

  // Slots of a vport: known as devices to uplink_rx (any interface will do, a test run carries out no redirect).
  void add_slots(std::uint16_t first, std::uint16_t count);
  void watch(std::uint32_t slot);
  void add_host_end(std::uint32_t ifindex, std::uint32_t vport, std::uint32_t slot);
  void add_uplink(const std::string& name, bool xmit = true, bool xmit_sg = true) const;
  // Any interface will do: what its tags are, only the maps say. `tags` are bytes of the wire, 4 or 8.
  void add_vlan(std::uint32_t device, std::uint32_t uplink, const Bytes& tags) const;
  void remove_vlan(std::uint32_t uplink, const Bytes& tags) const;
  void set_device(std::uint32_t slot, std::uint32_t ifindex) const;  // in vport_devs

  std::uint32_t gate(std::uint8_t protocol, std::uint16_t port) const;
  void set_gate(std::uint8_t protocol, std::uint16_t port, std::uint32_t claims) const;
  std::uint32_t slot_claims(std::uint32_t slot) const;
  void set_slot_claims(std::uint32_t slot, std::uint32_t claims) const;
  std::vector<mstack_event> events() const;  // since the last call
  // What sock_bind wrote into the storage of a socket of this process.
  std::optional<mstack_socket> record(int socket) const;

 private:
  struct Snapshot {
    std::vector<std::uint64_t> counters;
    std::map<std::uint32_t, mstack_vport_stats> stats;
  };
  Snapshot snapshot() const;
  Outcome outcome(const Snapshot& before) const;

  struct Deleter {
    void operator()(mstack_bpf* skeleton) const;
  };
  std::unique_ptr<mstack_bpf, Deleter> skeleton_;
  struct LinkDeleter {
    void operator()(bpf_link* link) const;
  };
  std::vector<std::unique_ptr<bpf_link, LinkDeleter>> links_;
  std::vector<std::uint32_t> watched_;
};

// The action, and that exactly this one verdict was counted, in `counters` and by no other slot than `slot`
// (no_slot: in `counters` alone).
inline constexpr std::uint32_t no_slot = 0;
testing::AssertionResult did(const Outcome& outcome, std::uint32_t action, mstack_verdict verdict,
                             std::uint32_t slot = no_slot);
std::string_view name_of(mstack_verdict verdict);

}  // namespace bpf_test
