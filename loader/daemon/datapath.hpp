// SPDX-License-Identifier: BSD-2-Clause
//
// The BPF programs and maps, loaded and pinned; those of an earlier mstackd are taken over if they are what we expect.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "daemon/cgroup.hpp"
#include "daemon/pin_dir.hpp"
#include "maps.hpp"
#include "mstack/error.hpp"

struct mstack_bpf;

namespace mstack::daemon {

class Datapath {
 public:
  struct Config {
    std::uint64_t netns_cookie;  // of the uplinks' namespace
    std::uint32_t max_claims;
    bool send_fragments;
    bool guard;
    bool multi_buffer;  // whether programs are given frames of several buffers
  };
  // Changes nothing that an earlier mstackd has left unless it returns well. `pins` must outlive it.
  static Expected<Datapath> open(const PinDir& pins, const Config& config);

  // The hooks on bind() and on the last close(); those of an earlier mstackd get our programs with no gap.
  Expected<void> attach_hooks(const Cgroup& cgroup) const;

  struct Programs {
    int uplink_rx = -1, uplink_tx = -1, lo_tx = -1, vport_rx = -1, vport_tx = -1, vport_tx_slow = -1, vport_alive = -1;
    int sock_bind4 = -1, sock_bind6 = -1, sock_release = -1;
    int sock_port4 = -1, sock_port6 = -1, sock_connect4 = -1, sock_connect6 = -1, sock_option = -1;
  };
  [[nodiscard]] const Programs& programs() const { return programs_; }
  [[nodiscard]] const PinDir& pins() const { return *pins_; }
  [[nodiscard]] bool is_taken_over() const { return taken_over_; }
  [[nodiscard]] std::uint32_t max_claims() const { return meta_.max_claims; }
  [[nodiscard]] std::uint64_t netns_cookie() const { return meta_.netns_cookie; }

  // An id that no vport ever had. What it leaves in meta is written before the id is used.
  Expected<std::uint32_t> next_vport();
  // Whether a socket is in the slot: it leaves the map by itself when its last holder closes it.
  [[nodiscard]] Expected<bool> is_alive(std::uint32_t slot) const;

  struct Destroy {
    void operator()(mstack_bpf* skeleton) const;
  };
  using Skeleton = std::unique_ptr<mstack_bpf, Destroy>;
  // uplink_rx once more, with the same maps but vport_chain_devs, not loaded yet: in a chain it is of another kind.
  [[nodiscard]] Expected<Skeleton> open_uplink_rx() const;

  [[nodiscard]] int map(std::string_view name) const;
  using Claims = maps::HashOfEpochs<mstack_tuple, mstack_claim>;
  using LocalAddrs = maps::HashOfEpochs<mstack_address, mstack_local>;
  [[nodiscard]] Claims claims() const { return {map("claims"), *epoch_}; }
  [[nodiscard]] LocalAddrs local_addrs() const { return {map("local_addrs"), *epoch_}; }
  [[nodiscard]] maps::HostEnds host_ends() const { return maps::HostEnds(map("host_ends")); }
  [[nodiscard]] maps::Vports vports() const { return maps::Vports(map("vports")); }
  [[nodiscard]] maps::UplinkInfo uplink_info() const { return maps::UplinkInfo(map("uplink_info")); }
  [[nodiscard]] maps::VlanByTags vlans() const { return maps::VlanByTags(map("vlans")); }
  [[nodiscard]] maps::VlanDevices vlan_devices() const { return maps::VlanDevices(map("vlan_devices")); }
  [[nodiscard]] const maps::Gauges& port_gate() const { return *port_gate_; }
  [[nodiscard]] const maps::Gauges& slot_claims() const { return *slot_claims_; }
  [[nodiscard]] const maps::Gauges& address_gate() const { return *address_gate_; }

 private:
  Datapath(const PinDir& pins, Skeleton skeleton) : pins_(&pins), skeleton_(std::move(skeleton)) {}
  Expected<std::optional<mstack_meta>> reuse_maps(const Config& config);
  Expected<void> load(const Config& config);
  Expected<void> pin_maps() const;

  const PinDir* pins_;
  Skeleton skeleton_;
  Programs programs_;
  mstack_meta meta_ = {};
  bool taken_over_ = false;
  std::optional<maps::Gauges> port_gate_, slot_claims_, address_gate_;
  std::unique_ptr<const maps::Epoch> epoch_;  // stays where it is when a Datapath is moved
};

}  // namespace mstack::daemon
