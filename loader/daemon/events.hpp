// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <memory>

#include "mstack/error.hpp"

struct ring_buffer;

namespace mstack::daemon {

// What the BPF programs tell: released claims and samples of drops. Both only go to the log, and of drops, which a
// client makes at will, no more than a few. So many lines at once, and one more each second.
class LogBudget {
 public:
  static constexpr std::uint64_t burst = 10;
  // Whether a line may be written at this time (in seconds, of a clock that never goes back).
  bool spend(std::uint64_t now);

 private:
  std::uint64_t left_ = burst, since_ = 0;
};

class Events {
 public:
  static Expected<Events> open(int events_map);
  [[nodiscard]] int fd() const;
  void consume() const;

 private:
  struct Free {
    void operator()(ring_buffer* ring) const;
  };
  Events() = default;
  std::unique_ptr<LogBudget> budget_ = std::make_unique<LogBudget>();  // where libbpf finds it
  std::unique_ptr<ring_buffer, Free> ring_;
};

}  // namespace mstack::daemon
