// SPDX-License-Identifier: BSD-2-Clause
//
// What mstackd is told to use: directories, a cgroup, interfaces.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "checks/check.hpp"
#include "net/link.hpp"

namespace mstack::checks {

Check cgroup_check(const std::string& path);  // empty: wherever the hierarchy is mounted
Check pin_dir_check(const std::string& path);
// Of the calling thread's network namespace. Nothing is attached.
Check interface_check(const std::string& name);

// Pure. `features` as net::xdp_features() gives them, `own_program` if the program that is attached is MultiStack's.
Check judge_interface(const net::Link& link, std::optional<std::uint64_t> features, bool own_program);

}  // namespace mstack::checks
