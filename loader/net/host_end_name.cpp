// SPDX-License-Identifier: BSD-2-Clause
#include <charconv>

#include "mstack_abi.h"
#include "net/link.hpp"

namespace mstack::net {
namespace {

constexpr std::string_view prefix = "ms";

// A number as format_host_end() writes it: no sign, no leading zero.
bool take_number(std::string_view& text, std::uint32_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return false;
  const auto length = static_cast<std::size_t>(end - text.data());
  if (length > 1 && text.front() == '0') return false;
  text.remove_prefix(length);
  return true;
}

}  // namespace

std::string format_host_end(HostEndName name) {
  return std::string(prefix) + std::to_string(name.vport) + "q" + std::to_string(name.queue);
}

std::optional<HostEndName> parse_host_end(std::string_view name) {
  HostEndName parsed = {};
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  if (!take_number(name, parsed.vport) || !name.starts_with('q')) return std::nullopt;
  name.remove_prefix(1);
  if (!take_number(name, parsed.queue) || !name.empty() || parsed.queue >= MSTACK_MAX_QUEUES) return std::nullopt;
  return parsed;
}

}  // namespace mstack::net
