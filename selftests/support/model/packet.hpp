// SPDX-License-Identifier: BSD-2-Clause
// What a receiver reads out of a frame, layer by layer. The first thing wrong in the order of the wire is the reason.
#pragma once

#include <cstdint>
#include <expected>

#include "tuple.hpp"

namespace model {

enum class Reason {
  not_ip,
  arp,
  malformed,
  fragment,
  too_many_headers,
  source_routed,
  protocol,
};

enum class Direction { received, transmitted };

// An Ethernet frame.
struct Link {
  std::uint16_t type = 0;
  View payload;  // padding included
};

// An IP packet whose headers, up to the one that says what it is for, are all as they should be.
struct Network {
  Address source;
  Address destination;
  std::uint8_t hop_limit = 0;
  std::uint8_t protocol = 0;
  bool has_extensions = false;
  View packet;   // from the IP header to the end that it says, without padding
  View message;  // what the headers enclose
};

struct Ports {
  std::uint16_t source = 0;
  std::uint16_t destination = 0;
};

struct Packet {
  Tuple source;
  Tuple destination;
  Network network;
};

inline constexpr std::uint16_t type_ip4 = 0x0800;
inline constexpr std::uint16_t type_arp = 0x0806;
inline constexpr std::uint16_t type_ip6 = 0x86dd;

inline constexpr std::uint8_t protocol_tcp = 6;
inline constexpr std::uint8_t protocol_udp = 17;
inline constexpr std::uint8_t protocol_icmp6 = 58;

// How many IPv4 options, or IPv6 extension headers, are looked at before the packet is refused.
inline constexpr unsigned headers_walked = 6;

std::expected<Link, Reason> read_link(View frame);
std::expected<Network, Reason> read_ip4(View rest);
std::expected<Network, Reason> read_ip6(View rest, Direction direction);
std::expected<Network, Reason> read_network(const Link& link, Direction direction);
std::expected<Ports, Reason> read_ports(std::uint8_t protocol, View message);
std::expected<Packet, Reason> read_packet(const Network& network);

}  // namespace model
