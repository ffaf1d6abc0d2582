// SPDX-License-Identifier: BSD-2-Clause
#include "checks/check.hpp"

#include <algorithm>

namespace mstack::checks {

Expected<void> require(const std::vector<Check>& checks) {
  const auto found = std::ranges::find(checks, State::failed, &Check::state);
  if (found == checks.end()) return {};
  return failure(found->code, found->name + ": " + found->text + " (`mstack doctor` shows all that is needed)");
}

}  // namespace mstack::checks
