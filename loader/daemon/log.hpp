// SPDX-License-Identifier: BSD-2-Clause
//
// mstackd's log: one line an event, on stderr. Lines about what a single client did are `debug`, or a hostile client
// could fill the journal.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

namespace mstack::log {

enum class Level : std::uint8_t { error, warn, info, debug };

void set_level(Level level);
[[nodiscard]] bool enabled(Level level);
std::optional<Level> level_of(std::string_view name);

// Whatever would break the line or the terminal, as names from outside may, is written as '?'.
void write(Level level, std::string_view line);

template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::error, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::warn)) write(Level::warn, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::info)) write(Level::info, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::debug)) write(Level::debug, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace mstack::log
