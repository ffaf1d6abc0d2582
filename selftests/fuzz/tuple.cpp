// SPDX-License-Identifier: BSD-2-Clause
// Addresses, tuples and names of host ends, as people and devices write them.
#include "mstack/tuple.hpp"

#include "net/link.hpp"
#include "target.hpp"

namespace {

using fuzz::require;

void address(std::string_view text) {
  const auto parsed = mstack::Address::parse(text);
  if (!parsed) {
    require(fuzz::is_printable(parsed.error().what), "an error can be shown");
    return;
  }
  const std::string shown = parsed->to_string();
  const auto again = mstack::Address::parse(shown);
  require(again && *again == *parsed, "an address reads as it is shown");
  require(again->to_string() == shown, "and is shown so again");
}

void tuple(mstack::Protocol protocol, std::string_view text) {
  const auto parsed = mstack::Tuple::parse(protocol, text);
  if (!parsed) {
    require(fuzz::is_printable(parsed.error().what), "an error can be shown");
    return;
  }
  const auto again = mstack::Tuple::parse(protocol, parsed->to_string());
  require(again && *again == *parsed, "a tuple reads as it is shown");
}

void host_end(std::string_view text) {
  const auto name = mstack::net::parse_host_end(text);
  if (name) require(mstack::net::format_host_end(*name) == text, "one name for a host end");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::Input(data, size).text();
  address(text);
  tuple(mstack::Protocol::udp, text);
  tuple(mstack::Protocol::tcp, text);
  host_end(text);
  return 0;
}
