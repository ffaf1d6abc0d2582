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
#include "net/tag_stripping.hpp"

namespace mstack::checks {

Check cgroup_check(const std::string& path);  // empty: wherever the hierarchy is mounted
Check pin_dir_check(const std::string& path);
// Of the calling thread's network namespace. Nothing is attached. What is attached is MultiStack's if a link in the pin
// directory holds it, or if, in a chain, it uses the claims that are pinned there.
Check interface_check(const std::string& name, const std::string& pin_dir);
bool has_vlans(const std::string& name);  // VLAN devices on it
// Whether XDP sees their tags.
Check tags_check(const std::string& name);

// Why an interface is no uplink, in words that `mstack doctor` and mstackd share.
Error no_interface(const std::string& name);  // ENODEV
// EBUSY: that it has an XDP program which is not this MultiStack's. EPERM: that this user is not told whose it is.
Error foreign_program(const net::Link& link);
inline constexpr const char* no_redirect = "its driver's XDP redirects nothing";
Expected<void> may_be_uplink(const net::Link& link);  // pure: by what it is, whatever its driver and programs

// The XDP program that an interface has.
struct Occupant {
  bool chain = false;       // it calls the members of a chain; mstackd joins that
  bool multistack = false;  // it is this MultiStack's, or a member of the chain is
};

// Pure, but for what is said of a foreign program. `found` as net::xdp_features() gives it.
Check judge_interface(const net::Link& link, const Expected<std::optional<std::uint64_t>>& found, Occupant occupant);
Check judge_stripping(const std::string& name, const net::TagStripping& stripping);

}  // namespace mstack::checks
