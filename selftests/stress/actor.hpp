// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "support/process.hpp"

namespace mstack::test {

// What a process of the stress test does: the things that a stack does, in any order, at random, until it is told
// "stop", ends itself or is killed. What it sends from a tuple that it has claimed says so, and what it sends from
// others' says that too.
struct ActorOptions {
  std::string run_dir;
  std::uint64_t seed;
  unsigned index;  // below 32; its ports are its own
};

inline constexpr std::string_view valid_mark = "valid from ", spoof_mark = "spoof from ";
inline constexpr std::uint16_t ports_of_actor = 1000, first_port_of_actors = 10000;

int act(const ActorOptions& options, Channel& channel);

}  // namespace mstack::test
