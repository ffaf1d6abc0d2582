// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "protocol.hpp"

namespace mstack::cli {

struct Verb;

// What the command line asked for.
struct Options {
  const Verb* verb = nullptr;
  std::string run_dir, pin_dir;
  bool json = false;
  std::string interface;                                  // of attach and detach
  protocol::XdpMode mode = protocol::XdpMode::automatic;  // of attach
  bool chain = false;                                     // of attach
  std::optional<std::uint32_t> vport;                     // of stats
  std::vector<std::string> interfaces;                    // of doctor
  std::string cgroup;                                     // of doctor; empty for the whole hierarchy
};

// A command line that asks for no verb: what to print, and the exit status. 0: --help or --version, for stdout;
// 2: a usage error, one line for stderr.
struct Answer {
  std::string text;
  int exit_status;
};

std::expected<Options, Answer> parse_options(int argc, const char* const* argv);

}  // namespace mstack::cli
