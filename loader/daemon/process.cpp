// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/process.hpp"

#include <fstream>
#include <string>

namespace mstack::daemon {

bool is_dead(pid_t pid) {
  if (pid <= 0) return false;  // we do not know of whom we speak
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string stat;
  if (!std::getline(file, stat)) return true;
  // "PID (NAME) STATE ...", and the name may have parentheses of its own.
  const auto name_end = stat.rfind(')');
  if (name_end == std::string::npos || name_end + 2 >= stat.size()) return false;
  const char state = stat[name_end + 2];
  return state == 'Z' || state == 'X';
}

}  // namespace mstack::daemon
