// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/uplinks.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "checks/places.hpp"
#include "daemon/chain.hpp"
#include "daemon/egress.hpp"
#include "daemon/log.hpp"
#include "net/xdp_features.hpp"

namespace mstack::daemon {
namespace {

using protocol::XdpMode;

const char* mode_name(std::uint32_t flags) {
  return flags & MSTACK_UPLINK_NATIVE ? "native" : "generic";
}

void set_name(char (&to)[MSTACK_IFNAMSIZ], const std::string& name) {
  std::memset(to, 0, sizeof(to));
  std::memcpy(to, name.data(), std::min(name.size(), sizeof(to) - 1));
}

void set_flag(mstack_uplink& info, std::uint32_t flag, bool on) {
  info.flags = on ? info.flags | flag : info.flags & ~flag;
}

// What of XDP frames that are redirected to the device leaves it. In generic mode most drivers have no queue for them,
// whatever they say. Before 6.3 the kernel cannot tell; then a driver that runs XDP programs is believed to, but frames
// of several buffers are redirected nowhere.
std::uint32_t takes_frames(std::uint32_t ifindex, std::uint32_t flags) {
  if (!(flags & MSTACK_UPLINK_NATIVE)) return 0;
  const auto features = net::xdp_features(ifindex);
  if (!features || !*features) return MSTACK_UPLINK_XMIT;
  if (!(**features & net::xdp_ndo_xmit)) return 0;
  return MSTACK_UPLINK_XMIT | (**features & net::xdp_ndo_xmit_sg ? std::uint32_t{MSTACK_UPLINK_XMIT_SG} : 0);
}

// What was asked for, and holds for its next attachment too.
constexpr std::uint32_t wishes = MSTACK_UPLINK_STAYS | MSTACK_UPLINK_CHAIN;

// The ifindex of a name in the links directory, if it is an uplink's.
std::optional<std::uint32_t> parse_link_name(std::string_view name) {
  constexpr std::string_view prefix = "uplink_";
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  std::uint32_t ifindex = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), ifindex);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return ifindex;
}

}  // namespace

Uplinks::~Uplinks() {
  for (auto& [ifindex, uplink] : uplinks_) uplink.attachment.leave();
}

std::uint32_t Uplinks::mtu() const {
  std::uint32_t largest = 0;
  for (const auto& [ifindex, uplink] : uplinks_) largest = std::max(largest, uplink.mtu);
  return largest;
}

Expected<void> Uplinks::take_over() {
  if (auto taken = vlans_.take_over(); !taken) return taken;
  std::map<std::uint32_t, mstack_uplink> recorded;
  auto seen = datapath_->uplink_info().for_each([&](std::uint32_t ifindex, mstack_uplink info) {
    info.name[MSTACK_IFNAMSIZ - 1] = info.asked[MSTACK_IFNAMSIZ - 1] = '\0';
    recorded.emplace(ifindex, info);
  });
  if (!seen) return seen;
  const auto pins = datapath_->pins().links();
  if (!pins) return std::unexpected(pins.error());
  for (const std::string& pin : *pins) {
    const auto ifindex = parse_link_name(pin);
    if (!ifindex) continue;
    const auto info = recorded.find(*ifindex);
    const auto taken = take_over_one(*ifindex, info == recorded.end() ? nullptr : &info->second);
    if (!taken) return std::unexpected(taken.error());
    if (*taken) recorded.erase(info);
  }
  for (auto info = recorded.begin(); info != recorded.end();) {
    if (!(info->second.flags & MSTACK_UPLINK_CHAINED)) {
      ++info;
      continue;
    }
    const auto taken = take_over_one(info->first, &info->second);
    if (!taken) return std::unexpected(taken.error());
    info = *taken ? recorded.erase(info) : std::next(info);
  }
  if (auto left = leave_unrecorded_chains(); !left) return left;
  for (const auto& [ifindex, info] : recorded) forget(ifindex);
  for (const auto& [ifindex, info] : recorded) wait_for(info);
  resync();
  return {};
}

