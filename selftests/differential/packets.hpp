// SPDX-License-Identifier: BSD-2-Clause
// The layers of a frame, each random and each right.
#pragma once

#include <optional>

#include "draft.hpp"
#include "model/packet.hpp"
#include "random.hpp"

namespace differential {

// A part of a datagram, from `offset` on.
struct Cut {
  std::uint32_t id = 0;
  std::size_t offset = 0;
  bool more = false;
};

// An IP header, its options or extension headers, and behind them `message` of `protocol`.
struct Envelope {
  model::Address from;
  model::Address to;
  std::uint8_t protocol = 0;
  model::Direction direction = model::Direction::received;
  std::optional<Cut> cut = {};
};
void add_ip_packet(Random& random, Draft& draft, const Envelope& envelope, const Draft& message);

// What a packet of the protocol carries: with ports where it has them, else a few bytes.
Draft message_of(Random& random, std::uint8_t protocol, std::uint16_t from, std::uint16_t to);

void add_arp(Random& random, Draft& draft);
// The ICMPv6 message of a neighbour solicitation.
Draft solicitation(Random& random);

}  // namespace differential
