// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <cstdlib>
#include <random>

namespace mstack::test {

// Of everything random in a test, which prints it: MSTACK_SEED in the environment runs the same again.
inline std::uint64_t seed() {
  if (const char* given = std::getenv("MSTACK_SEED")) return std::strtoull(given, nullptr, 0);
  return std::random_device{}();
}

}  // namespace mstack::test
