// SPDX-License-Identifier: BSD-2-Clause
// What a receiver reads out of a frame, layer by layer. The first thing wrong in the order of the wire is the reason.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>

#include "tuple.hpp"

namespace model {

enum class Reason {
  tagged,  // for no VLAN that there is
  not_ip,
  arp,
  malformed,
  fragment,  // of a fragment
  too_many_headers,
  source_routed,
  protocol,
  quote,  // of an ICMP error, which does not say whose it is, or is not the sender's to send
};

enum class Direction { received, transmitted };

// An Ethernet frame.
struct Link {
  std::uint16_t type = 0;
  View payload;  // padding included
};

// By which a receiver puts fragments together: RFC 791, and RFC 8200, which leaves the protocol out.
struct Datagram {
  Address source;
  Address destination;
  std::uint32_t id = 0;
  std::uint8_t protocol = 0;
  friend auto operator<=>(const Datagram&, const Datagram&) = default;
};

// Where in its datagram a fragment belongs, in bytes.
struct Fragment {
  Datagram datagram;
  std::size_t offset = 0;
  std::size_t length = 0;
  bool more = false;
  bool is_sound = true;  // of IPv4: no bit is set beside that for more, and the header's checksum is right

  bool is_first() const { return offset == 0; }
};

// How much there is of what the lengths of the enclosed message speak of.
enum class Extent {
  whole,
  first_fragment,  // its header and perhaps more
  quoted,          // its first 8 bytes and perhaps more
};

// An IP packet, read as far as `message`.
struct Network {
  Address source;
  Address destination;
  std::uint8_t hop_limit = 0;
  std::uint32_t traffic = 0;  // type of service; traffic class and flow label
  std::uint8_t protocol = 0;  // what `message` begins with
  bool is_ip6 = false;
  bool has_extensions = false;  // of IPv6, or options of IPv4
  bool has_authentication = false;
  Extent extent = Extent::whole;
  std::optional<Fragment> fragment = {};
  View options;  // of IPv4
  View packet;   // from the IP header to the end that it says, without padding
  View message;

  bool is_icmp() const { return protocol == (is_ip6 ? 58 : 1); }
};

struct Ports {
  std::uint16_t source = 0;
  std::uint16_t destination = 0;
};

// One that somebody owns by its tuples. Those of an ICMP error are the ones of the flow that it is about, in the
// direction that the error goes.
struct Packet {
  Tuple source;
  Tuple destination;
  Network network;
  bool is_error = false;
};

inline constexpr std::uint16_t type_ip4 = 0x0800;
inline constexpr std::uint16_t type_arp = 0x0806;
inline constexpr std::uint16_t type_ip6 = 0x86dd;

inline constexpr std::uint8_t protocol_tcp = 6;
inline constexpr std::uint8_t protocol_udp = 17;
inline constexpr std::uint8_t protocol_dccp = 33;
inline constexpr std::uint8_t protocol_icmp6 = 58;
inline constexpr std::uint8_t protocol_sctp = 132;
inline constexpr std::uint8_t protocol_udp_lite = 136;

// How many options of an IPv4 header or of a destination options header, and how many extension headers, are looked at
// before the packet is refused.
inline constexpr unsigned headers_walked = 6;

std::expected<Link, Reason> read_link(View frame);
// The IP header without its options: its lengths and addresses.
std::expected<Network, Reason> read_network(const Link& link);
std::expected<Network, Reason> read_ip4(View rest, Extent extent);
std::expected<Network, Reason> read_ip6(View rest, Extent extent);
// Over options and extension headers to the message, or to the data of a later fragment. What is wrong, if anything:
// then `network.fragment` says still whether it is one of which so much could be read.
std::optional<Reason> walk(Network& network, Direction direction);
std::expected<Ports, Reason> read_ports(const Network& network);
// An ICMP error is known by its quote.
std::expected<Packet, Reason> read_icmp(const Network& network, Direction direction);
std::expected<Packet, Reason> read_message(const Network& network, Direction direction);

// To a group. The broadcast of a link looks like any other address.
bool is_multicast(const Address& address);

}  // namespace model
