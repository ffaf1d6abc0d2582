// SPDX-License-Identifier: BSD-2-Clause
//
// What uplink_rx adds to a packet: measured by uplink_rx_cost, and shown with the rest.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "benches.hpp"
#include "support/process.hpp"

namespace mstack::bench {

void bench_uplink_rx(const Plan& plan, Report& report) {
  using namespace std::chrono_literals;
  const test::Completed done =
      test::run({plan.uplink_rx_cost, "--json", "--rounds", std::to_string(plan.rounds)}, {}, test::Deadline{10min});
  if (done.exit.code != 0) throw std::runtime_error("uplink_rx_cost: " + done.err);
  const auto results = nlohmann::json::parse(done.out);
  for (const auto& result : results.at("results")) {
    const std::string traffic = result.at("traffic");
    const std::string what =
        fmt::format("uplink_rx, {} {}, {} claims, {}", result.at("family").get<std::string>(), traffic,
                    result.at("claims").get<int>(), result.at("packets").get<std::string>());
    const Series cost = {
        .name = "over an empty program", .unit = "ns", .rounds = {result.at("over_empty_ns").get<double>()}};
    report.add({.what = what,
                .measured = cost,
                .aim = traffic == "claimed"     ? "25 ns or less"
                       : traffic == "unclaimed" ? "8 ns or less"
                                                : ""});
  }
  report.note(
      "uplink_rx: by BPF_PROG_TEST_RUN, so that a redirect is decided and not carried out. \"one flow\" repeats a "
      "packet, "
      "\"every flow\" goes through all claims in a random order. With mitigations that make every return of a kernel "
      "function dear (Safe RET), a hash lookup takes 30 ns where other hosts take 10.");
}

}  // namespace mstack::bench
