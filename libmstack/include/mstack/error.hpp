// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "mstack/export.hpp"

namespace mstack {

/// Why something was refused or failed. Returned by value, never thrown: no function of this library throws, except
/// std::bad_alloc where the system is out of memory.
struct Error {
  int code = 0;      ///< an errno value, never 0 in an error that is returned
  std::string what;  ///< one line for people: what was attempted, why it failed, what to do next

  bool operator==(const Error&) const = default;
};

template <class T>
using Expected = std::expected<T, Error>;

/// `return failure(EINVAL, "...")` from a function that returns an Expected.
[[nodiscard]] inline std::unexpected<Error> failure(int code, std::string what) {
  return std::unexpected(Error{.code = code, .what = std::move(what)});
}

/// The same for a system call: "ATTEMPTED: text of the errno". Pass errno itself, at once:
/// `return system_failure(errno, "bind to " + name)`.
[[nodiscard]] MSTACK_API std::unexpected<Error> system_failure(int code, std::string_view attempted);

/// The text of an errno, in any thread.
[[nodiscard]] MSTACK_API std::string error_text(int code);

}  // namespace mstack