// Those that an mstackd had joined a moment before its end, and did not come to write down.
Expected<void> Uplinks::leave_unrecorded_chains() {
  const auto devices = links_->all();
  if (!devices) return std::unexpected(devices.error());
  for (const net::Link& device : *devices) {
    if (uplinks_.contains(device.ifindex) || !chain::is_member(datapath_->map("claims"), device)) continue;
    leave_egress(device.ifindex);
    chain::leave(*datapath_, device.ifindex);
  }
  return {};
}

// False: its device is gone, or it was attached a moment before the end and never written down.
Expected<bool> Uplinks::take_over_one(std::uint32_t ifindex, const mstack_uplink* info) {
  const auto device = links_->find(ifindex);
  if (!device && device.error().code != ENODEV) return std::unexpected(device.error());
  auto attachment = Attachment::take_over(*datapath_, ifindex, device && info ? &*device : nullptr,
                                          info && info->flags & MSTACK_UPLINK_CHAINED);
  if (!attachment) return std::unexpected(attachment.error());
  if (!*attachment) {
    if (device) leave_egress(ifindex);  // of one that was never written down
    return false;
  }
  if (device->is_in_vrf()) return false;  // and goes with its attachment
  auto [entry, added] =
      uplinks_.emplace(ifindex, Uplink{.info = *info, .mtu = device->mtu, .attachment = std::move(**attachment)});
  guard(*device, entry->second.info);
  refresh(*device, entry->second);
  log::info("took over {} ({} XDP)", device->name, mode_name(entry->second.info.flags));
  return true;
}

Expected<net::Link> Uplinks::find_interface(const std::string& name) {
  auto link = links_->find(name);
  if (!link && link.error().code == ENODEV) return std::unexpected(checks::no_interface(name));
  return link;
}

Expected<void> Uplinks::attach_temporarily(const std::string& name, XdpMode mode, bool chained) {
  const auto device = find_interface(name);
  if (device && uplinks_.contains(device->ifindex)) return keep(*device, mode, chained);
  const auto attached =
      device ? attach_new(*device, mode, chained ? MSTACK_UPLINK_CHAIN : 0) : std::unexpected(device.error());
  if (attached || (!device && device.error().code != ENODEV)) return attached;
  // One that an earlier mstackd had: it may be called otherwise by now, be gone for a while, or be in a VRF. That is no
  // reason not to serve the others.
  const auto renamed =
      std::ranges::find_if(uplinks_, [&](const auto& entry) { return name == entry.second.info.asked; });
  if (!device && renamed != uplinks_.end()) {
    const auto now = links_->find(renamed->first);
    return now ? keep(*now, mode, chained) : std::unexpected(now.error());
  }
  const auto awaited = awaited_.find(name);
  if (awaited == awaited_.end()) return attached;
  set_flag(awaited->second.info, MSTACK_UPLINK_STAYS, false);
  set_flag(awaited->second.info, MSTACK_UPLINK_CHAIN, chained);
  awaited->second.info.mode = static_cast<std::uint32_t>(mode);
  awaited->second.refusal = attached.error().what;
  log::warn("{} is attached when it can be again: {}", name, attached.error().what);
  return datapath_->uplink_info().set(awaited->second.key, awaited->second.info);
}

Expected<void> Uplinks::attach(const std::string& name, XdpMode mode, bool chained) {
  const auto device = find_interface(name);
  if (!device) return std::unexpected(device.error());
  if (uplinks_.contains(device->ifindex))
    return failure(EEXIST,
                   "MultiStack is attached to " + name + " already: detach it first, to attach it in another way");
  return attach_new(*device, mode, MSTACK_UPLINK_STAYS | (chained ? MSTACK_UPLINK_CHAIN : 0));
}

