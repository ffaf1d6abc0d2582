// SPDX-License-Identifier: BSD-2-Clause
#include "checks/places.hpp"

#include <bpf/bpf.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "daemon/bpf_link.hpp"
#include "daemon/cgroup.hpp"
#include "daemon/chain.hpp"
#include "daemon/pin_dir.hpp"
#include "daemon/takeover_plan.hpp"
#include "maps.hpp"
#include "net/tag_stripping.hpp"
#include "net/xdp_features.hpp"

namespace mstack::checks {

Check cgroup_check(const std::string& path) {
  const auto cgroup = daemon::Cgroup::open(path);
  if (!cgroup) return failed("cgroup", cgroup.error());
  std::uint32_t count = 0;
  if (::bpf_prog_query(cgroup->fd.get(), BPF_CGROUP_INET4_POST_BIND, 0, nullptr, nullptr, &count) < 0)
    return failed("cgroup",
                  {.code = errno, .what = "no BPF programs for the cgroup " + cgroup->path + ": " + error_text(errno)},
                  errno == EPERM ? "run this as root" : "use a kernel with CONFIG_CGROUP_BPF");
  return good("cgroup", "cgroup2 at " + cgroup->path);
}

Check pin_dir_check(const std::string& path) {
  const auto place = daemon::look_at_pin_place(path);
  if (!place) return failed("bpffs", place.error());
  return good("bpffs", path + (*place == daemon::PinPlace::ready ? " is in a bpf filesystem"
                                                                 : ": mstackd mounts the bpf filesystem"));
}

Error no_interface(const std::string& name) {
  return {.code = ENODEV, .what = "there is no interface " + name + ": `ip link` shows those that there are"};
}

Error foreign_program(const net::Link& link) {
  const auto name = daemon::program_name(link.xdp_program);
  if (!name && name.error().code == EPERM)
    return {.code = EPERM, .what = link.name + " has an XDP program; whose it is, only root is told: run this as root"};
  const bool another = name && *name == daemon::uplink_program;
  const std::string release = another ? "end that mstackd, or detach it there"
                              : daemon::is_held_by_link(link.xdp_program)
                                  ? "end who holds it (bpftool link show)"
                                  : "remove that first (ip link set " + link.name + " xdp off)";
  return {.code = EBUSY,
          .what = link.name + " has an XDP program that is " + (another ? "another MultiStack's" : "not MultiStack's") +
                  ": " + daemon::describe_program(link.xdp_program) + "; " + release +
                  (another ? "" : ", load it by libxdp for both to be chained") + ", or use another interface"};
}

Expected<void> may_be_uplink(const net::Link& link) {
  if (!link.ethernet) return failure(EOPNOTSUPP, link.name + " is not an Ethernet interface: an uplink must be one");
  if (net::parse_host_end(link.name))
    return failure(EINVAL, link.name + " is a vport's own end, not a way to the wire: use another interface");
  if (link.is_in_vrf())
    return failure(EOPNOTSUPP, link.name + " is in a VRF, where the same ports are others': take it out (ip link set " +
                                   link.name + " nomaster), or use another interface");
  return {};
}

Check judge_interface(const net::Link& link, const Expected<std::optional<std::uint64_t>>& found, Occupant occupant) {
  const std::string name = "interface " + link.name;
  if (const auto fit = may_be_uplink(link); !fit) return failed(name, fit.error());
  if (occupant.multistack || occupant.chain) {
    const auto text =
        occupant.multistack
            ? fmt::format("MultiStack is attached ({} XDP{})", net::name_of(link.xdp),
                          occupant.chain ? ", in a chain" : "")
            : fmt::format("a chain of other XDP programs, which MultiStack joins ({} XDP)", net::name_of(link.xdp));
    return link.xdp == net::XdpAttached::generic ? warning(name, text + ": slower than native") : good(name, text);
  }
  if (link.xdp_program != 0) return failed(name, foreign_program(link));
  const char* down = link.up ? "" : "; it is down";
  if (!found) return warning(name, found.error().what);
  const auto features = *found;
  if (!features)
    return good(name, fmt::format("what its driver can is not known before Linux 6.3: attach it and see{}", down));
  if ((*features & net::xdp_basic) == 0 || (*features & net::xdp_redirect) == 0)
    return warning(name,
                   fmt::format("{}{}: it works in generic mode, slower; a NIC whose driver has native XDP is faster",
                               (*features & net::xdp_basic) == 0 ? "its driver has no XDP" : no_redirect, down));
  // Some drivers take redirected frames only while a program is attached, and say no until then.
  return good(name, fmt::format("native XDP{}{}",
                                (*features & net::xdp_zero_copy) != 0 ? ", AF_XDP without copying" : "", down));
}

Check interface_check(const std::string& name, const std::string& pin_dir) {
  auto links = net::Links::open();
  if (!links) return failed("interface " + name, links.error());
  const auto link = links->find(name);
  if (!link) return failed("interface " + name, link.error().code == ENODEV ? no_interface(name) : link.error());
  if (const auto fit = may_be_uplink(*link); !fit) return failed("interface " + name, fit.error());
  Occupant occupant = {.chain = daemon::chain::is_on(*link)};
  if (occupant.chain) {
    const auto claims = maps::open_pinned(pin_dir, maps::definition("claims"), maps::Access::read);
    if (!claims && claims.error().code != ENOENT) return failed("interface " + name, claims.error());
    occupant.multistack = claims && daemon::chain::is_member(claims->get(), *link);
    if (!occupant.multistack)
      if (const auto may = daemon::chain::may_join(*link); !may) return failed("interface " + name, may.error());
  } else if (link->xdp_program != 0) {
    occupant.multistack = daemon::is_pinned_to(daemon::link_pin(pin_dir, daemon::uplink_link_name(link->ifindex)),
                                               link->ifindex, link->xdp_program);
  }
  return judge_interface(*link, net::xdp_features(link->ifindex), occupant);
}

bool has_vlans(const std::string& name) {
  auto links = net::Links::open();
  if (!links) return false;
  const auto link = links->find(name);
  const auto vlans = links->vlans();
  return link && vlans && std::ranges::find(*vlans, link->ifindex, &net::Link::lower) != vlans->end();
}

Check judge_stripping(const std::string& name, const net::TagStripping& stripping) {
  const std::string blind = name + " may take tags off before XDP sees the frames, which then pass for untagged ones: ";
  if (stripping.fixed) return warning("vlans of " + name, blind + "that cannot be turned off; use another interface");
  if (stripping.features.empty()) return good("vlans of " + name, "their tags are seen");
  std::string options;
  for (const std::string& feature : stripping.features) options += " " + feature + " off";
  return warning("vlans of " + name, blind + "ethtool -K " + name + options);
}

Check tags_check(const std::string& name) {
  const auto stripping = net::tag_stripping(name);
  if (!stripping) return warning("vlans of " + name, stripping.error().what);
  return judge_stripping(name, *stripping);
}

}  // namespace mstack::checks
