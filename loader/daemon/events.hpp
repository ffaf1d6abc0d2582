// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <memory>

#include "mstack/error.hpp"

struct ring_buffer;

namespace mstack::daemon {

// What the BPF programs tell: released claims and samples of drops. Both only go to the log.
class Events {
 public:
  static Expected<Events> open(int events_map);
  [[nodiscard]] int fd() const;
  void consume() const;

 private:
  struct Free {
    void operator()(ring_buffer* ring) const;
  };
  explicit Events(ring_buffer* ring) : ring_(ring) {}
  std::unique_ptr<ring_buffer, Free> ring_;
};

}  // namespace mstack::daemon
