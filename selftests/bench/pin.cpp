// SPDX-License-Identifier: BSD-2-Clause
#include "pin.hpp"

#include <sched.h>

#include "support/fd.hpp"

namespace mstack::bench {

using test::check;

Cpus choose_cpus() {
  cpu_set_t allowed;
  check(::sched_getaffinity(0, sizeof(allowed), &allowed), "sched_getaffinity");
  Cpus cpus = {.kernel = 0, .application = 0, .count = 0, .others = {}};
  for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    cpus.kernel = cpus.count == 0 ? cpu : cpus.application;
    cpus.application = cpu;
    ++cpus.count;
    cpus.others.insert(cpus.others.begin(), cpu);
  }
  if (cpus.count > 1) std::erase(cpus.others, cpus.kernel);
  return cpus;
}

void pin_to(unsigned cpu) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  check(::sched_setaffinity(0, sizeof(one), &one), "sched_setaffinity");
}

}  // namespace mstack::bench
