// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/log.hpp"

#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>

namespace mstack::log {
namespace {

struct LevelName {
  Level level;
  std::string_view name;
  std::string_view journal;  // syslog's priority, as journald reads it from the start of a line
};
constexpr std::array levels = {
    LevelName{Level::error, "error", "<3>"},
    LevelName{Level::warn, "warn", "<4>"},
    LevelName{Level::info, "info", "<6>"},
    LevelName{Level::debug, "debug", "<7>"},
};

Level threshold = Level::info;

}  // namespace

void set_level(Level level) {
  threshold = level;
}

bool enabled(Level level) {
  return level <= threshold;
}

std::optional<Level> level_of(std::string_view name) {
  for (const LevelName& candidate : levels)
    if (candidate.name == name) return candidate.level;
  return std::nullopt;
}

void write(Level level, std::string_view line) {
  if (!enabled(level)) return;
  static const bool to_journal = std::getenv("JOURNAL_STREAM") != nullptr;
  std::string text;
  if (to_journal) text += levels[static_cast<std::size_t>(level)].journal;
  text += "mstackd: ";
  for (const char c : line) text += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  text += '\n';
  // One write, so that lines of several processes do not mix. A log that cannot be written to is nobody's concern.
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace mstack::log
