// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <ctime>
#include <string>

namespace http {

// "Sun, 06 Nov 1994 08:49:37 GMT", whatever the locale.
std::string date(std::time_t time);

}  // namespace http
