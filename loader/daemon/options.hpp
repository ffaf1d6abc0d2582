// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "daemon/log.hpp"
#include "daemon/quota.hpp"
#include "mstack_abi.h"
#include "protocol.hpp"

namespace mstack::daemon {

struct Options {
  std::vector<std::string> uplinks;
  std::string run_dir, pin_dir, cgroup;  // cgroup: empty for the whole hierarchy
  protocol::XdpMode xdp_mode = protocol::XdpMode::automatic;
  log::Level log_level = log::Level::info;
  bool chain = false;
  bool keep = false;
  bool send_fragments = false;
  bool guard = true;
  std::string group;  // empty: every user may connect
  std::uint32_t claims = MSTACK_DEFAULT_CLAIMS;
  Quota quota;
};

// What the command line says; or, if it was answered (--help) or refused on stderr, the exit status.
std::expected<Options, int> parse_options(int argc, const char* const* argv);

}  // namespace mstack::daemon
