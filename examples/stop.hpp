// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <signal.h>

#include <atomic>

// SIGTERM and SIGINT ask the program to end: `while (!stop::asked())`. Queue::wait() returns when a signal comes.
namespace stop {

inline std::atomic<bool> flag = false;
static_assert(std::atomic<bool>::is_always_lock_free);  // or a signal handler could not use it

inline bool asked() {
  return flag.load(std::memory_order_relaxed);
}

inline void on_signals() {
  struct sigaction action = {};
  action.sa_handler = [](int) { flag.store(true, std::memory_order_relaxed); };
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
}

}  // namespace stop
