// SPDX-License-Identifier: BSD-2-Clause
//
// Who runs where. Two CPUs are enough for every measurement, and more would not be used.
#pragma once

#include <vector>

namespace mstack::bench {

struct Cpus {
  unsigned kernel;               // the generator or the sender, and the softirqs that they cause
  unsigned application;          // the receiver, or the echo server
  unsigned count;                // of those that this process may use
  std::vector<unsigned> others;  // all but `kernel`, the application's first; with one CPU, that one
};
// The last two that this process may use: interrupts tend to go to the first. With one CPU, that one twice.
Cpus choose_cpus();

void pin_to(unsigned cpu);  // the calling thread

}  // namespace mstack::bench
