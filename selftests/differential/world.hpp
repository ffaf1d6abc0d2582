// SPDX-License-Identifier: BSD-2-Clause
// One world twice: a network namespace with the BPF programs and their maps, and the model's state of the same.
//
//   host0, host1, host2   host ends: vport 1 (slots 1 and 3) and vport 2 (slot 2)
//   up0    an uplink: 192.0.2.1/24, 2001:db8::1/64, and 2001:db8:0:0:5:: with nothing in its last 32 bits
//   up1    an uplink that takes no XDP frames: 203.0.113.1/25, 2001:db8:1::1/64
//   away0  no uplink: 203.0.113.129/25, 2001:db8:a::1/64
//   vlan0, vlan1  of up0: VLAN 100, 802.1Q, and VLAN 300 in VLAN 200, 802.1Q in 802.1ad; vlan2 of up1: VLAN 7
//   narrow  the device of slot 2's vport, with an MTU of 1,900; the others' is lo
//   s5, s6  stack ends of the slots that are their ifindex: a stack's socket is on the first
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "bpf/netns.hpp"
#include "bpf/xsk.hpp"
#include "model/state.hpp"
#include "mstack_abi.h"
#include "programs.hpp"
#include "random.hpp"

namespace differential {

class World {
 public:
  World(bool send_fragments, bool guard_loopback);

  // Claims, known addresses and whose errors are spent anew, in the maps and in the model's state.
  void populate(Random& random);
  void change(const model::Tuple& tuple, const std::optional<model::Claim>& claim);
  void restore(const std::map<model::Tuple, model::Claim>& claims);
  // As if no fragment had been seen.
  void forget_datagrams();
  // The pace of ICMP errors is a matter of time: before each frame a slot's are spent, or none has been sent yet.
  void settle_pace();

  static model::Claim any_holder(Random& random);
  static std::uint64_t any_cookie(Random& random) { return 0xc0ffee00 + random.below(4); }

  const model::State& state() const { return state_; }
  Programs& programs() { return *programs_; }

  // Interfaces that a program can be given a frame on.
  const std::vector<std::uint32_t>& ingresses(Program program) const {
    return ingresses_.at(static_cast<std::size_t>(program));
  }
  static constexpr std::uint32_t slot_with_socket = 5;
  static constexpr std::uint32_t slot_without_socket = 6;

 private:
  void add_device(const char* name, bool uplink, bool takes_xdp_frames, std::uint16_t mtu = 1500);
  void add_vlan(const char* name, const char* uplink, const model::Tags& tags);
  void add_host_end(const char* name, std::uint32_t vport, std::uint32_t slot);
  void add_route(std::string_view prefix, unsigned length, std::uint32_t device, std::string_view gateway = {},
                 std::uint16_t mtu = 0);
  void add_neighbour(std::string_view name);
  void add_subnet(std::string_view broadcast, std::uint32_t device);
  mstack_local where(std::uint32_t device, bool broadcast) const;
  void describe_routes();
  void claim(const model::Tuple& tuple, const model::Claim& claim);
  void release(const model::Tuple& tuple);
  void forget();
  void begin_epoch();
  void know(const model::Address& address, bool known);

  bpf_test::Netns netns_;
  model::State state_;
  std::uint64_t epoch_ = 0;
  std::unique_ptr<Programs> programs_;
  std::unique_ptr<bpf_test::Xsk> socket_;
  std::array<std::vector<std::uint32_t>, program_count> ingresses_;
};

}  // namespace differential
