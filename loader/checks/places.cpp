// SPDX-License-Identifier: BSD-2-Clause
#include "checks/places.hpp"

#include <bpf/bpf.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "daemon/bpf_link.hpp"
#include "daemon/cgroup.hpp"
#include "daemon/pin_dir.hpp"
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

Check judge_interface(const net::Link& link, std::optional<std::uint64_t> features, bool own_program) {
  const std::string name = "interface " + link.name;
  if (!link.ethernet)
    return failed(name, {.code = EOPNOTSUPP, .what = "not an Ethernet interface"}, "an uplink must be one");
  if (own_program) return good(name, fmt::format("MultiStack is attached ({} XDP)", net::name_of(link.xdp)));
  if (link.xdp_program != 0)
    return failed(
        name,
        {.code = EBUSY,
         .what = "has an XDP program that is not MultiStack's: " + daemon::describe_program(link.xdp_program)},
        "remove that first (ip link set " + link.name + " xdp off)");
  const char* down = link.up ? "" : "; it is down";
  if (!features)
    return good(name, fmt::format("what its driver can is not known before Linux 6.3: attach it and see{}", down));
  if ((*features & net::xdp_basic) == 0 || (*features & net::xdp_redirect) == 0)
    return warning(name,
                   fmt::format("its driver has no XDP{}: it works in generic mode, slower; a NIC whose driver has "
                               "native XDP is faster",
                               down));
  // Some drivers take redirected frames only while a program is attached, and say no until then.
  return good(name, fmt::format("native XDP{}{}",
                                (*features & net::xdp_zero_copy) != 0 ? ", AF_XDP without copying" : "", down));
}

Check interface_check(const std::string& name) {
  auto links = net::Links::open();
  if (!links) return failed("interface " + name, links.error());
  const auto link = links->find(name);
  if (!link)
    return link.error().code == ENODEV
               ? failed("interface " + name, {.code = ENODEV, .what = "there is no such interface"},
                        "`ip link` shows those that there are")
               : failed("interface " + name, link.error());
  const auto features = net::xdp_features(link->ifindex);
  const bool own = link->xdp_program != 0 && daemon::describe_program(link->xdp_program).starts_with("uplink_rx ");
  return judge_interface(*link, features ? *features : std::nullopt, own);
}

bool has_vlans(const std::string& name) {
  auto links = net::Links::open();
  if (!links) return false;
  const auto link = links->find(name);
  const auto vlans = links->vlans();
  return link && vlans && std::ranges::find(*vlans, link->ifindex, &net::Link::lower) != vlans->end();
}

Check judge_stripping(const std::string& name, const std::vector<std::string>& stripping) {
  if (stripping.empty()) return good("vlans of " + name, "their tags are seen");
  std::string options;
  for (const std::string& feature : stripping) options += " " + feature + " off";
  return warning("vlans of " + name, name +
                                         " may take tags off before XDP sees the frames, which then pass for "
                                         "untagged ones: ethtool -K " +
                                         name + options);
}

Check tags_check(const std::string& name) {
  const auto stripping = net::tag_stripping(name);
  if (!stripping) return warning("vlans of " + name, stripping.error().what);
  return judge_stripping(name, *stripping);
}

}  // namespace mstack::checks