Expected<void> Uplinks::keep(const net::Link& device, XdpMode mode, bool chained) {
  Uplink& uplink = uplinks_.at(device.ifindex);
  const bool native = uplink.info.flags & MSTACK_UPLINK_NATIVE;
  const bool joins = chained && !uplink.attachment.is_chained();
  if ((mode == XdpMode::native && !native) || (mode == XdpMode::generic && native) || joins) {
    // The kernel has no way from one mode to the other, or from a link to a chain, but through none.
    log::info("{} leaves {} XDP", device.name, mode_name(uplink.info.flags));
    forget(device.ifindex);
    const auto now = links_->find(device.ifindex);
    if (!now) return std::unexpected(now.error());
    return attach_new(*now, mode, chained ? MSTACK_UPLINK_CHAIN : 0);
  }
  // One that is in a chain stays in it: others' programs may be there.
  set_flag(uplink.info, MSTACK_UPLINK_STAYS, false);
  set_flag(uplink.info, MSTACK_UPLINK_CHAIN, chained);
  uplink.info.mode = static_cast<std::uint32_t>(mode);
  return publish(device.ifindex, uplink);
}

Expected<void> Uplinks::attach_new(const net::Link& device, XdpMode mode, std::uint32_t flags) {
  if (auto fit = checks::may_be_uplink(device); !fit) return fit;
  if (uplinks_.size() + awaited_.size() - awaited_.count(device.name) >= MSTACK_MAX_UPLINKS)
    return failure(ENOSPC,
                   "there are " + std::to_string(MSTACK_MAX_UPLINKS) + " uplinks, which is the limit: detach one");
  auto attachment = Attachment::attach(*datapath_, *links_, device, mode, flags & MSTACK_UPLINK_CHAIN);
  if (!attachment) return std::unexpected(attachment.error());

  Uplink uplink = {.info = {.name = {}, .asked = {}, .flags = flags, .mode = static_cast<std::uint32_t>(mode)},
                   .mtu = device.mtu,
                   .attachment = std::move(*attachment)};
  set_name(uplink.info.name, device.name);
  set_name(uplink.info.asked, device.name);
  set_flag(uplink.info, MSTACK_UPLINK_NATIVE, uplink.attachment.is_native());
  set_flag(uplink.info, MSTACK_UPLINK_CHAINED, uplink.attachment.is_chained());
  set_flag(uplink.info, MSTACK_UPLINK_DOWN, !device.running);
  guard(device, uplink.info);
  if (auto published = publish(device.ifindex, uplink); !published) {
    forget(device.ifindex);
    return published;
  }
  log::info("attached to {} ({} XDP{}{})", device.name, mode_name(uplink.info.flags),
            uplink.attachment.is_chained() ? ", in a chain" : "",
            uplink.info.flags & MSTACK_UPLINK_XMIT ? "" : ", sends by TC");
  uplinks_.emplace(device.ifindex, std::move(uplink));
  give_up(device.name);  // it is here
  vlans_changed();
  return {};
}

// One that cannot be guarded still keeps what unprivileged processes send by their stacks: it is an uplink all the
// same.
void Uplinks::guard(const net::Link& device, mstack_uplink& info) const {
  set_flag(info, MSTACK_UPLINK_GUARDED, false);
  if (!guarded_) return leave_egress(device.ifindex);
  const auto attached = egress::attach(*datapath_, {.ifindex = device.ifindex,
                                                    .device = device.name,
                                                    .program = datapath_->programs().uplink_tx,
                                                    .loss = "is not guarded"});
  if (!attached) return log::warn("{} is not guarded: {}", device.name, attached.error().what);
  set_flag(info, MSTACK_UPLINK_GUARDED, true);
}

// In the maps, where BPF reads it.
Expected<void> Uplinks::publish(std::uint32_t ifindex, Uplink& uplink) {
  const std::uint32_t taken = takes_frames(ifindex, uplink.info.flags);
  set_flag(uplink.info, MSTACK_UPLINK_XMIT, taken & MSTACK_UPLINK_XMIT);
  set_flag(uplink.info, MSTACK_UPLINK_XMIT_SG, taken & MSTACK_UPLINK_XMIT_SG);
  // uplink_info first: whatever XDP does not send, TC must know to be for an uplink.
  if (auto set = datapath_->uplink_info().set(ifindex, uplink.info); !set) return set;
  const maps::Hash<std::uint32_t, std::uint32_t> redirects(datapath_->map("uplinks"));
  // Also of what is in there: the kernel takes a device out that goes to another namespace, and it may be back.
  if (taken & MSTACK_UPLINK_XMIT) return redirects.set(ifindex, ifindex);
  if (auto erased = redirects.erase(ifindex); !erased) return std::unexpected(erased.error());
  return {};
}

