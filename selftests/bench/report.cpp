// SPDX-License-Identifier: BSD-2-Clause
#include "report.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace mstack::bench {
namespace {

struct Machine {
  std::string date, kernel, cpu;
  long cpus = 0;
  std::vector<std::string> mitigations;  // those that make calls in the kernel dear
};

std::string first_line(const std::string& path) {
  std::string line;
  std::ifstream in(path);
  std::getline(in, line);
  return line;
}

std::string cpu_model() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown CPU";
}

Machine machine() {
  utsname name = {};
  ::uname(&name);
  Machine machine = {.date = fmt::format("{:%Y-%m-%d}", fmt::gmtime(std::time(nullptr))),
                     .kernel = name.release,
                     .cpu = cpu_model(),
                     .cpus = ::sysconf(_SC_NPROCESSORS_ONLN),
                     .mitigations = {}};
  const std::string directory = "/sys/devices/system/cpu/vulnerabilities/";
  for (const char* vulnerability : {"spec_rstack_overflow", "retbleed", "spectre_v2", "gather_data_sampling"}) {
    const std::string state = first_line(directory + vulnerability);
    if (!state.empty() && state != "Not affected") machine.mitigations.push_back(vulnerability + (": " + state));
  }
  return machine;
}

double median_of(std::vector<double> values) {
  if (values.empty()) return std::nan("");
  std::ranges::sort(values);
  const std::size_t half = values.size() / 2;
  return values.size() % 2 != 0 ? values[half] : (values[half - 1] + values[half]) / 2;
}

std::vector<double> ratios(const Row& row) {
  std::vector<double> values;
  const std::size_t rounds = std::min(row.measured.rounds.size(), row.against->rounds.size());
  for (std::size_t i = 0; i < rounds; ++i) values.push_back(row.measured.rounds[i] / row.against->rounds[i]);
  return values;
}

std::string figure(double value, const std::string& unit) {
  const int digits = value >= 1000 ? 0 : value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return fmt::format("{:.{}f} {}", value, digits, unit);
}

std::string named(const Series& series) {
  return series.name + ": " + figure(series.median(), series.unit);
}

std::string line_of(const Row& row) {
  std::string measured = named(row.measured);
  for (const Series& series : row.also) measured += ", " + named(series);
  if (!row.against) return fmt::format("| {} | {} | | | {} |\n", row.what, measured, row.aim);
  const std::vector<double> each = ratios(row);
  const auto [least, most] = std::ranges::minmax(each);
  return fmt::format("| {} | {} | {}: {} | **{:.2f}** ({:.2f}-{:.2f}) | {} |\n", row.what, measured, row.against->name,
                     figure(row.against->median(), row.against->unit), median_of(each), least, most, row.aim);
}

nlohmann::json json_of(const Series& series) {
  return {{"name", series.name}, {"unit", series.unit}, {"median", series.median()}, {"rounds", series.rounds}};
}

}  // namespace

double Series::median() const {
  return median_of(rounds);
}

std::string machine_line() {
  const Machine here = machine();
  std::string text = fmt::format("{}, Linux {}, {} x {}", here.date, here.kernel, here.cpus, here.cpu);
  for (const std::string& mitigation : here.mitigations) text += "; " + mitigation;
  return text;
}

std::string Report::markdown(const std::string& command) const {
  std::string text =
      machine_line() + fmt::format(".\n`{}`; ratios are medians of the rounds' ratios (least-most).\n\n", command);
  text += "| what | measured | against | ratio | aim |\n|---|---|---|---|---|\n";
  for (const Row& row : rows_) text += line_of(row);
  text += '\n';
  for (const std::string& note : notes_) text += "- " + note + '\n';
  return text;
}

std::string Report::json(const std::string& command) const {
  const Machine here = machine();
  nlohmann::json out = {{"date", here.date},
                        {"kernel", here.kernel},
                        {"cpu", here.cpu},
                        {"cpus", here.cpus},
                        {"mitigations", here.mitigations},
                        {"command", command},
                        {"rows", nlohmann::json::array()},
                        {"notes", notes_}};
  for (const Row& row : rows_) {
    nlohmann::json one = {{"what", row.what}, {"measured", json_of(row.measured)}, {"aim", row.aim}};
    if (row.against) {
      one["against"] = json_of(*row.against);
      one["ratio"] = median_of(ratios(row));
    }
    for (const Series& series : row.also) one["also"].push_back(json_of(series));
    out["rows"].push_back(std::move(one));
  }
  return out.dump(2) + '\n';
}

}  // namespace mstack::bench
