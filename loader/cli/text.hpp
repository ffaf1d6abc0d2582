// SPDX-License-Identifier: BSD-2-Clause
//
// Single values as people and programs read them. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "mstack_abi.h"

namespace mstack::cli {

// ASCII as it is, anything else as '?': what a user chose must not reach a terminal, nor JSON that must be UTF-8.
std::string printable(std::string_view text);

std::string address_text(const mstack_tuple& tuple);          // "192.0.2.1", "0.0.0.0", "2001:db8::1", "::"
std::string protocol_text(std::uint8_t protocol);             // "tcp", "udp", "udplite", "dccp", else its number
std::string claim_state_text(std::uint32_t state);            // "active", "pending", "suspended"
std::string time_text(std::uint64_t nanoseconds_since_1970);  // "2025-11-01T12:00:00Z"
std::string bytes_text(std::uint64_t bytes);                  // "8 MiB": exact, or rounded to a tenth

}  // namespace mstack::cli
