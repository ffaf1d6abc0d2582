// SPDX-License-Identifier: BSD-2-Clause
#include "run_dir.hpp"

#include <cstdlib>

#include "protocol.hpp"

namespace mstack {

std::string run_directory(std::string_view asked) {
  if (!asked.empty()) return std::string(asked);
  // secure_: a set-user-id program must not be led to another daemon by whoever started it.
  const char* environment = secure_getenv("MSTACK_RUN_DIR");
  return environment && *environment ? environment : "/run/mstack";
}

std::string socket_path(std::string_view run_dir) {
  return std::string(run_dir) + "/" + protocol::socket_name;
}

}  // namespace mstack
