// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <string>

namespace mstack::cli {

// Whether an mstackd serves the maps that were last written by the process `pid`.
enum class DaemonState {
  running,
  stopped,  // nobody listens; what is pinned works on without it
  other,    // an mstackd listens there, but not this one
  unknown,  // no permission to ask
};
const char* name_of(DaemonState state);

// By connecting to its socket: a pid may be reused, and a lock file cannot be looked at without taking it.
DaemonState probe_daemon(const std::string& run_dir, std::uint32_t pid);

// Pure: the errno of connecting (0: none) and who listens (0: not known, as in another pid namespace).
DaemonState judge_daemon(int connect_error, std::uint32_t listener, std::uint32_t pid);

}  // namespace mstack::cli
