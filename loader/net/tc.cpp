// SPDX-License-Identifier: BSD-2-Clause
#include "net/tc.hpp"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <cerrno>

#include "net/message.hpp"
#include "net/netlink.hpp"

namespace mstack::net {
namespace {

// Where our filter is on a device, so that a later attach finds it: handle and priority.
constexpr std::uint32_t filter_handle = 1, filter_priority = 1;

void address_filter(tcmsg& header, std::uint32_t ifindex) {
  header.tcm_family = AF_UNSPEC;
  header.tcm_ifindex = static_cast<int>(ifindex);
  header.tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
  header.tcm_handle = filter_handle;
  header.tcm_info = TC_H_MAKE(filter_priority << 16, htons(ETH_P_ALL));
}

Expected<void> add_qdisc(Netlink& netlink, std::uint32_t ifindex, std::uint32_t parent, const std::string& kind) {
  Request request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, sizeof(tcmsg));
  auto& header = request.header<tcmsg>();
  header.tcm_family = AF_UNSPEC;
  header.tcm_ifindex = static_cast<int>(ifindex);
  header.tcm_parent = parent;
  header.tcm_handle = parent == TC_H_CLSACT ? TC_H_MAKE(TC_H_CLSACT, 0) : 0;
  mnl_attr_put_strz(request.message(), TCA_KIND, kind.c_str());
  return netlink.request(request, "cannot add a " + kind + " qdisc");
}

Expected<void> add_clsact(Netlink& netlink, std::uint32_t ifindex) {
  auto added = add_qdisc(netlink, ifindex, TC_H_CLSACT, "clsact");
  if (!added && added.error().code == EEXIST) return {};
  return added;
}

}  // namespace

Expected<void> add_queue(Netlink& netlink, std::uint32_t ifindex) {
  return add_qdisc(netlink, ifindex, TC_H_ROOT, "pfifo");
}

Expected<void> attach_tc_ingress(std::uint32_t ifindex, int program_fd) {
  auto netlink = Netlink::open(NETLINK_ROUTE);
  if (!netlink) return std::unexpected(netlink.error());
  if (auto added = add_clsact(*netlink, ifindex); !added) return added;

  Request request(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_REPLACE, sizeof(tcmsg));
  nlmsghdr* message = request.message();
  address_filter(request.header<tcmsg>(), ifindex);
  mnl_attr_put_strz(message, TCA_KIND, "bpf");
  nlattr* options = mnl_attr_nest_start(message, TCA_OPTIONS);
  mnl_attr_put_u32(message, TCA_BPF_FD, static_cast<std::uint32_t>(program_fd));
  mnl_attr_put_strz(message, TCA_BPF_NAME, "mstack");
  mnl_attr_put_u32(message, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
  mnl_attr_nest_end(message, options);
  return netlink->request(request, "cannot attach a TC program to the device of ifindex " + std::to_string(ifindex));
}

Expected<std::uint32_t> tc_ingress_program(std::uint32_t ifindex) {
  auto netlink = Netlink::open(NETLINK_ROUTE);
  if (!netlink) return std::unexpected(netlink.error());
  Request request(RTM_GETTFILTER, 0, sizeof(tcmsg));
  address_filter(request.header<tcmsg>(), ifindex);
  mnl_attr_put_strz(request.message(), TCA_KIND, "bpf");
  std::uint32_t id = 0;
  auto found = netlink->request(request, "cannot ask for a device's TC program", [&id](const nlmsghdr& message) {
    for_each_attribute(message, sizeof(tcmsg), [&id](const nlattr* attribute) {
      if (mnl_attr_get_type(attribute) != TCA_OPTIONS) return;
      for_each_nested(attribute, [&id](const nlattr* option) {
        if (mnl_attr_get_type(option) == TCA_BPF_ID) id = value_as<std::uint32_t>(option).value_or(0);
      });
    });
  });
  // EINVAL: the device has no qdisc that could hold a filter.
  if (!found && found.error().code != ENOENT && found.error().code != EINVAL) return std::unexpected(found.error());
  return id;
}

}  // namespace mstack::net
