// SPDX-License-Identifier: BSD-2-Clause
//
// Every word that `mstack` knows. The nouns read the pinned maps, and nothing else; the verbs ask mstackd.
#pragma once

#include <span>
#include <string>

#include "cli/options.hpp"
#include "mstack/error.hpp"

namespace mstack::cli {

struct Verb {
  enum class Takes : std::uint8_t { nothing, optional_vport, interface, interface_and_mode };
  const char* name;
  const char* summary;
  Takes takes;
  bool reads;                                    // a noun: it has --json
  Expected<std::string> (*run)(const Options&);  // what to print
};

std::span<const Verb> verbs();

Expected<std::string> status(const Options& options);
Expected<std::string> uplinks(const Options& options);
Expected<std::string> vports(const Options& options);
Expected<std::string> claims(const Options& options);
Expected<std::string> stats(const Options& options);
Expected<std::string> attach(const Options& options);
Expected<std::string> detach(const Options& options);

}  // namespace mstack::cli
