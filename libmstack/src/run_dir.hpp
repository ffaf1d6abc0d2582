// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <string>
#include <string_view>

namespace mstack {

// Where mstackd's socket is: what was asked for, else MSTACK_RUN_DIR, else /run/mstack.
std::string run_directory(std::string_view asked = {});
std::string socket_path(std::string_view run_dir);

}  // namespace mstack
