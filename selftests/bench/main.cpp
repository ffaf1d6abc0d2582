// SPDX-License-Identifier: BSD-2-Clause
//
// Measures MultiStack against what it stands beside: plain AF_XDP and the kernel's own sockets. Run by run.sh.
#include <fmt/format.h>
#include <fmt/os.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <exception>
#include <iostream>

#include "benches.hpp"
#include "support/sandbox.hpp"

namespace mstack::bench {
namespace {

struct Bench {
  const char* name;
  void (*run)(const Plan& plan, Report& report);
};
constexpr Bench benches[] = {{"uplink_rx", bench_uplink_rx}, {"receive", bench_receive},
                             {"transmit", bench_transmit},   {"echo", bench_echo},
                             {"echo_rate", bench_echo_rate}, {"control", bench_control}};

struct Options {
  Plan plan;
  std::vector<std::string> only;
  std::string json;
  bool quick = false;
};

std::string command_of(const Options& options) {
  std::string text = "selftests/bench/run.sh";
  if (options.quick) text += " --quick";
  if (options.plan.rounds != Plan{}.rounds) text += fmt::format(" --rounds {}", options.plan.rounds);
  for (const std::string& name : options.only) text += " --only " + name;
  return text;
}

void run(Options& options) {
  Plan& plan = options.plan;
  plan.cpus = choose_cpus();
  if (options.quick) {
    plan.warm_up = std::chrono::milliseconds(40);
    plan.window = std::chrono::milliseconds(100);
    plan.round_trips = 2000;
    plan.claims = 500;
    plan.vports = 5;
  }
  const test::Sandbox sandbox;
  Report report;
  for (const Bench& bench : benches)
    if (options.only.empty() || std::ranges::find(options.only, bench.name) != options.only.end())
      bench.run(plan, report);
  report.note(
      fmt::format("CPU {} runs the generator, the sender and the kernel's work, CPU {} the application that "
                  "receives or answers; {} can be used.",
                  plan.cpus.kernel, plan.cpus.application, plan.cpus.count));
  report.note(
      fmt::format("Other work was put in the place of a measuring thread {} times; the more often, the less the "
                  "figures say.",
                  Worker::displaced()));
  if (plan.cpus.count < 2) report.note("With one CPU everything shares it: the ratios say little.");
  std::cout << report.markdown(command_of(options));
  if (!options.json.empty()) {
    fmt::ostream file = fmt::output_file(options.json);
    file.print("{}", report.json(command_of(options)));
  }
}

}  // namespace
}  // namespace mstack::bench

int main(int argc, char** argv) {
  using namespace mstack::bench;
  Options options;
  std::vector<std::string> names;
  for (const Bench& bench : benches) names.emplace_back(bench.name);
  CLI::App app("Measures MultiStack beside plain AF_XDP and the kernel's sockets. Needs root.");
  app.add_flag("--quick", options.quick, "shorter measurements, as many rounds");
  app.add_option("--rounds", options.plan.rounds, "rounds, of which the median counts")->check(CLI::Range(1U, 1000U));
  app.add_option("--only", options.only, "this alone; may be repeated")
      ->check(CLI::IsMember(names))
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--lane", options.plan.lane, "only what is called so in the table, and no ratios: for a profiler");
  app.add_option("--json", options.json, "write every round there")->type_name("FILE");
  app.add_option("--uplink-rx-cost", options.plan.uplink_rx_cost, "the program that measures uplink_rx")->required();
  CLI11_PARSE(app, argc, argv);
  if (::geteuid() != 0) {
    std::cerr << "bench: it makes network namespaces: run it as root, sudo selftests/bench/run.sh\n";
    return 1;
  }
  try {
    run(options);
  } catch (const std::exception& error) {
    std::cerr << "bench: " << error.what() << '\n';
    return 1;
  }
}
