// SPDX-License-Identifier: BSD-2-Clause
// What the world is like that a frame comes into.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "mstack_abi.h"
#include "tags.hpp"
#include "tuple.hpp"

namespace model {

using Mac = std::array<std::uint8_t, 6>;

struct Claim {
  std::uint64_t cookie = 0;  // of the socket that owns it
  std::uint32_t vport = 0;
  std::uint16_t slot = 0;
  std::uint16_t queues = 1;
  bool active = true;
};

struct HostEnd {
  std::uint32_t vport = 0;
  std::uint32_t slot = 0;
};

// A VLAN on an uplink.
struct Vlan {
  std::uint32_t uplink = 0;
  Tags tags;
  friend auto operator<=>(const Vlan&, const Vlan&) = default;
};

// An interface that routes lead out of.
struct Device {
  bool uplink = false;
  bool takes_xdp_frames = false;
  bool native = false;  // XDP in the driver
  Mac mac{};
  std::uint16_t mtu = 1500;
  std::optional<Vlan> vlan = {};  // whose device it is
};

struct Route {
  Address prefix;
  unsigned length = 0;             // in bits
  std::uint32_t device = 0;        // 0: the route forbids (unreachable, blackhole, prohibit)
  std::uint16_t mtu = 0;           // locked; 0: the device's
  std::optional<Address> gateway;  // none: the destination is on the link
};

// Of a frame that has more than one buffer, under BPF_PROG_TEST_RUN: a page without its headroom and the kernel's own
// notes behind it.
inline constexpr std::size_t first_buffer = 4096 - 256 - 320;

struct State {
  bool send_fragments = false;
  bool guards_loopback = false;
  std::map<Tuple, Claim> claims;
  std::set<Address> host;                        // addresses that the kernel has, as its routes see it
  std::set<Address> local;                       // those that mstackd knows of
  std::map<Address, std::uint32_t> device_of;    // of each of the host's, the device that has it
  std::map<Address, std::uint32_t> broadcasts;   // of the host's subnets, and their devices
  std::map<std::uint32_t, std::uint16_t> slots;  // those that have a stack end, and its MTU
  std::map<std::uint32_t, HostEnd> host_ends;    // by ifindex
  std::map<std::uint32_t, Device> devices;       // by ifindex
  std::vector<Route> routes;                     // the longest prefix that matches is taken
  std::map<Address, Mac> neighbours;             // next hops whose MAC is known
  std::set<std::uint32_t> errors_spent;          // slots that may send no ICMP error for now

  bool is_local(const Address& address) const { return local.contains(address); }

  bool has(const Vlan& vlan) const {
    return std::ranges::any_of(devices, [&](const auto& device) { return device.second.vlan == vlan; });
  }
  // What the frames of a device leave by: itself, or the uplink below it.
  const Device& below(const Device& device) const { return device.vlan ? devices.at(device.vlan->uplink) : device; }

  // The kernel's order: exact address, then the wildcard of the family. A claim not active yet is nobody's.
  const Claim* find(const Tuple& tuple) const {
    const auto active = [this](const Tuple& key) -> const Claim* {
      const auto found = claims.find(key);
      return found != claims.end() && found->second.active ? &found->second : nullptr;
    };
    if (const Claim* exact = active(tuple)) return exact;
    return active({tuple.address.any(), tuple.port, tuple.protocol});
  }
};

}  // namespace model
