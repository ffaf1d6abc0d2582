// SPDX-License-Identifier: BSD-2-Clause
//
// What this machine must have for MultiStack to work on it, a line each. `mstack doctor` prints them all, and mstackd
// does not start without those that are needed: both say the same words.
#pragma once

#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mstack/error.hpp"

namespace mstack::checks {

enum class State : std::uint8_t {
  good,
  warning,  // it works, but slower or with less: the text says what to do
  failed,   // it does not work
};

struct Check {
  std::string name;  // "kernel", for programs too
  State state = State::good;
  std::string text;  // what is there; if that is not good, also what to do
  int code = 0;      // errno, if failed

  bool operator==(const Check&) const = default;
};

inline Check good(std::string name, std::string text) {
  return {.name = std::move(name), .state = State::good, .text = std::move(text)};
}
inline Check warning(std::string name, std::string text) {
  return {.name = std::move(name), .state = State::warning, .text = std::move(text)};
}
inline Check failed(std::string name, const Error& error, std::string_view advice = {}) {
  std::string text = error.what;
  if (!advice.empty()) text.append(": ").append(advice);
  return {.name = std::move(name), .state = State::failed, .text = std::move(text), .code = error.code};
}

// What to do about an error: `otherwise`, unless we are not allowed to.
inline const char* advice_for(const Error& error, const char* otherwise = "") {
  return error.code == EPERM || error.code == EACCES ? "run this as root, outside of containers that take rights away"
                                                     : otherwise;
}

// The first that failed, as mstackd's reason not to start.
Expected<void> require(const std::vector<Check>& checks);

}  // namespace mstack::checks
