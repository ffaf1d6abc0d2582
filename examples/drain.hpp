// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <chrono>
#include <cstddef>
#include <mstack/queue.hpp>

#include "stop.hpp"

// The claim ends with the program, and with it what is still on its way: waits for that, until a signal comes. Returns
// how many frames are left.
inline mstack::Expected<std::size_t> drain(mstack::Queue& queue) {
  for (;;) {
    const auto left = queue.drain(std::chrono::milliseconds(100));
    if (!left || *left == 0 || stop::asked()) return left;
  }
}
