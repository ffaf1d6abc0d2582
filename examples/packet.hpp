// SPDX-License-Identifier: BSD-2-Clause
//
// UDP and TCP over IPv4 and IPv6, as far as the examples need it: to read an Ethernet frame, and to write one.
#pragma once

#include <cstdint>
#include <mstack/mstack.hpp>
#include <optional>
#include <span>

namespace packet {

struct Packet {
  mstack::Tuple source, destination;
  bool ipv6 = false;
  std::span<std::uint8_t> ip;       // the IP header, options included
  std::span<std::uint8_t> segment;  // the UDP or TCP header and what follows, without the Ethernet padding
  std::span<std::uint8_t> payload;
  std::size_t frame_size = 0;  // without the padding
};

// Nothing if the frame is not a whole UDP or TCP packet. Fragments and IPv6 extension headers are not looked into:
// an application that expects them puts the former together, and walks the latter. Of a packet of several frames: the
// first one, with all headers, and the bytes of the others. Segment and payload are then what is in the first.
std::optional<Packet> parse(std::span<std::uint8_t> frame, std::size_t further = 0);
std::optional<Packet> parse(std::span<const mstack::Frame> frames);

// Makes the packet its own answer: addresses and ports change places. Checksums over both stay right; a fresh hop limit
// is set, and the IPv4 header's checksum with it. MACs may stay as they are: MultiStack writes them.
void turn_round(Packet& packet);

// The smallest frame of this kind: all its headers, no payload.
std::size_t headers_size(const mstack::Tuple& source);

// Writes a frame of frame.size() bytes, at least headers_size(): all headers with right checksums. The payload is what
// is there already. Both tuples must be of one protocol and one family.
void write(std::span<std::uint8_t> frame, const mstack::Tuple& source, const mstack::Tuple& destination);

// The Internet checksum (RFC 1071): a sum to go on with, and the final form of it.
std::uint64_t sum(std::span<const std::uint8_t> bytes, std::uint64_t before = 0);
std::uint16_t folded(std::uint64_t sum);

// Of the pseudo-header and the segment, its checksum field included: 0 if it is right.
std::uint16_t segment_checksum(const Packet& packet);

}  // namespace packet
