// SPDX-License-Identifier: BSD-2-Clause
#include "net/addresses.hpp"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <tuple>

#include "net/link.hpp"
#include "net/message.hpp"

namespace mstack::net {
namespace {

using Bytes = std::array<std::uint8_t, 16>;

Bytes bytes_of(const mstack_address& address) {
  Bytes bytes;
  static_assert(sizeof(bytes) == sizeof(address));
  std::memcpy(bytes.data(), &address, sizeof(bytes));
  return bytes;
}

bool is_mapped(const Bytes& bytes) {
  constexpr Bytes mapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return std::equal(bytes.begin(), bytes.begin() + 12, mapped.begin());
}

std::optional<mstack_address> address_of(std::uint8_t family, const nlattr* attribute) {
  mstack_address address = {};
  const auto value = value_of(attribute);
  if (family == AF_INET && value.size() == sizeof(in_addr)) {
    address.addr[2] = htonl(0xffff);
    std::memcpy(&address.addr[3], value.data(), sizeof(in_addr));
    return address;
  }
  if (family == AF_INET6 && value.size() == sizeof(in6_addr)) {
    std::memcpy(&address, value.data(), sizeof(address));
    return address;
  }
  return std::nullopt;
}

constexpr std::uint8_t bits_of_ipv4 = 32;

// To which of them the kernel takes packets for the whole subnet: what it was told, and that of all ones in the subnet.
// That is the peer's, on a point-to-point device. A subnet of two addresses has none.
void add_broadcasts(const LocalAddress& local, const nlattr* subnet, const nlattr* told, std::uint8_t prefix,
                    std::vector<LocalAddress>& addresses) {
  LocalAddress broadcast = local;
  broadcast.where.broadcast = 1;
  const auto within = subnet ? address_of(AF_INET, subnet) : local.address;
  if (within && prefix < bits_of_ipv4 - 1) {
    broadcast.address.addr[3] = within->addr[3] | htonl(0xffffffffu >> prefix);
    addresses.push_back(broadcast);
  }
  const auto address = told ? address_of(AF_INET, told) : std::nullopt;
  if (!address || address->addr[3] == 0) return;
  broadcast.address = *address;
  addresses.push_back(broadcast);
}

void parse_address(const nlmsghdr& message, std::vector<LocalAddress>& addresses) {
  const auto header = header_of<ifaddrmsg>(message);
  if (!header) return;
  const nlattr *local = nullptr, *prefix = nullptr, *broadcast = nullptr;
  std::uint32_t flags = header->ifa_flags;
  for_each_attribute(message, sizeof(ifaddrmsg), [&](const nlattr* attribute) {
    switch (mnl_attr_get_type(attribute)) {
      case IFA_LOCAL: local = attribute; break;
      case IFA_ADDRESS: prefix = attribute; break;
      case IFA_BROADCAST: broadcast = attribute; break;
      case IFA_FLAGS: flags = value_as<std::uint32_t>(attribute).value_or(flags); break;
      default: break;
    }
  });
  // On a point-to-point device IFA_ADDRESS is the peer's; an IPv6 address without a peer has no IFA_LOCAL.
  if (!local) local = prefix;
  if (!local) return;
  // Until duplicate address detection has ended, and when it has found another host, the kernel takes no packets for
  // the address either; an optimistic address is the exception.
  const bool doubtful = (flags & (IFA_F_TENTATIVE | IFA_F_OPTIMISTIC)) == IFA_F_TENTATIVE;
  if (doubtful || (flags & IFA_F_DADFAILED)) return;
  const auto address = address_of(header->ifa_family, local);
  if (!address || !is_claimable_address(*address)) return;
  addresses.push_back(
      {.address = *address, .where = {.ifindex = header->ifa_index, .mac = {}, .broadcast = 0, .zero = 0}});
  if (header->ifa_family == AF_INET)
    add_broadcasts(LocalAddress(addresses.back()), prefix, broadcast, header->ifa_prefixlen, addresses);
}

// What is a host's own is that first, whatever else it may be. Of several devices the first that packets can leave by:
// the loopback device, which has often the same address once more, has no MAC address.
bool before(const LocalAddress& a, const LocalAddress& b) {
  const int order = std::memcmp(&a.address, &b.address, sizeof(a.address));
  const auto rank = [](const mstack_local& where) {
    return std::tuple(where.broadcast, std::ranges::count(where.mac, 0) == sizeof(where.mac), where.ifindex);
  };
  return order != 0 ? order < 0 : rank(a.where) < rank(b.where);
}
bool same(const LocalAddress& a, const LocalAddress& b) {
  return std::memcmp(&a.address, &b.address, sizeof(a.address)) == 0;
}

Expected<void> add_macs(Links& links, std::vector<LocalAddress>& addresses) {
  const auto devices = links.all();
  if (!devices) return std::unexpected(devices.error());
  for (LocalAddress& address : addresses) {
    const auto device = std::ranges::find(*devices, address.where.ifindex, &Link::ifindex);
    if (device != devices->end()) std::ranges::copy(device->mac, address.where.mac);
  }
  return {};
}

bool is_of_vlan_device(const nlmsghdr& message) {
  bool is_vlan = false;
  for_each_attribute(message, sizeof(ifinfomsg), [&is_vlan](const nlattr* attribute) {
    if (mnl_attr_get_type(attribute) != IFLA_LINKINFO) return;
    for_each_nested(attribute, [&is_vlan](const nlattr* info) {
      if (mnl_attr_get_type(info) == IFLA_INFO_KIND) is_vlan = text_of(info) == vlan_kind;
    });
  });
  return is_vlan;
}

// Whoever changes many of a device is told of once.
void add_filters_gone(std::uint32_t ifindex, std::vector<RouteEvent>& events) {
  if (std::ranges::none_of(events, [ifindex](const RouteEvent& event) {
        return event.kind == RouteEvent::Kind::filters_gone && event.ifindex == ifindex;
      }))
    events.push_back({.kind = RouteEvent::Kind::filters_gone, .ifindex = ifindex, .name = {}});
}

RouteEvent link_event(const nlmsghdr& message, const ifinfomsg& header) {
  RouteEvent event = {
      .kind = message.nlmsg_type == RTM_DELLINK ? RouteEvent::Kind::link_gone : RouteEvent::Kind::link_changed,
      .ifindex = static_cast<std::uint32_t>(header.ifi_index),
      .name = {},
      .mtu = 0,
      .mac = {}};
  for_each_attribute(message, sizeof(ifinfomsg), [&event](const nlattr* attribute) {
    if (mnl_attr_get_type(attribute) == IFLA_IFNAME) event.name = text_of(attribute);
    if (mnl_attr_get_type(attribute) == IFLA_MTU) event.mtu = value_as<std::uint32_t>(attribute).value_or(0);
    if (mnl_attr_get_type(attribute) == IFLA_ADDRESS) event.mac = value_as<Mac>(attribute).value_or(Mac{});
  });
  return event;
}

}  // namespace

bool is_claimable_address(const mstack_address& address) {
  const Bytes bytes = bytes_of(address);
  if (is_mapped(bytes)) return bytes[12] != 127 && (bytes[12] != 169 || bytes[13] != 254);
  constexpr Bytes loopback = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  return bytes != loopback && (bytes[0] != 0xfe || (bytes[1] & 0xc0) != 0x80);
}

Expected<std::vector<LocalAddress>> local_addresses(Links& links) {
  for (int tries = 0;; ++tries) {
    Request request(RTM_GETADDR, 0, sizeof(ifaddrmsg));  // AF_UNSPEC: both families
    std::vector<LocalAddress> addresses;
    auto dumped =
        links.netlink().dump(request, "cannot list this host's addresses", [&addresses](const nlmsghdr& message) {
          if (message.nlmsg_type == RTM_NEWADDR) parse_address(message, addresses);
        });
    if (dumped) dumped = add_macs(links, addresses);
    if (dumped) {
      std::sort(addresses.begin(), addresses.end(), before);
      addresses.erase(std::unique(addresses.begin(), addresses.end(), same), addresses.end());
      return addresses;
    }
    if (dumped.error().code != EINTR || tries == 100) return std::unexpected(dumped.error());
  }
}

Expected<RouteMonitor> RouteMonitor::open() {
  auto netlink =
      Netlink::open_monitor(NETLINK_ROUTE, {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_TC});
  if (!netlink) return std::unexpected(netlink.error());
  return RouteMonitor(std::move(*netlink));
}

Expected<std::vector<RouteEvent>> RouteMonitor::drain() {
  using Kind = RouteEvent::Kind;
  std::vector<RouteEvent> events;
  bool addresses_said = false, vlans_said = false;
  // Bounded: a machine whose links never stop changing must leave the caller time for its other work.
  for (int datagrams = 0; datagrams < 4096; ++datagrams) {
    const auto received = netlink_.receive([&](const nlmsghdr& message) {
      switch (message.nlmsg_type) {
        case RTM_NEWADDR:
        case RTM_DELADDR:
          if (!std::exchange(addresses_said, true)) events.push_back({.kind = Kind::addresses_changed, .name = {}});
          break;
        case RTM_NEWLINK:
          // AF_BRIDGE tells of a bridge's port the same way: no change of the device itself.
        case RTM_DELLINK:
          if (const auto header = header_of<ifinfomsg>(message); header && header->ifi_family == AF_UNSPEC) {
            events.push_back(link_event(message, *header));
            if (is_of_vlan_device(message) && !std::exchange(vlans_said, true))
              events.push_back({.kind = Kind::vlans_changed, .name = {}});
          }
          break;
        case RTM_NEWTFILTER:  // perhaps in another's place
        case RTM_DELTFILTER:
        case RTM_DELQDISC:
          if (const auto header = header_of<tcmsg>(message))
            add_filters_gone(static_cast<std::uint32_t>(header->tcm_ifindex), events);
          break;
        default: break;
      }
    });
    if (!received) {
      if (received.error().code != ENOBUFS) return std::unexpected(received.error());
      // What is still queued is older than the dump that this asks for, and does no harm.
      events.insert(events.begin(), {.kind = Kind::resync, .name = {}});
      return events;
    }
    if (!*received) break;
  }
  return events;
}

}  // namespace mstack::net
