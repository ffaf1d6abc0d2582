// SPDX-License-Identifier: BSD-2-Clause
//
// The commands that only read. None needs mstackd.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "cli/report.hpp"
#include "cli/verbs.hpp"

namespace mstack::cli {
namespace {

template <class Report>
Output print(const Report& report, const Options& options) {
  // A directory may have a name that is no UTF-8; it must not keep the rest from being shown.
  if (options.json) return {.text = report.json().dump(2, ' ', false, Json::error_handler_t::replace) + "\n"};
  return {.text = report.text()};
}

Expected<std::vector<mstack_vport_stats>> queue_stats(const MapView& view, const mstack_vport& vport) {
  std::vector<mstack_vport_stats> queues;
  for (std::uint32_t queue = 0; queue < std::min<std::uint32_t>(vport.queues, MSTACK_MAX_QUEUES); ++queue) {
    const auto stats = view.vport_stats(vport.slot + queue);
    if (!stats) return std::unexpected(stats.error());
    queues.push_back(*stats);
  }
  return queues;
}

Expected<Output> stats_of_vport(const MapView& view, std::uint32_t id, const Options& options) {
  const auto vports = view.vports();
  if (!vports) return std::unexpected(vports.error());
  const auto vport =
      std::find_if(vports->begin(), vports->end(), [id](const VportEntry& entry) { return entry.id == id; });
  if (vport == vports->end())
    return failure(ENOENT, fmt::format("there is no vport {}; `mstack vports` lists those there are", id));
  auto queues = queue_stats(view, vport->info);
  if (!queues) return std::unexpected(queues.error());
  return print(VportStatsReport{.vport = *vport, .queues = std::move(*queues)}, options);
}

}  // namespace

Expected<Output> status(const Options& options) {
  const auto view = MapView::open(options.pin_dir);
  if (!view) return std::unexpected(view.error());
  auto uplink_list = view->uplinks();
  if (!uplink_list) return std::unexpected(uplink_list.error());
  auto vlan_list = view->vlans();
  if (!vlan_list) return std::unexpected(vlan_list.error());
  const auto vport_list = view->vports();
  if (!vport_list) return std::unexpected(vport_list.error());
  const auto claim_list = view->claims();
  if (!claim_list) return std::unexpected(claim_list.error());
  const auto counters = view->counters();
  if (!counters) return std::unexpected(counters.error());
  return print(StatusReport{.daemon = probe_daemon(options.run_dir, view->meta().pid),
                            .run_dir = options.run_dir,
                            .pin_dir = options.pin_dir,
                            .meta = view->meta(),
                            .uplinks = std::move(*uplink_list),
                            .vlans = std::move(*vlan_list),
                            .vports = vport_list->size(),
                            .claims = claim_list->size(),
                            .counters = *counters},
               options);
}

Expected<Output> uplinks(const Options& options) {
  const auto view = MapView::open(options.pin_dir);
  if (!view) return std::unexpected(view.error());
  auto list = view->uplinks();
  if (!list) return std::unexpected(list.error());
  auto vlan_list = view->vlans();
  if (!vlan_list) return std::unexpected(vlan_list.error());
  return print(UplinksReport{.uplinks = std::move(*list), .vlans = std::move(*vlan_list)}, options);
}

Expected<Output> vports(const Options& options) {
  const auto view = MapView::open(options.pin_dir);
  if (!view) return std::unexpected(view.error());
  const auto list = view->vports();
  if (!list) return std::unexpected(list.error());
  const auto claim_list = view->claims();
  if (!claim_list) return std::unexpected(claim_list.error());
  std::map<std::uint32_t, std::uint64_t> claims_of;
  for (const ClaimEntry& entry : *claim_list) ++claims_of[entry.claim.vport];

  VportsReport report;
  for (const VportEntry& entry : *list) {
    const auto queues = queue_stats(*view, entry.info);
    if (!queues) return std::unexpected(queues.error());
    report.vports.push_back({.vport = entry, .claims = claims_of[entry.id], .stats = sum_of(*queues)});
  }
  return print(report, options);
}

Expected<Output> claims(const Options& options) {
  const auto view = MapView::open(options.pin_dir);
  if (!view) return std::unexpected(view.error());
  auto list = view->claims();
  if (!list) return std::unexpected(list.error());
  return print(ClaimsReport{.claims = std::move(*list)}, options);
}

Expected<Output> stats(const Options& options) {
  const auto view = MapView::open(options.pin_dir);
  if (!view) return std::unexpected(view.error());
  if (options.vport) return stats_of_vport(*view, *options.vport, options);
  const auto counters = view->counters();
  if (!counters) return std::unexpected(counters.error());
  return print(StatsReport{.counters = *counters}, options);
}

}  // namespace mstack::cli
