// SPDX-License-Identifier: BSD-2-Clause
//
// What uplink_rx adds to a packet: measured by uplink_rx_cost, and shown with the rest.
#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <tuple>

#include "benches.hpp"
#include "support/process.hpp"

namespace mstack::bench {

void bench_uplink_rx(const Plan& plan, Report& report) {
  const test::Completed done = test::run({plan.uplink_rx_cost, "--json", "--rounds", std::to_string(plan.rounds)}, {},
                                         test::Deadline{std::chrono::minutes(10)});
  if (done.exit.code != 0) throw std::runtime_error("uplink_rx_cost: " + done.err);
  const auto results = nlohmann::json::parse(done.out);
  const auto text = [](const nlohmann::json& result, const char* key) { return result.at(key).get<std::string>(); };

  // Traffic, family, order of the packets > a series for each number of claims.
  std::map<std::tuple<std::string, std::string, std::string>, std::vector<Series>> rows;
  for (const auto& result : results.at("results"))
    rows[{text(result, "traffic"), text(result, "family"), text(result, "packets")}].push_back(
        {.name = fmt::format("{} claims", result.at("claims").get<int>()),
         .unit = "ns",
         .rounds = result.at("over_empty_ns_of_rounds").get<std::vector<double>>()});
  for (auto& [key, series] : rows) {
    const auto& [traffic, family, packets] = key;
    const std::string what = fmt::format("uplink_rx over an empty program, {}, {}, {}", traffic, family, packets);
    const std::string aim = traffic == "claimed"     ? "25 ns or less, and flat"
                            : traffic == "unclaimed" ? "8 ns or less, and flat"
                                                     : "";
    Row row = {.what = what, .measured = series.front(), .aim = aim};
    row.also.assign(series.begin() + 1, series.end());
    report.add(std::move(row));
  }
  report.note(
      "uplink_rx: by BPF_PROG_TEST_RUN, so that a redirect is decided and not carried out. Packets come in bursts of a "
      "flow, or mixed: each of another flow, over all claims in a random order, the worst for the caches. With "
      "mitigations that make every return of a kernel function dear (Safe RET), a hash lookup takes 20 to 30 ns, where "
      "other hosts take 10.");
}

}  // namespace mstack::bench
