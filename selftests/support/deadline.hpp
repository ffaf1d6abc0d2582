// SPDX-License-Identifier: BSD-2-Clause
//
// Everything that a test waits for has a deadline. A deadline only says when to give up: no test passes or fails by
// how long something took, so it is generous.
#pragma once

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <concepts>
#include <cstdlib>

namespace mstack::test {

using namespace std::chrono_literals;

// MSTACK_TEST_PATIENCE, in seconds, for machines that are slow.
inline std::chrono::seconds patience_of_environment() {
  const char* seconds = std::getenv("MSTACK_TEST_PATIENCE");
  return seconds != nullptr ? std::chrono::seconds{std::atoi(seconds)} : 20s;
}
inline const std::chrono::milliseconds patience = patience_of_environment();

class Deadline {
 public:
  explicit Deadline(std::chrono::milliseconds from_now = patience) : end_(Clock::now() + from_now) {}
  bool passed() const { return Clock::now() >= end_; }
  // What is left, for poll().
  int left() const {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end_ - Clock::now()).count();
    return static_cast<int>(std::clamp<std::int64_t>(left, 0, 1'000'000));
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point end_;
};

// Waits until one of the events can be had of the descriptor; false when the deadline comes first.
inline bool wait_for(int fd, short events, const Deadline& deadline) {
  for (;;) {
    pollfd entry{.fd = fd, .events = events, .revents = 0};
    const int ready = ::poll(&entry, 1, deadline.left());
    if (ready > 0) return true;
    if (ready == 0 && deadline.passed()) return false;
    if (ready < 0 && errno != EINTR) return false;
  }
}

// For state that announces itself nowhere, such as a pinned map: looks every two milliseconds.
bool eventually(std::predicate auto holds, const Deadline& deadline = Deadline{}) {
  for (;;) {
    if (holds()) return true;
    if (deadline.passed()) return false;
    ::poll(nullptr, 0, 2);
  }
}

}  // namespace mstack::test
