// SPDX-License-Identifier: BSD-2-Clause
//
// What mstackd is told to use: directories, a cgroup, interfaces.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "checks/check.hpp"
#include "net/link.hpp"

namespace mstack::checks {

Check cgroup_check(const std::string& path);  // empty: wherever the hierarchy is mounted
Check pin_dir_check(const std::string& path);
// Of the calling thread's network namespace. Nothing is attached.
Check interface_check(const std::string& name);
bool has_vlans(const std::string& name);  // VLAN devices on it
// Whether XDP sees their tags.
Check tags_check(const std::string& name);

// Pure. `features` as net::xdp_features() gives them, `own_program` if the program that is attached is MultiStack's.
Check judge_interface(const net::Link& link, std::optional<std::uint64_t> features, bool own_program);
Check judge_stripping(const std::string& name, const std::vector<std::string>& stripping);  // net::tag_stripping()

}  // namespace mstack::checks
