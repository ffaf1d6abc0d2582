// SPDX-License-Identifier: BSD-2-Clause
#include "cpu_time.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

namespace mstack::bench {

double busy_seconds(unsigned cpu) {
  const std::chrono::duration<double> now = std::chrono::steady_clock::now().time_since_epoch();
  const std::string name = fmt::format("cpu{}", cpu);
  std::ifstream in("/proc/stat");
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string first;
    double user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0;
    if (words >> first && first == name && words >> user >> nice >> system >> idle >> iowait >> irq >> softirq >> steal)
      return now.count() - (idle + iowait + steal) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  }
  throw std::runtime_error("no " + name + " in /proc/stat");
}

double task_seconds(std::span<const pid_t> tasks) {
  double sum = 0;
  for (const pid_t task : tasks) {
    double nanoseconds = 0;
    if (!(std::ifstream(fmt::format("/proc/{}/schedstat", task)) >> nanoseconds))
      throw std::runtime_error(fmt::format("cannot read /proc/{}/schedstat", task));
    sum += nanoseconds / 1e9;
  }
  return sum;
}

}  // namespace mstack::bench
