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

// Why an interface is no uplink, in words that `mstack doctor` and mstackd share.
Error no_interface(const std::string& name);          // ENODEV
Error foreign_program(const net::Link& link);         // EBUSY: that it has an XDP program which is not MultiStack's
Expected<void> may_be_uplink(const net::Link& link);  // pure: by what it is, whatever its driver and programs

// The XDP program that an interface has.
struct Occupant {
  bool chain = false;       // it calls the members of a chain; mstackd joins that
  bool multistack = false;  // it is MultiStack's, or a member of the chain is
};

// Pure. `features` as net::xdp_features() gives them.
Check judge_interface(const net::Link& link, std::optional<std::uint64_t> features, Occupant occupant);
Check judge_stripping(const std::string& name, const std::vector<std::string>& stripping);  // net::tag_stripping()

}  // namespace mstack::checks
