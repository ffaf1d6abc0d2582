// SPDX-License-Identifier: BSD-2-Clause
#include "cli/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "messages.hpp"

namespace mstack::cli {

std::string printable(std::string_view text) {
  std::string shown(text);
  std::replace_if(
      shown.begin(), shown.end(), [](unsigned char c) { return c < ' ' || c >= 0x7f; }, '?');
  return shown;
}

std::string address_text(const mstack_tuple& tuple) {
  return protocol::from_wire(tuple).address.to_string();
}

std::string protocol_text(std::uint8_t protocol) {
  switch (protocol) {
    case 6: return "tcp";
    case 17: return "udp";
    case 33: return "dccp";
    case 136: return "udplite";
    default: return std::to_string(protocol);
  }
}

std::string claim_state_text(std::uint32_t state) {
  switch (state) {
    case MSTACK_CLAIM_PENDING: return "pending";
    case MSTACK_CLAIM_ACTIVE: return "active";
    case MSTACK_CLAIM_SUSPENDED: return "suspended";
    default: return std::to_string(state);
  }
}

std::string time_text(std::uint64_t nanoseconds_since_1970) {
  const auto seconds = static_cast<std::time_t>(nanoseconds_since_1970 / 1'000'000'000);
  std::tm parts = {};
  if (!gmtime_r(&seconds, &parts)) return "?";
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                     parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::string bytes_text(std::uint64_t bytes) {
  constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  std::size_t unit = 0;
  std::uint64_t scale = 1;
  while (unit + 1 < std::size(units) && bytes / scale >= 1024) {
    scale *= 1024;
    ++unit;
  }
  if (bytes % scale == 0) return fmt::format("{} {}", bytes / scale, units[unit]);
  return fmt::format("{:.1f} {}", static_cast<double>(bytes) / static_cast<double>(scale), units[unit]);
}

}  // namespace mstack::cli
