// SPDX-License-Identifier: BSD-2-Clause
#include "map_view.hpp"

#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <tuple>

namespace mstack {
namespace {

bool is_bpffs(const std::string& directory) {
  struct statfs status = {};
  return ::statfs(directory.c_str(), &status) == 0 && static_cast<std::uint32_t>(status.f_type) == BPF_FS_MAGIC;
}

std::unexpected<Error> unreadable(const Error& error, const std::string& pin_dir) {
  return std::unexpected(explain_open_failure(error.code, error.what, pin_dir, is_bpffs(pin_dir)));
}

}  // namespace

std::string pin_directory(std::string_view asked) {
  if (!asked.empty()) return std::string(asked);
  const char* environment = secure_getenv("MSTACK_PIN_DIR");
  return environment && *environment ? environment : "/sys/fs/bpf/mstack";
}

Error explain_open_failure(int code, const std::string& detail, const std::string& pin_dir, bool is_bpffs) {
  const auto explained = [code](std::string text) { return Error{.code = code, .what = std::move(text)}; };
  switch (code) {
    case ENODATA:
    case ENOENT:
      if (is_bpffs)
        return explained("MultiStack is not running, or only starting: maps are missing under " + pin_dir +
                         "; start mstackd");
      return explained("MultiStack is not running: no maps under " + pin_dir + "; start mstackd");
    case ENOTDIR: return explained(pin_dir + " is not a directory; give the one of mstackd with --pin-dir");
    case ENOSYS:
      return explained("this kernel has no BPF: MultiStack needs Linux 6.1 or later with CONFIG_BPF_SYSCALL");
    case EACCES:
    case EPERM: return explained("no permission to read the maps under " + pin_dir + "; run mstack as root");
    case EPROTO:
      return explained("the maps under " + pin_dir + " are another MultiStack's (" + detail +
                       "); use the mstack that came with its mstackd, or, when no stack runs, remove them with "
                       "`rm -r " +
                       pin_dir + "` (what else to remove: mstackd(8), FILES) and start this one");
    default: return explained(detail);
  }
}

Expected<MapView> MapView::open(const std::string& pin_dir) {
  MapView view;
  view.pin_dir_ = pin_dir;
  // What bpf(2) answers for a path elsewhere is EACCES, which would send people after the wrong thing.
  if (::access(pin_dir.c_str(), F_OK) == 0 && !is_bpffs(pin_dir))
    return failure(EINVAL, pin_dir + " is not in a BPF file system; give the directory of mstackd with --pin-dir");

  // meta first: it says whether the others are to be understood.
  const auto meta_map = maps::open_pinned(pin_dir, maps::definition("meta"), maps::Access::read);
  if (!meta_map) return unreadable(meta_map.error(), pin_dir);
  const auto meta = maps::read_meta(meta_map->get());
  if (!meta) return unreadable(meta.error(), pin_dir);
  view.meta_ = *meta;

  const std::pair<Fd*, const maps::Definition*> wanted[] = {
      {&view.claims_, &maps::definition("claims")},           {&view.vports_, &maps::definition("vports")},
      {&view.uplink_info_, &maps::definition("uplink_info")}, {&view.counters_, &maps::definition("counters")},
      {&view.vport_stats_, &maps::definition("vport_stats")}, {&view.vlan_devices_, &maps::definition("vlan_devices")},
  };
  for (const auto& [fd, definition] : wanted) {
    auto map = maps::open_pinned(pin_dir, *definition, maps::Access::read);
    if (!map) return unreadable(map.error(), pin_dir);
    *fd = std::move(*map);
  }
  return view;
}

Expected<std::vector<UplinkEntry>> MapView::uplinks() const {
  std::vector<UplinkEntry> entries;
  auto read = maps::UplinkInfo(uplink_info_.get()).for_each([&entries](std::uint32_t ifindex, mstack_uplink info) {
    info.name[MSTACK_IFNAMSIZ - 1] = '\0';
    entries.push_back({.ifindex = ifindex, .info = info});
  });
  if (!read) return std::unexpected(read.error());
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.ifindex < b.ifindex; });
  return entries;
}

Expected<std::vector<VlanEntry>> MapView::vlans() const {
  std::vector<VlanEntry> entries;
  auto read =
      maps::VlanDevices(vlan_devices_.get()).for_each([&entries](std::uint32_t ifindex, mstack_vlan_device info) {
        info.name[MSTACK_IFNAMSIZ - 1] = '\0';
        entries.push_back({.ifindex = ifindex, .info = info});
      });
  if (!read) return std::unexpected(read.error());
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.ifindex < b.ifindex; });
  return entries;
}

Expected<std::vector<VportEntry>> MapView::vports() const {
  std::vector<VportEntry> entries;
  auto read = maps::Vports(vports_.get()).for_each([&entries](std::uint32_t id, mstack_vport info) {
    info.comm[sizeof(info.comm) - 1] = '\0';
    entries.push_back({.id = id, .info = info});
  });
  if (!read) return std::unexpected(read.error());
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  return entries;
}

Expected<std::vector<ClaimEntry>> MapView::claims() const {
  std::vector<ClaimEntry> entries;
  auto read = maps::Claims(claims_.get()).for_each([&entries](const mstack_tuple& tuple, const mstack_claim& claim) {
    entries.push_back({.tuple = tuple, .claim = claim});
  });
  if (!read) return std::unexpected(read.error());
  // All of a tuple is in wire order, so its bytes sort as its address, port and protocol do.
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return std::memcmp(&a.tuple, &b.tuple, sizeof(a.tuple)) < 0; });
  return entries;
}

Expected<maps::VerdictCounts> MapView::counters() const {
  return maps::read_counters(counters_.get());
}

Expected<mstack_vport_stats> MapView::vport_stats(std::uint32_t slot) const {
  return maps::read_vport_stats(vport_stats_.get(), slot);
}

}  // namespace mstack
