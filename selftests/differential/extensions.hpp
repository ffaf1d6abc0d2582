// SPDX-License-Identifier: BSD-2-Clause
// What stands between an IP header and its message.
#pragma once

#include "packets.hpp"

namespace differential {

struct Headers {
  std::uint8_t first = 0;  // what the IP header says comes next
  Draft bytes;
};

// Authentication headers, which alone IPv4 has, or none, in front of `protocol`.
Headers headers_of_ip4(Random& random, std::uint8_t protocol);
// A chain of any kinds. The fragment header of a cut is its last; what is behind that is the message's to begin with.
Headers headers_of_ip6(Random& random, const Envelope& envelope);
// Some that stand in the fragmentable part of a datagram.
Headers headers_behind_fragment(Random& random, const Envelope& envelope);

}  // namespace differential
