// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/uplinks.hpp"

#include <linux/if_link.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "daemon/log.hpp"
#include "daemon/takeover_plan.hpp"
#include "net/xdp_features.hpp"

namespace mstack::daemon {
namespace {

using protocol::XdpMode;

const char* mode_name(std::uint32_t flags) {
  return flags & MSTACK_UPLINK_NATIVE ? "native" : "generic";
}

void set_name(mstack_uplink& info, const std::string& name) {
  std::memset(info.name, 0, sizeof(info.name));
  std::memcpy(info.name, name.data(), std::min(name.size(), sizeof(info.name) - 1));
}

// Whether XDP frames that are redirected to the device leave it. In generic mode most drivers have no queue for them,
// whatever they say. Before 6.3 the kernel cannot tell; then a driver that runs XDP programs is believed to.
bool takes_frames(std::uint32_t ifindex, std::uint32_t flags) {
  if (!(flags & MSTACK_UPLINK_NATIVE)) return false;
  const auto features = net::xdp_features(ifindex);
  if (!features || !*features) return true;
  return (**features & net::xdp_ndo_xmit) != 0;
}

std::unexpected<Error> busy(const std::string& name, std::uint32_t program) {
  return failure(EBUSY, name + " has an XDP program that is not MultiStack's: " + describe_program(program) +
                            "; remove that first (ip link set " + name + " xdp off), or use another interface");
}

}  // namespace

Uplinks::~Uplinks() {
  for (auto& [ifindex, uplink] : uplinks_) uplink.pin.leave();
}

std::uint32_t Uplinks::mtu() const {
  std::uint32_t largest = 0;
  for (const auto& [ifindex, uplink] : uplinks_) largest = std::max(largest, uplink.mtu);
  return largest;
}

Expected<void> Uplinks::take_over() {
  const auto names = datapath_->pins().links();
  if (!names) return std::unexpected(names.error());
  for (const std::string& name : *names) {
    std::uint32_t ifindex = 0;
    if (!name.starts_with("uplink_")) continue;
    try {
      ifindex = static_cast<std::uint32_t>(std::stoul(name.substr(7)));
    } catch (const std::exception&) {
      continue;
    }
    if (auto taken = take_over_one(ifindex, datapath_->pins().link(name)); !taken)
      return std::unexpected(taken.error());
  }
  // Entries without a link: their device went while no mstackd ran.
  std::vector<std::uint32_t> gone;
  auto seen = datapath_->uplink_info().for_each([&](std::uint32_t ifindex, const mstack_uplink&) {
    if (!uplinks_.contains(ifindex)) gone.push_back(ifindex);
  });
  if (!seen) return seen;
  for (const std::uint32_t ifindex : gone) forget(ifindex);
  return {};
}

Expected<void> Uplinks::take_over_one(std::uint32_t ifindex, const std::string& path) {
  auto link = open_link(path);
  if (!link) return std::unexpected(link.error());
  if (!*link) return {};
  const auto target = link_target((*link)->get());
  if (!target) return std::unexpected(target.error());
  const auto info = datapath_->uplink_info().find(ifindex);
  if (!info) return std::unexpected(info.error());
  // A device that is gone, or a link that was pinned a moment before the end and never written down.
  if (target->ifindex != ifindex || !*info) {
    forget(ifindex);
    remove_link(path);
    return {};
  }
  const auto device = links_->find(ifindex);
  if (!device) return std::unexpected(device.error());
  if (auto updated = update_link((*link)->get(), datapath_->programs().uplink_rx); !updated)
    return failure(updated.error().code, device->name + ": " + updated.error().what);

  auto [entry, added] =
      uplinks_.emplace(ifindex, Uplink{.info = **info, .mtu = device->mtu, .pin = LinkPin::adopt(path)});
  refresh(*device, entry->second);
  log::info("took over {} ({} XDP)", device->name, mode_name(entry->second.info.flags));
  return {};
}

Expected<net::Link> Uplinks::find_interface(const std::string& name) {
  auto link = links_->find(name);
  if (!link && link.error().code == ENODEV)
    return failure(ENODEV, "there is no interface " + name + ": `ip link` shows those that there are");
  return link;
}

Expected<void> Uplinks::attach_temporarily(const std::string& name, XdpMode mode) {
  const auto link = find_interface(name);
  if (!link) return std::unexpected(link.error());
  return uplinks_.contains(link->ifindex) ? keep(*link, mode) : attach_new(*link, mode, 0);
}

Expected<void> Uplinks::attach(const std::string& name, XdpMode mode) {
  const auto link = find_interface(name);
  if (!link) return std::unexpected(link.error());
  if (uplinks_.contains(link->ifindex))
    return failure(EEXIST,
                   "MultiStack is attached to " + name + " already: detach it first, to attach it in another way");
  return attach_new(*link, mode, MSTACK_UPLINK_STAYS);
}

Expected<void> Uplinks::keep(const net::Link& link, XdpMode mode) {
  Uplink& uplink = uplinks_.at(link.ifindex);
  const bool native = uplink.info.flags & MSTACK_UPLINK_NATIVE;
  if ((mode == XdpMode::native && !native) || (mode == XdpMode::generic && native)) {
    // The kernel has no way from one mode to the other but through none.
    log::info("{} leaves {} XDP", link.name, mode_name(uplink.info.flags));
    forget(link.ifindex);
    const auto now = links_->find(link.ifindex);
    if (!now) return std::unexpected(now.error());
    return attach_new(*now, mode, 0);
  }
  uplink.info.flags &= ~std::uint32_t{MSTACK_UPLINK_STAYS};
  return publish(link.ifindex, uplink);
}

Expected<void> Uplinks::attach_new(const net::Link& link, XdpMode mode, std::uint32_t flags) {
  if (!link.ethernet) return failure(EOPNOTSUPP, link.name + " is not an Ethernet interface: an uplink must be one");
  if (net::parse_host_end(link.name))
    return failure(EINVAL, link.name + " is a vport's own end, not a way to the wire: use another interface");
  if (uplinks_.size() >= MSTACK_MAX_UPLINKS)
    return failure(ENOSPC, "there are " + std::to_string(uplinks_.size()) + " uplinks, which is the limit: detach one");
  if (link.xdp_program != 0) return busy(link.name, link.xdp_program);

  struct Attempt {
    XdpMode mode;
    std::uint32_t xdp_flags, uplink_flags;
  };
  constexpr Attempt attempts[] = {{XdpMode::native, XDP_FLAGS_DRV_MODE, MSTACK_UPLINK_NATIVE},
                                  {XdpMode::generic, XDP_FLAGS_SKB_MODE, 0}};
  Fd attached;
  std::string refusals;
  int code = 0;
  for (const Attempt& attempt : attempts) {
    if (mode != XdpMode::automatic && mode != attempt.mode) continue;
    auto created =
        create_link(datapath_->programs().uplink_rx, static_cast<int>(link.ifindex), BPF_XDP, attempt.xdp_flags);
    if (created) {
      attached = std::move(*created);
      flags |= attempt.uplink_flags;
      break;
    }
    code = created.error().code;
    // Somebody else was faster.
    if (const auto now = links_->find(link.ifindex); now && now->xdp_program != 0)
      return busy(link.name, now->xdp_program);
    refusals += (refusals.empty() ? "" : "; ") + std::string(mode_name(attempt.uplink_flags)) + ": " + error_text(code);
  }
  if (!attached) {
    const char* hint = mode == XdpMode::native ? ": try --xdp-mode generic" : "";
    return failure(code, "cannot attach to " + link.name + " (" + refusals + ")" + hint);
  }
  if (!refusals.empty()) log::info("{} has no native XDP ({})", link.name, refusals);

  auto pin = LinkPin::create(attached.get(), datapath_->pins().link(uplink_link_name(link.ifindex)));
  if (!pin) return std::unexpected(pin.error());
  Uplink uplink = {.info = {.name = {}, .flags = flags, .zero = 0}, .mtu = link.mtu, .pin = std::move(*pin)};
  set_name(uplink.info, link.name);
  if (auto published = publish(link.ifindex, uplink); !published) {
    forget(link.ifindex);
    return published;
  }
  log::info("attached to {} ({} XDP{})", link.name, mode_name(flags),
            uplink.info.flags & MSTACK_UPLINK_XMIT ? "" : ", sends by TC");
  uplinks_.emplace(link.ifindex, std::move(uplink));
  return {};
}

// In the maps, where BPF reads it.
Expected<void> Uplinks::publish(std::uint32_t ifindex, Uplink& uplink) {
  const bool xmit = takes_frames(ifindex, uplink.info.flags);
  uplink.info.flags =
      (uplink.info.flags & ~std::uint32_t{MSTACK_UPLINK_XMIT}) | (xmit ? std::uint32_t{MSTACK_UPLINK_XMIT} : 0);
  // uplink_info first: whatever XDP does not send, TC must know to be for an uplink.
  if (auto set = datapath_->uplink_info().set(ifindex, uplink.info); !set) return set;
  const maps::Hash<std::uint32_t, std::uint32_t> redirects(datapath_->map("uplinks"));
  if (xmit) return redirects.set(ifindex, ifindex);
  if (auto erased = redirects.erase(ifindex); !erased) return std::unexpected(erased.error());
  return {};
}

void Uplinks::forget(std::uint32_t ifindex) {
  uplinks_.erase(ifindex);  // detaches, if it is ours
  (void)maps::Hash<std::uint32_t, std::uint32_t>(datapath_->map("uplinks")).erase(ifindex);
  (void)datapath_->uplink_info().erase(ifindex);
}

Expected<void> Uplinks::detach(const std::string& name) {
  const auto found = std::ranges::find_if(uplinks_, [&](const auto& entry) { return name == entry.second.info.name; });
  if (found == uplinks_.end())
    return failure(ENODEV, "MultiStack is not attached to " + name + ": `mstack uplinks` shows what it is attached to");
  forget(found->first);
  log::info("detached from {}", name);
  return {};
}

void Uplinks::detach_temporary() {
  std::vector<std::string> names;
  for (const auto& [ifindex, uplink] : uplinks_)
    if (!(uplink.info.flags & MSTACK_UPLINK_STAYS)) names.emplace_back(uplink.info.name);
  for (const std::string& name : names) (void)detach(name);
}

void Uplinks::detach_all() {
  while (!uplinks_.empty()) forget(uplinks_.begin()->first);
}

void Uplinks::refresh(const net::Link& link, Uplink& uplink) {
  const mstack_uplink before = uplink.info;
  set_name(uplink.info, link.name);
  uplink.mtu = link.mtu;
  if (link.xdp == net::XdpAttached::native) uplink.info.flags |= MSTACK_UPLINK_NATIVE;
  if (link.xdp == net::XdpAttached::generic) uplink.info.flags &= ~std::uint32_t{MSTACK_UPLINK_NATIVE};
  if (auto published = publish(link.ifindex, uplink); !published)
    log::warn("{}: {}", link.name, published.error().what);
  if ((before.flags ^ uplink.info.flags) & MSTACK_UPLINK_XMIT)
    log::info("{} {} redirected frames", link.name,
              uplink.info.flags & MSTACK_UPLINK_XMIT ? "takes" : "no longer takes");
}

void Uplinks::link_changed(const net::RouteEvent& event) {
  const auto found = uplinks_.find(event.ifindex);
  if (found == uplinks_.end()) return;
  const auto link = links_->find(event.ifindex);
  if (link) refresh(*link, found->second);
}

void Uplinks::link_gone(std::uint32_t ifindex) {
  const auto found = uplinks_.find(ifindex);
  if (found == uplinks_.end()) return;
  log::warn("{} is gone: `mstack attach` it when it is back", found->second.info.name);
  forget(ifindex);
}

void Uplinks::resync() {
  std::vector<std::uint32_t> known;
  for (const auto& [ifindex, uplink] : uplinks_) known.push_back(ifindex);
  for (const std::uint32_t ifindex : known) {
    const auto link = links_->find(ifindex);
    if (link)
      refresh(*link, uplinks_.at(ifindex));
    else if (link.error().code == ENODEV)
      link_gone(ifindex);
  }
}

}  // namespace mstack::daemon
