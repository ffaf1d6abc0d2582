// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/attachment.hpp"

#include <linux/if_link.h>

#include <cerrno>

#include "checks/places.hpp"
#include "daemon/chain.hpp"
#include "daemon/log.hpp"
#include "daemon/takeover_plan.hpp"
#include "net/xdp_features.hpp"

namespace mstack::daemon {
namespace {

using protocol::XdpMode;

// Whether its XDP can do what uplink_rx asks for: a driver that knows XDP_PASS and XDP_DROP alone loses the rest.
bool redirects(const net::Link& device) {
  const auto features = net::xdp_features(device.ifindex);
  return !features || !*features || !(**features & net::xdp_basic) || (**features & net::xdp_redirect);
}

}  // namespace

Attachment::~Attachment() {
  if (chained_) chain::leave(*datapath_, ifindex_);
}

void Attachment::leave() {
  chained_ = false;
  pin_.leave();
}

Expected<Attachment> Attachment::attach_as(const Datapath& datapath, const net::Link& device, bool native,
                                           bool chained) {
  if (chained) {
    if (auto joined = chain::join(datapath, device, native); !joined) return std::unexpected(joined.error());
    return Attachment(datapath, device.ifindex, native, std::nullopt);
  }
  const auto link = create_link(datapath.programs().uplink_rx, static_cast<int>(device.ifindex), BPF_XDP,
                                native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE);
  if (!link) return failure(link.error().code, error_text(link.error().code));
  auto pin = LinkPin::create(link->get(), datapath.pins().link(uplink_link_name(device.ifindex)));
  if (!pin) return std::unexpected(pin.error());
  return Attachment(datapath, device.ifindex, native, std::move(*pin));
}

Expected<Attachment> Attachment::attach(const Datapath& datapath, net::Links& links, const net::Link& device,
                                        XdpMode mode, bool chained) {
  const bool chain_is_there = chain::is_on(device);
  if (device.xdp_program != 0 && !chain_is_there) return std::unexpected(checks::foreign_program(device));
  chained = chained || chain_is_there;
  struct Attempt {
    XdpMode mode;
    const char* name;
  };
  constexpr Attempt attempts[] = {{XdpMode::native, "native"}, {XdpMode::generic, "generic"}};
  std::string refusals;
  int code = 0;
  for (const Attempt& attempt : attempts) {
    const bool native = attempt.mode == XdpMode::native;
    if (mode != XdpMode::automatic && mode != attempt.mode) continue;
    // All members of a chain are in one mode.
    if (chain_is_there && mode == XdpMode::automatic && native != (device.xdp == net::XdpAttached::native)) continue;
    auto attachment = native && !redirects(device) ? failure(EOPNOTSUPP, checks::no_redirect)
                                                   : attach_as(datapath, device, native, chained);
    if (attachment) {
      if (!refusals.empty()) log::info("{} has no native XDP ({})", device.name, refusals);
      return attachment;
    }
    code = attachment.error().code;
    // Somebody else was faster.
    if (const auto now = links.find(device.ifindex); now && now->xdp_program != device.xdp_program)
      return std::unexpected(checks::foreign_program(*now));
    refusals += (refusals.empty() ? "" : "; ") + std::string(attempt.name) + ": " + attachment.error().what;
    if (chained && code == EBUSY) break;  // whatever the mode
  }
  const char* hint = mode == XdpMode::native ? ": try --xdp-mode generic" : "";
  return failure(code, "cannot attach to " + device.name + " (" + refusals + ")" + hint);
}

Expected<std::optional<Attachment>> Attachment::take_over(const Datapath& datapath, std::uint32_t ifindex,
                                                          const net::Link* device, bool chained) {
  if (chained) {
    if (device) {
      const auto taken = chain::take_over(datapath, *device);
      if (!taken) return std::unexpected(taken.error());
      if (*taken) return Attachment(datapath, ifindex, device->xdp == net::XdpAttached::native, std::nullopt);
    }
    chain::leave(datapath, ifindex);
    return std::nullopt;
  }
  const std::string path = datapath.pins().link(uplink_link_name(ifindex));
  auto link = open_link(path);
  if (!link) return std::unexpected(link.error());
  if (!*link) return std::nullopt;
  const auto target = link_target((*link)->get());
  if (!target) return std::unexpected(target.error());
  if (!device || !is_target(*target, device->ifindex, device->xdp_program)) {
    remove_link(path);
    return std::nullopt;
  }
  if (auto updated = update_link((*link)->get(), datapath.programs().uplink_rx); !updated)
    return failure(updated.error().code, device->name + ": " + updated.error().what);
  return Attachment(datapath, ifindex, device->xdp == net::XdpAttached::native, LinkPin::adopt(path));
}

bool Attachment::is_on(const net::Link& device) const {
  if (chained_) return chain::is_member(datapath_->map("claims"), device);
  return is_pinned_to(datapath_->pins().link(uplink_link_name(ifindex_)), device.ifindex, device.xdp_program);
}

}  // namespace mstack::daemon