void Uplinks::leave_egress(std::uint32_t ifindex) const {
  if (auto detached = egress::detach(*datapath_, ifindex); !detached) log::warn("{}", detached.error().what);
}

void Uplinks::forget(std::uint32_t ifindex) {
  leave_egress(ifindex);
  uplinks_.erase(ifindex);  // detaches, if it is ours
  (void)maps::Hash<std::uint32_t, std::uint32_t>(datapath_->map("uplinks")).erase(ifindex);
  (void)datapath_->uplink_info().erase(ifindex);
  vlans_changed();
}

Expected<void> Uplinks::detach(const std::string& name) {
  const auto found = std::ranges::find_if(uplinks_, [&](const auto& entry) { return name == entry.second.info.name; });
  if (found != uplinks_.end()) {
    forget(found->first);
    log::info("detached from {}", name);
    return {};
  }
  if (!awaited_.contains(name))
    return failure(ENODEV, "MultiStack is not attached to " + name + ": `mstack uplinks` shows what it is attached to");
  give_up(name);
  log::info("{} is not waited for any more", name);
  return {};
}

void Uplinks::detach_temporary() {
  const auto is_temporary = [](const mstack_uplink& info) { return !(info.flags & MSTACK_UPLINK_STAYS); };
  std::vector<std::string> names;
  for (const auto& [ifindex, uplink] : uplinks_)
    if (is_temporary(uplink.info)) names.emplace_back(uplink.info.name);
  for (const auto& [name, awaited] : awaited_)
    if (is_temporary(awaited.info)) names.push_back(name);
  for (const std::string& name : names) (void)detach(name);
}

void Uplinks::detach_all() {
  while (!uplinks_.empty()) forget(uplinks_.begin()->first);
  while (!awaited_.empty()) give_up(awaited_.begin()->first);
}

void Uplinks::refresh(const net::Link& device, Uplink& uplink) {
  const mstack_uplink before = uplink.info;
  set_name(uplink.info.name, device.name);
  uplink.mtu = device.mtu;
  set_flag(uplink.info, MSTACK_UPLINK_NATIVE, uplink.attachment.is_native());
  set_flag(uplink.info, MSTACK_UPLINK_DOWN, !device.running);
  set_flag(uplink.info, MSTACK_UPLINK_GONE, false);
  if (auto published = publish(device.ifindex, uplink); !published)
    log::warn("{}: {}", device.name, published.error().what);
  if (device.name != before.name) log::info("{} is called {} now", before.name, device.name);
  const std::uint32_t changed = before.flags ^ uplink.info.flags;
  if (changed & MSTACK_UPLINK_DOWN) log::info("{} is {}", device.name, device.running ? "up" : "down");
  if (changed & MSTACK_UPLINK_XMIT)
    log::info("{} {} redirected frames", device.name,
              uplink.info.flags & MSTACK_UPLINK_XMIT ? "takes" : "no longer takes");
}

void Uplinks::link_changed(const net::RouteEvent& event) {
  if (uplinks_.contains(event.ifindex) || awaited_.contains(event.name)) look_at(event.ifindex);
}

void Uplinks::link_gone(std::uint32_t ifindex) {
  if (uplinks_.contains(ifindex)) look_at(ifindex);
}

void Uplinks::vlans_changed() {
  std::set<std::uint32_t> ifindexes;
  for (const auto& [ifindex, uplink] : uplinks_) ifindexes.insert(ifindex);
  if (auto synced = vlans_.sync(ifindexes); !synced) log::warn("VLANs: {}", synced.error().what);
}

