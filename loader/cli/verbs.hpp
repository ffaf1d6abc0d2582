// SPDX-License-Identifier: BSD-2-Clause
//
// Every word that `mstack` knows. The nouns read the pinned maps, and nothing else; the verbs ask mstackd.
#pragma once

#include <span>
#include <string>

#include "cli/options.hpp"
#include "mstack/error.hpp"

namespace mstack::cli {

// What to print on stdout, and whether it is good news.
struct Output {
  std::string text;
  bool good = true;
};

struct Verb {
  enum class Takes : std::uint8_t { nothing, optional_vport, interface, interface_and_mode, interfaces_and_cgroup };
  const char* name;
  const char* summary;
  Takes takes;
  bool reads;  // a noun: it has --json
  Expected<Output> (*run)(const Options&);
};

std::span<const Verb> verbs();

Expected<Output> status(const Options& options);
Expected<Output> uplinks(const Options& options);
Expected<Output> vports(const Options& options);
Expected<Output> claims(const Options& options);
Expected<Output> stats(const Options& options);
Expected<Output> doctor(const Options& options);
Expected<Output> attach(const Options& options);
Expected<Output> detach(const Options& options);

}  // namespace mstack::cli
