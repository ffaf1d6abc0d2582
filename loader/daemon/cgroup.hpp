// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <string>

#include "fd.hpp"
#include "mstack/error.hpp"

namespace mstack::daemon {

// The cgroup whose processes' sockets the hooks see.
struct Cgroup {
  std::string path;
  Fd fd;
  std::uint64_t id = 0;

  // `path` empty: the root of the cgroup2 hierarchy, wherever that is mounted.
  static Expected<Cgroup> open(const std::string& path);
};

}  // namespace mstack::daemon
