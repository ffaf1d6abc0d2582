// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cerrno>
#include <string>
#include <system_error>

#include "../../libmstack/src/fd.hpp"

namespace mstack::test {

using mstack::Fd;

// What a test cannot go on without: the exception ends the test with its text.
template <typename Result>
Result check(Result result, const std::string& what) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), what);
  return result;
}

}  // namespace mstack::test
