// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <CLI/CLI.hpp>
#include <string>

// For options of an unsigned type: CLI11 reads -1 as the largest number there is.
inline const CLI::Validator not_negative(
    [](std::string& number) {
      return number.starts_with('-') ? number + " is negative: give 0 or more" : std::string();
    },
    "");