// Ours is put back, unless it could not be put there before: what that attempt undid is news too.
void Uplinks::filters_gone(std::uint32_t ifindex) {
  const auto found = uplinks_.find(ifindex);
  if (found == uplinks_.end() || !(found->second.info.flags & MSTACK_UPLINK_GUARDED)) return;
  const auto device = links_->find(ifindex);
  const auto lost =
      device ? egress::is_lost(*datapath_, ifindex, device->name) : Expected<bool>(std::unexpected(device.error()));
  found->second.in_doubt = !lost;
  if (!lost || !*lost) return;
  guard(*device, found->second.info);
  if (auto published = publish(ifindex, found->second); !published)
    log::warn("{}: {}", device->name, published.error().what);
}

bool Uplinks::is_in_doubt() const {
  return std::ranges::any_of(uplinks_, [](const auto& entry) { return entry.second.in_doubt; });
}

void Uplinks::resync() {
  std::vector<std::uint32_t> known;
  for (const auto& [ifindex, uplink] : uplinks_) known.push_back(ifindex);
  for (const std::uint32_t ifindex : known) {
    look_at(ifindex);
    filters_gone(ifindex);
  }
  std::vector<std::string> names;
  for (const auto& [name, awaited] : awaited_) names.push_back(name);
  for (const std::string& name : names)
    if (const auto device = links_->find(name)) welcome(*device);
  vlans_changed();
}

// What is there now, whatever was told of it.
void Uplinks::look_at(std::uint32_t ifindex) {
  const auto device = links_->find(ifindex);
  if (!device && device.error().code != ENODEV) return log::warn("{}", device.error().what);
  if (const auto known = uplinks_.find(ifindex); known != uplinks_.end()) {
    if (device && !device->is_in_vrf() && known->second.attachment.is_on(*device))
      return refresh(*device, known->second);
    // Of a chain that has been changed meanwhile we are not told the truth.
    if (const auto now = links_->find(ifindex); device && (!now || now->xdp_program != device->xdp_program))
      return look_at(ifindex);
    lose(known);
  }
  if (device) welcome(*device);
}

void Uplinks::lose(Found lost) {
  const mstack_uplink info = lost->second.info;
  log::warn("{} is an uplink no more", info.name);
  forget(lost->first);
  wait_for(info);
}

void Uplinks::wait_for(mstack_uplink info) {
  const std::string name = info.asked;
  // The name is another's by now, which is an uplink too.
  const bool is_taken =
      std::ranges::any_of(uplinks_, [&](const auto& entry) { return name == entry.second.info.asked; });
  if (name.empty() || is_taken || awaited_.contains(name)) return;
  std::uint32_t key = MSTACK_NO_IFINDEX;
  while (std::ranges::any_of(awaited_, [&](const auto& entry) { return entry.second.key == key; })) ++key;
  set_name(info.name, name);
  info.flags = (info.flags & wishes) | MSTACK_UPLINK_GONE;
  if (auto set = datapath_->uplink_info().set(key, info); !set) log::warn("{}: {}", name, set.error().what);
  awaited_.emplace(name, Awaited{.key = key, .info = info, .refusal = {}});
  log::info("an interface called {} is attached when there is one", name);
}

void Uplinks::give_up(const std::string& name) {
  const auto found = awaited_.find(name);
  if (found == awaited_.end()) return;
  (void)datapath_->uplink_info().erase(found->second.key);
  awaited_.erase(found);
}

// A device that may be one that is waited for.
void Uplinks::welcome(const net::Link& device) {
  const auto found = awaited_.find(device.name);
  if (found == awaited_.end() || uplinks_.contains(device.ifindex)) return;
  const mstack_uplink& info = found->second.info;
  auto attached = attach_new(device, static_cast<XdpMode>(info.mode), info.flags & wishes);
  if (attached || found->second.refusal == attached.error().what) return;
  found->second.refusal = attached.error().what;  // told once
  log::warn("{}", attached.error().what);
}

}  // namespace mstack::daemon
