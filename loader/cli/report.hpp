// SPDX-License-Identifier: BSD-2-Clause
//
// What the nouns print: made from what was read, with no system call, as JSON or as text for people. The keys of the
// JSON are an interface: add some, change none. mstack.1 describes them.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "checks/check.hpp"
#include "cli/daemon_state.hpp"
#include "map_view.hpp"
#include "maps.hpp"

namespace mstack::cli {

using Json = nlohmann::ordered_json;

struct StatusReport {
  DaemonState daemon = DaemonState::unknown;
  std::string run_dir, pin_dir;
  mstack_meta meta = {};
  std::vector<UplinkEntry> uplinks;
  std::vector<VlanEntry> vlans = {};
  std::size_t vports = 0, claims = 0;
  maps::VerdictCounts counters = {};

  [[nodiscard]] Json json() const;
  [[nodiscard]] std::string text() const;
};

struct UplinksReport {
  std::vector<UplinkEntry> uplinks;
  std::vector<VlanEntry> vlans = {};
  [[nodiscard]] Json json() const;
  [[nodiscard]] std::string text() const;
};

struct VportsReport {
  struct Row {
    VportEntry vport = {};
    std::uint64_t claims = 0;
    mstack_vport_stats stats = {};  // of all its queues
  };
  std::vector<Row> vports;
  [[nodiscard]] Json json() const;
  [[nodiscard]] std::string text() const;
};

struct ClaimsReport {
  std::vector<ClaimEntry> claims;
  [[nodiscard]] Json json() const;
  [[nodiscard]] std::string text() const;
};

struct StatsReport {
  maps::VerdictCounts counters = {};
  [[nodiscard]] Json json() const;
  [[nodiscard]] std::string text() const;
};

struct VportStatsReport {
  VportEntry vport = {};
  std::vector<mstack_vport_stats> queues;
  [[nodiscard]] Json json() const;
  [[nodiscard]] std::string text() const;
};

struct DoctorReport {
  std::vector<checks::Check> checks;
  [[nodiscard]] bool good() const;  // nothing that is needed is missing
  [[nodiscard]] Json json() const;
  [[nodiscard]] std::string text() const;
};

// Of several queues, all together.
mstack_vport_stats sum_of(const std::vector<mstack_vport_stats>& queues);

}  // namespace mstack::cli
