// SPDX-License-Identifier: BSD-2-Clause
#include "cli/report.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/if_ether.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/table.hpp"
#include "cli/text.hpp"
#include "cli/verdicts.hpp"

namespace mstack::cli {
namespace {

template <std::size_t size>
std::string text_of(const char (&array)[size]) {
  return printable(std::string_view(array, static_cast<std::size_t>(std::find(array, array + size, '\0') - array)));
}

const char* mode_of(const mstack_uplink& uplink) {
  return uplink.flags & MSTACK_UPLINK_NATIVE ? "native" : "generic";
}
const char* in_chain(const mstack_uplink& uplink) {
  return uplink.flags & MSTACK_UPLINK_CHAINED ? ", chained" : "";
}
const char* path_of(const mstack_uplink& uplink) {
  return uplink.flags & MSTACK_UPLINK_XMIT ? "xdp" : "tc";
}
const char* path_of_buffers(const mstack_uplink& uplink) {
  return uplink.flags & MSTACK_UPLINK_XMIT && uplink.flags & MSTACK_UPLINK_XMIT_SG ? "xdp" : "tc";
}
const char* state_of(const mstack_uplink& uplink) {
  if (uplink.flags & MSTACK_UPLINK_GONE) return "gone";
  return uplink.flags & MSTACK_UPLINK_DOWN ? "down" : "up";
}
const char* mode_of(const mstack_vport& vport) {
  return vport.flags & MSTACK_VPORT_THROUGHPUT ? "throughput" : "latency";
}

std::string summary_of(const mstack_uplink& uplink) {
  if (uplink.flags & MSTACK_UPLINK_GONE) return "gone";
  return fmt::format("{}{}{}{}", mode_of(uplink), in_chain(uplink),
                     uplink.flags & MSTACK_UPLINK_XMIT ? "" : ", sends by TC",
                     uplink.flags & MSTACK_UPLINK_DOWN ? ", down" : "");
}

const char* text_of(std::uint16_t tag_protocol) {
  return tag_protocol == ETH_P_8021AD ? "802.1ad" : "802.1Q";
}

Json vlans_json(const std::vector<VlanEntry>& vlans, std::uint32_t uplink) {
  Json list = Json::array();
  for (const auto& [ifindex, info] : vlans) {
    if (info.vlan.uplink != uplink) continue;
    Json tags = Json::array();
    for (const mstack_tag& tag : info.vlan.tags)
      if (tag.protocol) tags.push_back({{"protocol", text_of(ntohs(tag.protocol))}, {"id", ntohs(tag.id)}});
    list.push_back({{"ifindex", ifindex}, {"name", text_of(info.name)}, {"tags", std::move(tags)}});
  }
  return list;
}

std::string vlans_text(const std::vector<VlanEntry>& vlans, std::uint32_t uplink) {
  std::string list;
  for (const auto& [ifindex, info] : vlans)
    if (info.vlan.uplink == uplink) list += (list.empty() ? "" : ", ") + text_of(info.name);
  return list.empty() ? "-" : list;
}

Json uplinks_json(const std::vector<UplinkEntry>& uplinks, const std::vector<VlanEntry>& vlans) {
  Json list = Json::array();
  for (const auto& [ifindex, info] : uplinks) {
    const bool gone = info.flags & MSTACK_UPLINK_GONE;
    list.push_back({{"ifindex", gone ? Json() : Json(ifindex)},
                    {"name", text_of(info.name)},
                    {"mode", gone ? Json() : Json(mode_of(info))},
                    {"chained", gone ? Json() : Json((info.flags & MSTACK_UPLINK_CHAINED) != 0)},
                    {"guarded", gone ? Json() : Json((info.flags & MSTACK_UPLINK_GUARDED) != 0)},
                    {"sends_by", gone ? Json() : Json(path_of(info))},
                    {"sends_buffers_by", gone ? Json() : Json(path_of_buffers(info))},
                    {"stays", (info.flags & MSTACK_UPLINK_STAYS) != 0},
                    {"state", state_of(info)},
                    {"vlans", vlans_json(vlans, ifindex)}});
  }
  return list;
}

Json counters_json(std::span<const __u64, MSTACK_VERDICT_COUNT> counts) {
  Json counters = Json::object();
  for (std::size_t i = 0; i < verdicts.size(); ++i) counters[std::string(verdicts[i].name)] = counts[i];
  return counters;
}

std::string counters_text(std::span<const __u64, MSTACK_VERDICT_COUNT> counts) {
  Table table({{"PACKETS", true}, {"VERDICT"}, {"MEANING"}});
  for (std::size_t i = 0; i < verdicts.size(); ++i)
    table.add({std::to_string(counts[i]), std::string(verdicts[i].name), std::string(verdicts[i].text)});
  return table.text();
}

std::string daemon_text(const StatusReport& report) {
  switch (report.daemon) {
    case DaemonState::running: return fmt::format("running, pid {}", report.meta.pid);
    case DaemonState::stopped:
      return "not running: stacks that run go on, new ones and new claims are refused; start mstackd";
    case DaemonState::other:
      return fmt::format("the one at {} is not that of these maps (pid {}); give --run-dir", report.run_dir,
                         report.meta.pid);
    case DaemonState::unknown:
      return fmt::format("unknown: no permission to connect to the one at {}; run mstack as root", report.run_dir);
  }
  return {};
}

}  // namespace

mstack_vport_stats sum_of(const std::vector<mstack_vport_stats>& queues) {
  mstack_vport_stats sum = {};
  for (const mstack_vport_stats& queue : queues) {
    for (std::size_t i = 0; i < MSTACK_VERDICT_COUNT; ++i) sum.packets[i] += queue.packets[i];
    sum.rx_bytes += queue.rx_bytes;
    sum.tx_bytes += queue.tx_bytes;
  }
  return sum;
}

Json StatusReport::json() const {
  const Totals totals = totals_of(counters);
  return {{"daemon", {{"state", name_of(daemon)}, {"pid", meta.pid}, {"run_dir", run_dir}}},
          {"pin_dir", pin_dir},
          {"schema", meta.schema},
          {"started", time_text(meta.started_ns)},
          {"netns_cookie", meta.netns_cookie},
          {"uplinks", uplinks_json(uplinks, vlans)},
          {"vports", vports},
          {"claims", {{"used", claims}, {"size", meta.max_claims}}},
          {"packets",
           {{"received", totals.received},
            {"sent", totals.sent},
            {"dropped", totals.dropped},
            {"to_kernel", totals.to_kernel}}}};
}

std::string StatusReport::text() const {
  const Totals totals = totals_of(counters);
  std::string list;
  for (const auto& [ifindex, info] : uplinks)
    list += fmt::format("{}{} ({})", list.empty() ? "" : ", ", text_of(info.name), summary_of(info));
  if (list.empty()) list = "none; attach one with `mstack attach IF`";
  return fmt::format(
      "mstackd   {}\n"
      "since     {}\n"
      "uplinks   {}\n"
      "vports    {}\n"
      "claims    {} of {}\n"
      "packets   {} received by stacks, {} sent by them, {} dropped, {} left to the kernel\n",
      daemon_text(*this), time_text(meta.started_ns), list, vports, claims, meta.max_claims, totals.received,
      totals.sent, totals.dropped, totals.to_kernel);
}

Json UplinksReport::json() const {
  return {{"uplinks", uplinks_json(uplinks, vlans)}};
}

std::string UplinksReport::text() const {
  if (uplinks.empty()) return "no uplink is attached; attach one with `mstack attach IF`\n";
  Table table(
      {{"UPLINK"}, {"IFINDEX", true}, {"STATE"}, {"XDP"}, {"GUARDED"}, {"SENDS BY"}, {"WHEN MSTACKD ENDS"}, {"VLANS"}});
  for (const auto& [ifindex, info] : uplinks) {
    const char* end = info.flags & MSTACK_UPLINK_STAYS ? "stays" : "is detached";
    if (info.flags & MSTACK_UPLINK_GONE)
      table.add({text_of(info.name), "-", state_of(info), "-", "-", "-", end, "-"});
    else
      table.add({text_of(info.name), std::to_string(ifindex), state_of(info),
                 std::string(mode_of(info)) + in_chain(info), info.flags & MSTACK_UPLINK_GUARDED ? "yes" : "no",
                 !(info.flags & MSTACK_UPLINK_XMIT)      ? "TC: it takes no redirected XDP frames"
                 : !(info.flags & MSTACK_UPLINK_XMIT_SG) ? "XDP, and what takes several buffers by TC"
                                                         : "XDP",
                 end, vlans_text(vlans, ifindex)});
  }
  return table.text();
}

Json VportsReport::json() const {
  Json list = Json::array();
  for (const auto& [vport, claims, stats] : vports) {
    const Totals totals = totals_of(stats.packets);
    list.push_back({{"vport", vport.id},
                    {"uid", vport.info.uid},
                    {"pid", vport.info.pid},
                    {"command", text_of(vport.info.comm)},
                    {"queues", vport.info.queues},
                    {"slot", vport.info.slot},
                    {"mode", mode_of(vport.info)},
                    {"claims", claims},
                    {"received", totals.received},
                    {"sent", totals.sent},
                    {"dropped", totals.dropped},
                    {"umem_bytes", vport.info.umem_bytes},
                    {"created", time_text(vport.info.created_ns)}});
  }
  return {{"vports", std::move(list)}};
}

std::string VportsReport::text() const {
  if (vports.empty()) return "no vport: no user-level stack runs\n";
  Table table({{"VPORT", true},
               {"UID", true},
               {"PID", true},
               {"COMMAND"},
               {"QUEUES", true},
               {"CLAIMS", true},
               {"RECEIVED", true},
               {"SENT", true},
               {"DROPPED", true},
               {"UMEM", true},
               {"MODE"},
               {"CREATED"}});
  for (const auto& [vport, claims, stats] : vports) {
    const Totals totals = totals_of(stats.packets);
    table.add({std::to_string(vport.id), std::to_string(vport.info.uid), std::to_string(vport.info.pid),
               text_of(vport.info.comm), std::to_string(vport.info.queues), std::to_string(claims),
               std::to_string(totals.received), std::to_string(totals.sent), std::to_string(totals.dropped),
               bytes_text(vport.info.umem_bytes), mode_of(vport.info), time_text(vport.info.created_ns)});
  }
  return table.text();
}

Json ClaimsReport::json() const {
  Json list = Json::array();
  for (const auto& [tuple, claim] : claims)
    list.push_back({{"address", address_text(tuple)},
                    {"port", ntohs(tuple.port)},
                    {"protocol", protocol_text(tuple.protocol)},
                    {"vport", claim.vport},
                    {"uid", claim.uid},
                    {"cookie", claim.cookie},
                    {"state", claim_state_text(claim.state)}});
  return {{"claims", std::move(list)}};
}

std::string ClaimsReport::text() const {
  if (claims.empty()) return "no claim: all ports are the kernel's\n";
  Table table({{"PROTOCOL"}, {"ADDRESS"}, {"PORT", true}, {"VPORT", true}, {"UID", true}, {"COOKIE", true}, {"STATE"}});
  for (const auto& [tuple, claim] : claims)
    table.add({protocol_text(tuple.protocol), address_text(tuple), std::to_string(ntohs(tuple.port)),
               std::to_string(claim.vport), std::to_string(claim.uid), std::to_string(claim.cookie),
               claim_state_text(claim.state)});
  return table.text();
}

namespace {
const char* name_of(checks::State state) {
  switch (state) {
    case checks::State::good: return "ok";
    case checks::State::warning: return "warning";
    case checks::State::failed: return "failed";
  }
  return "?";
}
}  // namespace

bool DoctorReport::good() const {
  return std::ranges::none_of(checks, [](const auto& check) { return check.state == checks::State::failed; });
}

Json DoctorReport::json() const {
  Json list = Json::array();
  for (const checks::Check& check : checks)
    list.push_back({{"name", check.name}, {"state", name_of(check.state)}, {"text", check.text}});
  return {{"good", good()}, {"checks", std::move(list)}};
}

std::string DoctorReport::text() const {
  Table table({{""}, {""}, {""}});
  for (const checks::Check& check : checks) table.add({name_of(check.state), check.name, check.text});
  const std::string text = table.text();
  return text.substr(text.find('\n') + 1);  // without the titles
}

Json StatsReport::json() const {
  return {{"counters", counters_json(counters)}};
}
std::string StatsReport::text() const {
  return counters_text(counters);
}

Json VportStatsReport::json() const {
  const mstack_vport_stats sum = sum_of(queues);
  Json list = Json::array();
  for (std::size_t queue = 0; queue < queues.size(); ++queue)
    list.push_back({{"queue", queue},
                    {"slot", vport.info.slot + queue},
                    {"counters", counters_json(queues[queue].packets)},
                    {"rx_bytes", queues[queue].rx_bytes},
                    {"tx_bytes", queues[queue].tx_bytes}});
  return {{"vport", vport.id},
          {"counters", counters_json(sum.packets)},
          {"rx_bytes", sum.rx_bytes},
          {"tx_bytes", sum.tx_bytes},
          {"queues", std::move(list)}};
}

std::string VportStatsReport::text() const {
  const mstack_vport_stats sum = sum_of(queues);
  std::string text = fmt::format("vport {}, uid {}, {}: {} bytes received, {} sent\n", vport.id, vport.info.uid,
                                 text_of(vport.info.comm), sum.rx_bytes, sum.tx_bytes);
  if (queues.size() > 1) {
    Table table({{"QUEUE", true},
                 {"RECEIVED", true},
                 {"SENT", true},
                 {"DROPPED", true},
                 {"RX BYTES", true},
                 {"TX BYTES", true}});
    for (std::size_t queue = 0; queue < queues.size(); ++queue) {
      const Totals totals = totals_of(queues[queue].packets);
      table.add({std::to_string(queue), std::to_string(totals.received), std::to_string(totals.sent),
                 std::to_string(totals.dropped), std::to_string(queues[queue].rx_bytes),
                 std::to_string(queues[queue].tx_bytes)});
    }
    text += "\n" + table.text() + "\n";
  }
  return text + counters_text(sum.packets);
}

}  // namespace mstack::cli
