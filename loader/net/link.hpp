// SPDX-License-Identifier: BSD-2-Clause
//
// Network devices by rtnetlink: what is there, and the veth pairs of the vports.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "mstack/error.hpp"
#include "net/netlink.hpp"
#include "net/netns.hpp"

namespace mstack::net {

using Mac = std::array<std::uint8_t, 6>;

enum class XdpAttached : std::uint8_t { none, native, generic, offloaded, several };
const char* name_of(XdpAttached attached);

// IFLA_INFO_KIND of a VLAN device.
inline constexpr const char* vlan_kind = "vlan";

struct VlanTag {
  std::uint16_t protocol = 0;  // ETH_P_8021Q, ETH_P_8021AD
  std::uint16_t id = 0;
  bool operator==(const VlanTag&) const = default;
};

struct Link {
  std::uint32_t ifindex = 0;
  std::string name;
  std::string kind;          // "veth", "bridge" ...; empty for a device of hardware
  std::string slave_kind;    // "vrf", "bridge", "bond" ...: what it is a part of; empty: of nothing
  std::uint32_t master = 0;  // ifindex of that
  std::uint32_t lower = 0;   // ifindex of the device below; 0: none, or it is in another namespace
  std::optional<VlanTag> tag;
  std::uint32_t mtu = 0;
  Mac mac = {};  // zero if the device has none of 6 bytes
  bool up = false;
  bool running = false;   // up, and with a carrier
  bool ethernet = false;  // frames begin with an Ethernet header
  XdpAttached xdp = XdpAttached::none;
  std::uint32_t xdp_program = 0;  // id; of `several`, the one in the driver, else the generic one

  // Ports and routes of its own: what is claimed elsewhere says nothing about them.
  bool is_in_vrf() const { return slave_kind == "vrf"; }
};

// The devices of one network namespace, the one in which this was opened. Not for two threads at once.
class Links {
 public:
  static Expected<Links> open();
  static Expected<Links> open_anonymous();  // of a new network namespace, which lives as long as this or a socket in it

  // ENODEV if there is no such device.
  Expected<Link> find(std::uint32_t ifindex);
  Expected<Link> find(const std::string& name);
  Expected<std::vector<Link>> all();
  Expected<std::vector<Link>> vlans();  // the VLAN devices: those that have a tag
  // The veth devices whose names are those of host ends: what a mstackd before this one may have left.
  Expected<std::vector<Link>> host_ends();

  Expected<void> set_up(std::uint32_t ifindex);
  Expected<void> set_mtu(std::uint32_t ifindex, std::uint32_t mtu);
  // A veth goes with its peer. That it is gone already is no error.
  Expected<void> remove(std::uint32_t ifindex);
  // All devices of a group (IFLA_GROUP, not 0) in about the time of one: most of it is waiting for RCU, once.
  Expected<void> remove_group(std::uint32_t group);

  // GRO and TX checksum offload: off. A veth that keeps the latter hands its peer frames with unfinished checksums.
  Expected<void> turn_off_offloads(const std::string& name);

  [[nodiscard]] const Netns& netns() const { return netns_; }
  [[nodiscard]] Netlink& netlink() { return netlink_; }

 private:
  Links(Netns netns, Netlink netlink, Fd ioctls)
      : netns_(std::move(netns)), netlink_(std::move(netlink)), ioctls_(std::move(ioctls)) {}
  Expected<Link> find_one(std::uint32_t ifindex, const std::string& name);
  Expected<std::vector<Link>> list(const char* kind);  // nullptr: of all kinds
  Expected<void> change(std::uint32_t ifindex, bool up, std::uint32_t mtu);

  Netns netns_;
  Netlink netlink_;
  Fd ioctls_;  // any socket of the namespace, for ethtool
};

// A device that goes when its owner goes, unless released. The Links must outlive it.
class OwnedLink {
 public:
  OwnedLink() = default;
  OwnedLink(Links& links, std::uint32_t ifindex) : links_(&links), ifindex_(ifindex) {}
  OwnedLink(OwnedLink&& other) noexcept
      : links_(std::exchange(other.links_, nullptr)), ifindex_(std::exchange(other.ifindex_, 0)) {}
  OwnedLink& operator=(OwnedLink&& other) noexcept {
    std::swap(links_, other.links_);
    std::swap(ifindex_, other.ifindex_);
    return *this;
  }
  ~OwnedLink() { std::ignore = remove(); }

  [[nodiscard]] std::uint32_t ifindex() const { return ifindex_; }
  [[nodiscard]] explicit operator bool() const { return ifindex_ != 0; }
  // Leaves the device where it is, to live on without an owner.
  std::uint32_t release() {
    links_ = nullptr;
    return std::exchange(ifindex_, 0);
  }
  Expected<void> remove();  // now, with the error that the destructor would swallow

 private:
  Links* links_ = nullptr;
  std::uint32_t ifindex_ = 0;
};

// Every network namespace has its loopback device at ifindex 1, for ever. So no stack end can be there, and slots,
// which are the ifindexes of stack ends, begin at 2.
inline constexpr std::uint32_t loopback_ifindex = 1, first_stack_ifindex = 2;

struct VethOptions {
  std::uint32_t stack_ifindex = 0;  // first_stack_ifindex or more, and free, or EEXIST
  std::string stack_name, host_name;
  Mac stack_mac = {}, host_mac = {};
  std::uint32_t mtu = 0;
  std::uint32_t host_group = 0;  // of the host end, for remove_group()
};

// A veth pair: the stack end in the namespace of `stack_side`, with the ifindex asked for; the host end in that of
// `host_side`. One queue each way, no IPv6 link-local address on either, so that neither says anything by itself. Both
// ends are down. The owner that is returned holds the host end, and thereby the pair; it uses `host_side`.
Expected<OwnedLink> create_veth(Links& stack_side, Links& host_side, const VethOptions& options);

// The name of a vport queue's host end, "ms<vport>q<queue>", and back. It always fits in IFNAMSIZ.
struct HostEndName {
  std::uint32_t vport = 0, queue = 0;
  bool operator==(const HostEndName&) const = default;
};
std::string format_host_end(HostEndName name);
std::optional<HostEndName> parse_host_end(std::string_view name);

}  // namespace mstack::net
