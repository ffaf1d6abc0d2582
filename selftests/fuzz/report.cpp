// SPDX-License-Identifier: BSD-2-Clause
// What `mstack` prints of maps that hold anything: every text can be shown on a terminal, every JSON be read.
#include "cli/report.hpp"

#include <nlohmann/json.hpp>

#include "target.hpp"

namespace {

using fuzz::Input;
using fuzz::require;

template <class Report>
void print(const Report& report) {
  require(fuzz::is_printable(report.text(), true), "a text can be shown");
  const std::string text = report.json().dump();
  require(fuzz::is_printable(text), "JSON can be shown");
  require(nlohmann::ordered_json::accept(text), "JSON can be read");
}

template <class Entry>
std::vector<Entry> some(Input& input) {
  std::vector<Entry> entries(input.take<std::uint8_t>() % 4);
  for (Entry& entry : entries) entry = input.take<Entry>();
  return entries;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  switch (input.take<std::uint8_t>() % 6) {
    case 0: {
      mstack::cli::StatusReport report;
      report.run_dir = "/run/mstack";
      report.daemon = static_cast<mstack::cli::DaemonState>(input.take<std::uint8_t>() % 4);
      report.meta = input.take<mstack_meta>();
      report.uplinks = some<mstack::UplinkEntry>(input);
      report.vports = input.take<std::size_t>();
      report.claims = input.take<std::size_t>();
      report.counters = input.take<mstack::maps::VerdictCounts>();
      print(report);
      break;
    }
    case 1: print(mstack::cli::UplinksReport{.uplinks = some<mstack::UplinkEntry>(input)}); break;
    case 2: print(mstack::cli::VportsReport{.vports = some<mstack::cli::VportsReport::Row>(input)}); break;
    case 3: print(mstack::cli::ClaimsReport{.claims = some<mstack::ClaimEntry>(input)}); break;
    case 4: print(mstack::cli::StatsReport{.counters = input.take<mstack::maps::VerdictCounts>()}); break;
    default: {
      mstack::cli::VportStatsReport report{.vport = input.take<mstack::VportEntry>(), .queues = {}};
      report.queues = some<mstack_vport_stats>(input);
      print(report);
    }
  }
  return 0;
}
