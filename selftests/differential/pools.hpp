// SPDX-License-Identifier: BSD-2-Clause
// The addresses, ports and protocols that claims and frames are made of: those of the world, and those next to them.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "model/tuple.hpp"

namespace differential {

model::Address address(std::string_view text);

// The host's own, by interface; see World.
inline constexpr std::string_view host_addresses[] = {
    "192.0.2.1",     "203.0.113.1",   "203.0.113.129",   "198.51.100.33", "198.51.100.65",
    "198.51.100.97", "2001:db8::1",   "2001:db8:1::1",   "2001:db8:a::1", "2001:db8:2::1",
    "2001:db8:3::1", "2001:db8:4::1", "2001:db8:0:0:5::"};

struct Pools {
  std::vector<model::Address> local;  // the host's
  std::vector<model::Address> four;   // all there are of a family, the host's among them
  std::vector<model::Address> six;
  std::vector<model::Address> many_four, many_six;  // groups, and all on a link; among those above too
  std::vector<std::uint16_t> claimed_ports;
  std::vector<std::uint16_t> ports;
  std::vector<std::uint8_t> claimed_protocols;
};

const Pools& pools();

}  // namespace differential
