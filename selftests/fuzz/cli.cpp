// SPDX-License-Identifier: BSD-2-Clause
// The command lines of mstack and mstackd: a word a line.
#include <iostream>
#include <streambuf>
#include <string>
#include <vector>

#include "cli/options.hpp"
#include "cli/verbs.hpp"
#include "daemon/options.hpp"
#include "target.hpp"

namespace {

using fuzz::require;

// Helps and errors go nowhere.
class Nowhere : public std::streambuf {
  int_type overflow(int_type c) override { return traits_type::not_eof(c); }
};

void mstack_command(int argc, const char* const* argv) {
  const auto options = mstack::cli::parse_options(argc, argv);
  if (options) {
    require(options->verb != nullptr, "there is always something to do");
    return;
  }
  require(options.error().exit_status == 0 || options.error().exit_status == 2, "a usage error is exit status 2");
  if (options.error().exit_status == 2) {
    require(options.error().text.find('\n') == std::string::npos, "a usage error is one line");
  }
}

void mstackd(int argc, const char* const* argv) {
  const auto options = mstack::daemon::parse_options(argc, argv);
  if (!options) return require(options.error() == 0 || options.error() == 2, "a usage error is exit status 2");
  for (const std::string& name : options->uplinks) {
    require(!name.empty() && name.size() < MSTACK_IFNAMSIZ, "an uplink has an interface's name");
  }
  require(options->claims >= 1, "there can be a claim");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Nowhere nowhere;
  static const bool silent = [] {
    std::cout.rdbuf(&nowhere);
    std::cerr.rdbuf(&nowhere);
    return true;
  }();
  (void)silent;
  std::vector<std::string> words{"program"};
  for (const char c : fuzz::Input(data, size).text()) {
    if (words.size() == 1 || c == '\n') words.emplace_back();
    if (c != '\n' && c != '\0') words.back() += c;
  }
  if (words.size() > 64) return 0;
  std::vector<const char*> argv;
  for (const std::string& word : words) argv.push_back(word.c_str());
  argv.push_back(nullptr);
  mstack_command(static_cast<int>(words.size()), argv.data());
  mstackd(static_cast<int>(words.size()), argv.data());
  return 0;
}
