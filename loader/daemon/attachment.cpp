// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/attachment.hpp"

#include <linux/if_link.h>

#include <cerrno>

#include "daemon/log.hpp"
#include "daemon/takeover_plan.hpp"

namespace mstack::daemon {
namespace {

using protocol::XdpMode;

std::unexpected<Error> busy(const net::Link& device) {
  return failure(EBUSY, device.name +
                            " has an XDP program that is not MultiStack's: " + describe_program(device.xdp_program) +
                            "; remove that first (ip link set " + device.name + " xdp off), or use another interface");
}

bool is_target(const LinkTarget& target, const net::Link& device) {
  return target.ifindex == device.ifindex && target.program == device.xdp_program;
}

}  // namespace

Expected<Attachment> Attachment::attach(const Datapath& datapath, net::Links& links, const net::Link& device,
                                        XdpMode mode) {
  if (device.xdp_program != 0) return busy(device);
  struct Attempt {
    XdpMode mode;
    std::uint32_t flags;
    const char* name;
  };
  constexpr Attempt attempts[] = {{XdpMode::native, XDP_FLAGS_DRV_MODE, "native"},
                                  {XdpMode::generic, XDP_FLAGS_SKB_MODE, "generic"}};
  std::string refusals;
  int code = 0;
  for (const Attempt& attempt : attempts) {
    if (mode != XdpMode::automatic && mode != attempt.mode) continue;
    const auto link =
        create_link(datapath.programs().uplink_rx, static_cast<int>(device.ifindex), BPF_XDP, attempt.flags);
    if (link) {
      if (!refusals.empty()) log::info("{} has no native XDP ({})", device.name, refusals);
      std::string path = datapath.pins().link(uplink_link_name(device.ifindex));
      auto pin = LinkPin::create(link->get(), path);
      if (!pin) return std::unexpected(pin.error());
      return Attachment(std::move(*pin), std::move(path), attempt.mode == XdpMode::native);
    }
    code = link.error().code;
    // Somebody else was faster.
    if (const auto now = links.find(device.ifindex); now && now->xdp_program != 0) return busy(*now);
    refusals += (refusals.empty() ? "" : "; ") + std::string(attempt.name) + ": " + error_text(code);
  }
  const char* hint = mode == XdpMode::native ? ": try --xdp-mode generic" : "";
  return failure(code, "cannot attach to " + device.name + " (" + refusals + ")" + hint);
}

Expected<std::optional<Attachment>> Attachment::take_over(const Datapath& datapath, std::uint32_t ifindex,
                                                          const net::Link* device) {
  std::string path = datapath.pins().link(uplink_link_name(ifindex));
  auto link = open_link(path);
  if (!link) return std::unexpected(link.error());
  if (!*link) return std::nullopt;
  const auto target = link_target((*link)->get());
  if (!target) return std::unexpected(target.error());
  if (!device || !is_target(*target, *device)) {
    remove_link(path);
    return std::nullopt;
  }
  if (auto updated = update_link((*link)->get(), datapath.programs().uplink_rx); !updated)
    return failure(updated.error().code, device->name + ": " + updated.error().what);
  return Attachment(LinkPin::adopt(path), path, device->xdp == net::XdpAttached::native);
}

bool Attachment::is_on(const net::Link& device) const {
  const auto link = open_link(path_);
  if (!link || !*link) return false;
  const auto target = link_target((*link)->get());
  return target && is_target(*target, device);
}

}  // namespace mstack::daemon
