// SPDX-License-Identifier: BSD-2-Clause
#include "net/link.hpp"

#include <arpa/inet.h>
#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/veth.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "net/message.hpp"

namespace mstack::net {
namespace {

XdpAttached attached_of(std::uint8_t kernel) {
  switch (kernel) {
    case XDP_ATTACHED_NONE: return XdpAttached::none;
    case XDP_ATTACHED_DRV: return XdpAttached::native;
    case XDP_ATTACHED_SKB: return XdpAttached::generic;
    case XDP_ATTACHED_HW: return XdpAttached::offloaded;
    default: return XdpAttached::several;
  }
}

void parse_xdp(const nlattr* nest, Link& link) {
  std::uint32_t any = 0, driver = 0, generic = 0;
  for_each_nested(nest, [&](const nlattr* attribute) {
    switch (mnl_attr_get_type(attribute)) {
      case IFLA_XDP_ATTACHED:
        link.xdp = attached_of(value_as<std::uint8_t>(attribute).value_or(XDP_ATTACHED_NONE));
        break;
      case IFLA_XDP_PROG_ID: any = value_as<std::uint32_t>(attribute).value_or(0); break;
      case IFLA_XDP_DRV_PROG_ID: driver = value_as<std::uint32_t>(attribute).value_or(0); break;
      case IFLA_XDP_SKB_PROG_ID: generic = value_as<std::uint32_t>(attribute).value_or(0); break;
      default: break;
    }
  });
  link.xdp_program = any ? any : driver ? driver : generic;
}

std::optional<VlanTag> parse_tag(const nlattr* data) {
  std::optional<std::uint16_t> protocol, id;
  for_each_nested(data, [&](const nlattr* attribute) {
    if (mnl_attr_get_type(attribute) == IFLA_VLAN_PROTOCOL) protocol = value_as<std::uint16_t>(attribute);
    if (mnl_attr_get_type(attribute) == IFLA_VLAN_ID) id = value_as<std::uint16_t>(attribute);
  });
  if (!protocol || !id) return std::nullopt;
  return VlanTag{.protocol = ntohs(*protocol), .id = *id};
}

void parse_info(const nlattr* nest, Link& link) {
  const nlattr* data = nullptr;
  for_each_nested(nest, [&](const nlattr* info) {
    switch (mnl_attr_get_type(info)) {
      case IFLA_INFO_KIND: link.kind = text_of(info); break;
      case IFLA_INFO_SLAVE_KIND: link.slave_kind = text_of(info); break;
      case IFLA_INFO_DATA: data = info; break;
      default: break;
    }
  });
  if (data && link.kind == vlan_kind) link.tag = parse_tag(data);
}

std::optional<Link> parse_link(const nlmsghdr& message) {
  Link link;
  bool lower_is_elsewhere = false;
  const auto header = header_of<ifinfomsg>(message);
  if (!header) return std::nullopt;
  link.ifindex = static_cast<std::uint32_t>(header->ifi_index);
  link.up = (header->ifi_flags & IFF_UP) != 0;
  link.running = link.up && (header->ifi_flags & IFF_RUNNING) != 0;
  link.ethernet = header->ifi_type == ARPHRD_ETHER;
  for_each_attribute(message, sizeof(ifinfomsg), [&](const nlattr* attribute) {
    switch (mnl_attr_get_type(attribute)) {
      case IFLA_IFNAME: link.name = text_of(attribute); break;
      case IFLA_MTU: link.mtu = value_as<std::uint32_t>(attribute).value_or(0); break;
      case IFLA_ADDRESS: link.mac = value_as<Mac>(attribute).value_or(Mac{}); break;
      case IFLA_MASTER: link.master = value_as<std::uint32_t>(attribute).value_or(0); break;
      case IFLA_LINK: link.lower = value_as<std::uint32_t>(attribute).value_or(0); break;
      case IFLA_LINK_NETNSID: lower_is_elsewhere = true; break;
      case IFLA_LINKINFO: parse_info(attribute, link); break;
      case IFLA_XDP: parse_xdp(attribute, link); break;
      default: break;
    }
  });
  if (lower_is_elsewhere) link.lower = 0;
  return link;
}

void put_no_address_generation(nlmsghdr* message) {
  nlattr* families = mnl_attr_nest_start(message, IFLA_AF_SPEC);
  nlattr* inet6 = mnl_attr_nest_start(message, AF_INET6);
  mnl_attr_put_u8(message, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
  mnl_attr_nest_end(message, inet6);
  mnl_attr_nest_end(message, families);
}

void put_end(nlmsghdr* message, const std::string& name, const Mac& mac, std::uint32_t mtu, int netns) {
  mnl_attr_put_strz(message, IFLA_IFNAME, name.c_str());
  mnl_attr_put(message, IFLA_ADDRESS, mac.size(), mac.data());
  mnl_attr_put_u32(message, IFLA_MTU, mtu);
  mnl_attr_put_u32(message, IFLA_NUM_TX_QUEUES, 1);
  mnl_attr_put_u32(message, IFLA_NUM_RX_QUEUES, 1);
  mnl_attr_put_u32(message, IFLA_NET_NS_FD, static_cast<std::uint32_t>(netns));
}

bool is_name(const std::string& name) {
  return !name.empty() && name.size() < IFNAMSIZ;
}

Expected<void> silence(Links& links, std::uint32_t ifindex) {
  Request request(RTM_SETLINK, 0, sizeof(ifinfomsg));
  request.header<ifinfomsg>().ifi_index = static_cast<int>(ifindex);
  put_no_address_generation(request.message());
  return links.netlink().request(request, "cannot turn off IPv6 address generation on a vport's device");
}

}  // namespace

const char* name_of(XdpAttached attached) {
  switch (attached) {
    case XdpAttached::none: return "none";
    case XdpAttached::native: return "native";
    case XdpAttached::generic: return "generic";
    case XdpAttached::offloaded: return "offloaded";
    case XdpAttached::several: return "several";
  }
  return "none";
}

Expected<Links> Links::open() {
  auto netns = Netns::current();
  if (!netns) return std::unexpected(netns.error());
  auto netlink = Netlink::open(NETLINK_ROUTE);
  if (!netlink) return std::unexpected(netlink.error());
  Fd ioctls(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!ioctls) return system_failure(errno, "cannot make a socket");
  return Links(std::move(*netns), std::move(*netlink), std::move(ioctls));
}

Expected<Links> Links::open_anonymous() {
  const auto netns = Netns::create_anonymous();
  if (!netns) return std::unexpected(netns.error());
  const auto scope = NetnsScope::enter(*netns);
  if (!scope) return std::unexpected(scope.error());
  // What is made in it has nothing to say by itself. Without IPv6 there is no such entry.
  if (auto quiet = write_sysctl("net/ipv6/conf/default/disable_ipv6", "1"); !quiet && quiet.error().code != ENOENT)
    return std::unexpected(quiet.error());
  return open();
}

Expected<Link> Links::find_one(std::uint32_t ifindex, const std::string& name) {
  Request request(RTM_GETLINK, 0, sizeof(ifinfomsg));
  request.header<ifinfomsg>().ifi_index = static_cast<int>(ifindex);
  if (!ifindex) mnl_attr_put_strz(request.message(), IFLA_IFNAME, name.c_str());
  std::optional<Link> found;
  const std::string attempted =
      "cannot find the device " + (ifindex ? "of ifindex " + std::to_string(ifindex) : "\"" + name + "\"");
  auto answered = netlink_.request(request, attempted, [&found](const nlmsghdr& message) {
    if (message.nlmsg_type == RTM_NEWLINK) found = parse_link(message);
  });
  if (!answered) return std::unexpected(answered.error());
  if (!found) return system_failure(ENODEV, attempted);
  return *found;
}

Expected<Link> Links::find(std::uint32_t ifindex) {
  // 0 would ask by name, and the sign bit would be lost.
  if (ifindex == 0 || ifindex > INT32_MAX) return system_failure(ENODEV, "cannot find a device without an ifindex");
  return find_one(ifindex, {});
}

Expected<Link> Links::find(const std::string& name) {
  if (!is_name(name)) return system_failure(ENODEV, "cannot find the device \"" + name + "\"");
  return find_one(0, name);
}

Expected<std::vector<Link>> Links::list(const char* kind) {
  for (int tries = 0;; ++tries) {
    Request request(RTM_GETLINK, 0, sizeof(ifinfomsg));
    if (kind) {
      nlattr* info = mnl_attr_nest_start(request.message(), IFLA_LINKINFO);
      mnl_attr_put_strz(request.message(), IFLA_INFO_KIND, kind);
      mnl_attr_nest_end(request.message(), info);
    }
    std::vector<Link> links;
    auto dumped = netlink_.dump(request, "cannot list the network devices", [&links](const nlmsghdr& message) {
      if (message.nlmsg_type != RTM_NEWLINK) return;
      if (auto link = parse_link(message)) links.push_back(std::move(*link));
    });
    if (dumped) return links;
    if (dumped.error().code != EINTR || tries == 100) return std::unexpected(dumped.error());
  }
}

Expected<std::vector<Link>> Links::all() {
  return list(nullptr);
}

Expected<std::vector<Link>> Links::vlans() {
  auto links = list(vlan_kind);
  if (!links) return links;
  std::erase_if(*links, [](const Link& link) { return !link.tag; });  // all of them, if the kernel knows no such kind
  return links;
}

Expected<std::vector<Link>> Links::host_ends() {
  auto links = all();
  if (!links) return links;
  std::erase_if(*links, [](const Link& link) { return link.kind != "veth" || !parse_host_end(link.name); });
  return links;
}

Expected<void> Links::change(std::uint32_t ifindex, bool up, std::uint32_t mtu) {
  Request request(RTM_SETLINK, 0, sizeof(ifinfomsg));
  auto& header = request.header<ifinfomsg>();
  header.ifi_index = static_cast<int>(ifindex);
  if (up) header.ifi_flags = header.ifi_change = IFF_UP;
  if (mtu) mnl_attr_put_u32(request.message(), IFLA_MTU, mtu);
  return netlink_.request(request, "cannot change the device of ifindex " + std::to_string(ifindex));
}

Expected<void> Links::set_up(std::uint32_t ifindex) {
  return change(ifindex, true, 0);
}
Expected<void> Links::set_mtu(std::uint32_t ifindex, std::uint32_t mtu) {
  return change(ifindex, false, mtu);
}

Expected<void> Links::remove(std::uint32_t ifindex) {
  Request request(RTM_DELLINK, 0, sizeof(ifinfomsg));
  request.header<ifinfomsg>().ifi_index = static_cast<int>(ifindex);
  auto removed = netlink_.request(request, "cannot remove the device of ifindex " + std::to_string(ifindex));
  if (!removed && removed.error().code == ENODEV) return {};
  return removed;
}

Expected<void> Links::remove_group(std::uint32_t group) {
  // Group 0 is that of every device which nobody put into another.
  if (group == 0) return failure(EINVAL, "group 0 is not to be removed");
  Request request(RTM_DELLINK, 0, sizeof(ifinfomsg));
  mnl_attr_put_u32(request.message(), IFLA_GROUP, group);
  auto removed = netlink_.request(request, "cannot remove the devices of group " + std::to_string(group));
  if (!removed && removed.error().code == ENODEV) return {};
  return removed;
}

Expected<void> Links::turn_off_offloads(const std::string& name) {
  if (!is_name(name)) return system_failure(ENODEV, "cannot find the device \"" + name + "\"");
  for (const std::uint32_t command : {ETHTOOL_SGRO, ETHTOOL_STXCSUM}) {
    ethtool_value value = {.cmd = command, .data = 0};
    ifreq request = {};
    std::memcpy(request.ifr_name, name.data(), name.size());
    request.ifr_data = reinterpret_cast<char*>(&value);
    if (::ioctl(ioctls_.get(), SIOCETHTOOL, &request) < 0)
      return system_failure(
          errno,
          "cannot turn off " + std::string(command == ETHTOOL_SGRO ? "GRO" : "TX checksum offload") + " of " + name);
  }
  return {};
}

Expected<void> OwnedLink::remove() {
  if (!links_) return {};
  Links* links = std::exchange(links_, nullptr);
  return links->remove(std::exchange(ifindex_, 0));
}

Expected<OwnedLink> create_veth(Links& stack_side, Links& host_side, const VethOptions& options) {
  if (!is_name(options.stack_name) || !is_name(options.host_name))
    return failure(EINVAL, "a device's name has 1 to 15 characters");
  if (options.stack_ifindex < first_stack_ifindex || options.stack_ifindex > INT32_MAX)
    return failure(EINVAL, "a stack end's ifindex is " + std::to_string(first_stack_ifindex) + " or more");

  // Sent in the stack ends' namespace: the kernel looks for an existing device of the ifindex where the request is
  // made, and honours an ifindex of the device proper only, not of its peer alone.
  Request request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(ifinfomsg));
  nlmsghdr* message = request.message();
  request.header<ifinfomsg>().ifi_index = static_cast<int>(options.stack_ifindex);
  put_end(message, options.stack_name, options.stack_mac, options.mtu, stack_side.netns().fd());
  nlattr* info = mnl_attr_nest_start(message, IFLA_LINKINFO);
  mnl_attr_put_strz(message, IFLA_INFO_KIND, "veth");
  nlattr* data = mnl_attr_nest_start(message, IFLA_INFO_DATA);
  nlattr* peer = mnl_attr_nest_start(message, VETH_INFO_PEER);
  *static_cast<ifinfomsg*>(mnl_nlmsg_get_payload_tail(message)) = {};
  message->nlmsg_len += MNL_ALIGN(sizeof(ifinfomsg));
  put_end(message, options.host_name, options.host_mac, options.mtu, host_side.netns().fd());
  if (options.host_group) mnl_attr_put_u32(message, IFLA_GROUP, options.host_group);
  mnl_attr_nest_end(message, peer);
  mnl_attr_nest_end(message, data);
  mnl_attr_nest_end(message, info);
  if (auto created = stack_side.netlink().request(request, "cannot create the veth pair " + options.host_name);
      !created)
    return std::unexpected(created.error());
  OwnedLink by_stack_end(stack_side, options.stack_ifindex);

  const auto host_end = host_side.find(options.host_name);
  if (!host_end) return std::unexpected(host_end.error());
  // Not heeded by RTM_NEWLINK. Both ends are still down, so nothing was generated yet.
  if (auto done = silence(stack_side, options.stack_ifindex); !done) return std::unexpected(done.error());
  if (auto done = silence(host_side, host_end->ifindex); !done) return std::unexpected(done.error());
  by_stack_end.release();
  return OwnedLink(host_side, host_end->ifindex);
}

}  // namespace mstack::net
