// SPDX-License-Identifier: BSD-2-Clause
//
// The pinned maps as the nouns of `mstack` see them: opened to read, checked before they are trusted, and needing no
// daemon.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fd.hpp"
#include "maps.hpp"
#include "mstack/error.hpp"

namespace mstack {

// Where the maps are pinned: what was asked for, else MSTACK_PIN_DIR, else /sys/fs/bpf/mstack.
std::string pin_directory(std::string_view asked = {});

struct UplinkEntry {
  std::uint32_t ifindex;
  mstack_uplink info;
};
struct VlanEntry {
  std::uint32_t ifindex;
  mstack_vlan_device info;
};
struct VportEntry {
  std::uint32_t id;
  mstack_vport info;
};
struct ClaimEntry {
  mstack_tuple tuple;
  mstack_claim claim;
};

// Why the maps could not be opened, for the user. `code` is the errno, `detail` what was found, `is_bpffs` whether the
// directory is one of a BPF file system (as a missing directory is not, nor any that cannot be examined). Pure.
Error explain_open_failure(int code, const std::string& detail, const std::string& pin_dir, bool is_bpffs);

class MapView {
 public:
  // Every error is a whole sentence for the user: what, why, and what to do.
  static Expected<MapView> open(const std::string& pin_dir);

  [[nodiscard]] const std::string& pin_dir() const { return pin_dir_; }
  [[nodiscard]] const mstack_meta& meta() const { return meta_; }
  [[nodiscard]] Expected<std::vector<UplinkEntry>> uplinks() const;  // by ifindex
  [[nodiscard]] Expected<std::vector<VlanEntry>> vlans() const;      // by ifindex
  [[nodiscard]] Expected<std::vector<VportEntry>> vports() const;    // by id
  [[nodiscard]] Expected<std::vector<ClaimEntry>> claims() const;    // by address, port, protocol
  [[nodiscard]] Expected<maps::VerdictCounts> counters() const;
  [[nodiscard]] Expected<mstack_vport_stats> vport_stats(std::uint32_t slot) const;

 private:
  MapView() = default;
  std::string pin_dir_;
  mstack_meta meta_ = {};
  Fd claims_, vports_, uplink_info_, vlan_devices_, counters_, vport_stats_;
};

}  // namespace mstack
