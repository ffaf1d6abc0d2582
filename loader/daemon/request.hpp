// SPDX-License-Identifier: BSD-2-Clause
//
// Is a message a whole request? No system calls: given the bytes and the number of descriptors that came with them.
#pragma once

#include <cstddef>
#include <span>

#include "protocol.hpp"

namespace mstack::daemon {

inline constexpr std::size_t largest_request = sizeof(protocol::Release);

// Why it is none of this version of the protocol, for the log; nullptr: it is of a known type, has that type's size and
// number of descriptors, and says no more tuples than it holds. What the numbers in it mean is the service's to check.
const char* fault_of(std::span<const std::byte> message, std::size_t descriptors);

}  // namespace mstack::daemon
