// SPDX-License-Identifier: BSD-2-Clause
#include "net/tc.hpp"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fd.hpp"
#include "maps.hpp"
#include "net/message.hpp"
#include "net/netlink.hpp"

namespace mstack::net {
namespace {

constexpr std::uint32_t clsact_ingress = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
constexpr std::uint32_t clsact_egress = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS);

// Where a filter is on a device.
struct Place {
  std::uint32_t ifindex, parent, handle, priority;
};

// On a device that is ours alone: so that a later attach finds it.
constexpr Place on_ingress(std::uint32_t ifindex) {
  return {.ifindex = ifindex, .parent = clsact_ingress, .handle = 1, .priority = 1};
}

// Next to others a MultiStack's is known by a handle that nobody else takes, and by its name, which also says whether
// the qdisc came with one.
constexpr std::uint32_t shared_handle = 0x4d53;  // "MS"
constexpr const char* plain_name = "mstack";
constexpr const char* name_with_qdisc = "mstack+clsact";
// Filters of one priority are all of one kind: this many may be another's, of another kind.
constexpr std::uint32_t most_priorities = 64;

void address_filter(tcmsg& header, const Place& place) {
  header.tcm_family = AF_UNSPEC;
  header.tcm_ifindex = static_cast<int>(place.ifindex);
  header.tcm_parent = place.parent;
  header.tcm_handle = place.handle;
  header.tcm_info = TC_H_MAKE(place.priority << 16, htons(ETH_P_ALL));
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

// Whether it was not there before.
Expected<bool> add_clsact(Netlink& netlink, std::uint32_t ifindex) {
  auto added = add_qdisc(netlink, ifindex, TC_H_CLSACT, "clsact");
  if (!added && added.error().code == EEXIST) return false;
  if (!added) return std::unexpected(added.error());
  return true;
}

Expected<void> put_filter(Netlink& netlink, const Place& place, int program_fd, const char* name, int flags) {
  Request request(RTM_NEWTFILTER, static_cast<std::uint16_t>(NLM_F_CREATE | flags), sizeof(tcmsg));
  nlmsghdr* message = request.message();
  address_filter(request.header<tcmsg>(), place);
  mnl_attr_put_strz(message, TCA_KIND, "bpf");
  nlattr* options = mnl_attr_nest_start(message, TCA_OPTIONS);
  mnl_attr_put_u32(message, TCA_BPF_FD, static_cast<std::uint32_t>(program_fd));
  mnl_attr_put_strz(message, TCA_BPF_NAME, name);
  mnl_attr_put_u32(message, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
  mnl_attr_nest_end(message, options);
  return netlink.request(request,
                         "cannot attach a TC program to the device of ifindex " + std::to_string(place.ifindex));
}

struct Filter {
  std::uint32_t handle = 0, priority = 0, chain = 0, program = 0;
  std::string kind, name;

  [[nodiscard]] bool is_multistacks() const {
    return kind == "bpf" && handle == shared_handle && (name == plain_name || name == name_with_qdisc);
  }
};

Filter parse_filter(const nlmsghdr& message, const tcmsg& header) {
  Filter filter;
  filter.handle = header.tcm_handle;
  filter.priority = header.tcm_info >> 16;
  for_each_attribute(message, sizeof(tcmsg), [&filter](const nlattr* attribute) {
    if (mnl_attr_get_type(attribute) == TCA_KIND) filter.kind = text_of(attribute);
    if (mnl_attr_get_type(attribute) == TCA_CHAIN) filter.chain = value_as<std::uint32_t>(attribute).value_or(0);
    if (mnl_attr_get_type(attribute) != TCA_OPTIONS) return;
    for_each_nested(attribute, [&filter](const nlattr* option) {
      if (mnl_attr_get_type(option) == TCA_BPF_NAME) filter.name = text_of(option);
      if (mnl_attr_get_type(option) == TCA_BPF_ID) filter.program = value_as<std::uint32_t>(option).value_or(0);
    });
  });
  return filter;
}

// Chain by chain, in the order in which a packet meets them.
Expected<std::vector<Filter>> filters_of(Netlink& netlink, std::uint32_t ifindex, std::uint32_t parent) {
  Request request(RTM_GETTFILTER, 0, sizeof(tcmsg));
  auto& asked = request.header<tcmsg>();
  asked.tcm_family = AF_UNSPEC;
  asked.tcm_ifindex = static_cast<int>(ifindex);
  asked.tcm_parent = parent;
  std::vector<Filter> filters;
  auto dumped = netlink.dump(request, "cannot list a device's TC filters", [&filters](const nlmsghdr& message) {
    const auto header = header_of<tcmsg>(message);
    if (header && header->tcm_handle != 0) filters.push_back(parse_filter(message, *header));
  });
  if (!dumped) return std::unexpected(dumped.error());
  return filters;
}

Expected<bool> is_ours(const Filter& filter, int claims) {
  if (!filter.is_multistacks()) return false;
  const Fd program(::bpf_prog_get_fd_by_id(filter.program));
  if (!program && errno == ENOENT) return false;  // gone since
  if (!program) return system_failure(errno, "cannot look at a TC program");
  return maps::is_used_by(program.get(), claims);
}

// The end of them if there is none.
Expected<std::vector<Filter>::const_iterator> find_own(const std::vector<Filter>& filters, int claims) {
  for (auto filter = filters.begin(); filter != filters.end(); ++filter) {
    const auto ours = is_ours(*filter, claims);
    if (!ours) return std::unexpected(ours.error());
    if (*ours) return filter;
  }
  return filters.end();
}

Expected<std::optional<Filter>> own_filter(Netlink& netlink, const SharedEgress& egress) {
  const auto filters = filters_of(netlink, egress.ifindex, clsact_egress);
  if (!filters) return std::unexpected(filters.error());
  const auto own = find_own(*filters, egress.claims);
  if (!own) return std::unexpected(own.error());
  return *own == filters->end() ? std::nullopt : std::optional(**own);
}

// Programs that come before all filters. A kernel that does not know of them says EINVAL.
bool has_tcx(std::uint32_t ifindex) {
  constexpr auto tcx_egress = std::bit_cast<bpf_attach_type>(47U);  // Linux 6.6; not yet in the headers
  struct bpf_prog_query_opts options = {};
  options.sz = sizeof(options);
  return ::bpf_prog_query_opts(static_cast<int>(ifindex), tcx_egress, &options) == 0 && options.prog_cnt > 0;
}

// An ingress qdisc takes filters for an egress, and runs them where packets come in.
Expected<bool> has_ingress_qdisc(Netlink& netlink, std::uint32_t ifindex) {
  Request request(RTM_GETQDISC, 0, sizeof(tcmsg));
  request.header<tcmsg>().tcm_family = AF_UNSPEC;
  bool found = false;
  auto dumped = netlink.dump(request, "cannot list qdiscs", [&found, ifindex](const nlmsghdr& message) {
    const auto header = header_of<tcmsg>(message);
    if (!header || header->tcm_ifindex != static_cast<int>(ifindex)) return;
    for_each_attribute(message, sizeof(tcmsg), [&found](const nlattr* attribute) {
      if (mnl_attr_get_type(attribute) == TCA_KIND) found |= text_of(attribute) == "ingress";
    });
  });
  if (!dumped) return std::unexpected(dumped.error());
  return found;
}

// Before all filters of the priority that it gets, and of later ones.
Expected<void> put_in_front(Netlink& netlink, Place& place, int program_fd, const char* name) {
  for (place.priority = 1;; ++place.priority) {
    auto put = put_filter(netlink, place, program_fd, name, NLM_F_EXCL);
    const bool is_anothers = !put && (put.error().code == EINVAL || put.error().code == EEXIST);
    if (!is_anothers || place.priority == most_priorities) return put;
  }
}

Expected<void> remove_unused_clsact(Netlink& netlink, std::uint32_t ifindex) {
  for (const std::uint32_t parent : {clsact_ingress, clsact_egress}) {
    const auto filters = filters_of(netlink, ifindex, parent);
    if (!filters) return std::unexpected(filters.error());
    if (!filters->empty()) return {};
  }
  Request request(RTM_DELQDISC, 0, sizeof(tcmsg));
  auto& header = request.header<tcmsg>();
  header.tcm_family = AF_UNSPEC;
  header.tcm_ifindex = static_cast<int>(ifindex);
  header.tcm_parent = TC_H_CLSACT;
  header.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
  return netlink.request(request, "cannot remove a clsact qdisc");
}

}  // namespace

Expected<void> add_queue(Netlink& netlink, std::uint32_t ifindex) {
  return add_qdisc(netlink, ifindex, TC_H_ROOT, "pfifo");
}

Expected<void> attach_tc_ingress(std::uint32_t ifindex, int program_fd) {
  auto netlink = Netlink::open(NETLINK_ROUTE);
  if (!netlink) return std::unexpected(netlink.error());
  if (auto added = add_clsact(*netlink, ifindex); !added) return std::unexpected(added.error());
  return put_filter(*netlink, on_ingress(ifindex), program_fd, plain_name, NLM_F_REPLACE);
}

Expected<TcOrder> attach_tc_egress(const SharedEgress& egress, int program_fd) {
  const std::uint32_t ifindex = egress.ifindex;
  auto netlink = Netlink::open(NETLINK_ROUTE);
  if (!netlink) return std::unexpected(netlink.error());
  const auto ingress = has_ingress_qdisc(*netlink, ifindex);
  if (!ingress) return std::unexpected(ingress.error());
  if (*ingress)
    return failure(EBUSY,
                   "an ingress qdisc is where a clsact would have to be: put a clsact there, which can do all "
                   "that an ingress can");
  const auto added = add_clsact(*netlink, ifindex);
  if (!added) return std::unexpected(added.error());
  const auto filters = filters_of(*netlink, ifindex, clsact_egress);
  if (!filters) return std::unexpected(filters.error());
  const auto own = find_own(*filters, egress.claims);
  if (!own) return std::unexpected(own.error());

  Place place = {.ifindex = ifindex, .parent = clsact_egress, .handle = shared_handle, .priority = 0};
  // The last MultiStack to go takes the qdisc along, whichever brought it.
  const bool with_qdisc = *added || std::ranges::any_of(*filters, [](const Filter& filter) {
    return filter.is_multistacks() && filter.name == name_with_qdisc;
  });
  const bool replaces = *own != filters->end();
  if (replaces) {
    place.priority = (*own)->priority;
    if (auto put = put_filter(*netlink, place, program_fd, (*own)->name.c_str(), NLM_F_REPLACE); !put)
      return std::unexpected(put.error());
  } else if (auto put = put_in_front(*netlink, place, program_fd, with_qdisc ? name_with_qdisc : plain_name); !put) {
    if (*added) (void)remove_unused_clsact(*netlink, ifindex);
    return std::unexpected(put.error());
  }
  if (has_tcx(ifindex)) return TcOrder::behind_others;
  // Packets come to other chains from this one alone.
  const auto first = std::ranges::find(*filters, 0U, &Filter::chain);
  const auto is_before = [&] { return replaces ? first < *own : first->priority < place.priority; };
  if (first == filters->end() || !is_before()) return TcOrder::first;
  return first->is_multistacks() ? TcOrder::behind_multistack : TcOrder::behind_others;
}

Expected<bool> has_tc_egress(const SharedEgress& egress) {
  auto netlink = Netlink::open(NETLINK_ROUTE);
  if (!netlink) return std::unexpected(netlink.error());
  const auto own = own_filter(*netlink, egress);
  if (!own) return std::unexpected(own.error());
  return own->has_value();
}

Expected<void> detach_tc_egress(const SharedEgress& egress) {
  const std::uint32_t ifindex = egress.ifindex;
  auto netlink = Netlink::open(NETLINK_ROUTE);
  if (!netlink) return std::unexpected(netlink.error());
  const auto own = own_filter(*netlink, egress);
  if (!own) return std::unexpected(own.error());
  if (!*own) return {};

  Request request(RTM_DELTFILTER, 0, sizeof(tcmsg));
  address_filter(request.header<tcmsg>(),
                 {.ifindex = ifindex, .parent = clsact_egress, .handle = (*own)->handle, .priority = (*own)->priority});
  mnl_attr_put_strz(request.message(), TCA_KIND, "bpf");
  if (auto removed = netlink->request(request, "cannot remove a TC program"); !removed) return removed;
  return (*own)->name == name_with_qdisc ? remove_unused_clsact(*netlink, ifindex) : Expected<void>();
}

Expected<std::uint32_t> tc_ingress_program(std::uint32_t ifindex) {
  auto netlink = Netlink::open(NETLINK_ROUTE);
  if (!netlink) return std::unexpected(netlink.error());
  Request request(RTM_GETTFILTER, 0, sizeof(tcmsg));
  address_filter(request.header<tcmsg>(), on_ingress(ifindex));
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
