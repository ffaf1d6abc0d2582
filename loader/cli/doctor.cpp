// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <nlohmann/json.hpp>

#include "checks/machine.hpp"
#include "checks/places.hpp"
#include "cli/report.hpp"
#include "cli/verbs.hpp"

namespace mstack::cli {

Expected<Output> doctor(const Options& options) {
  const checks::Needed needed = checks::needed_of_machine();
  DoctorReport report = {.checks = needed.checks};
  report.checks.push_back(checks::cgroup_check(options.cgroup));
  report.checks.push_back(checks::pin_dir_check(options.pin_dir));
  for (checks::Check& check : checks::advice_for_machine(needed)) report.checks.push_back(std::move(check));
  for (const std::string& name : options.interfaces) {
    report.checks.push_back(checks::interface_check(name, options.pin_dir));
    if (checks::has_vlans(name)) report.checks.push_back(checks::tags_check(name));
  }
  std::string text =
      options.json ? report.json().dump(2, ' ', false, Json::error_handler_t::replace) + "\n" : report.text();
  return Output{.text = std::move(text), .good = report.good()};
}

}  // namespace mstack::cli
