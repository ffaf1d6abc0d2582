// SPDX-License-Identifier: BSD-2-Clause
//
// Wire frames, written and read byte by byte from the RFCs. Nothing here is shared with bpf/ or libmstack: a test that
// builds its packet with the same mistake as the code proves nothing.
#pragma once

#include <netinet/in.h>

#include <array>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace mstack::test {

using Bytes = std::vector<std::uint8_t>;
using Mac = std::array<std::uint8_t, 6>;
inline constexpr Mac broadcast_mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

struct Endpoint {
  std::string address;  // "192.0.2.1" or "2001:db8::1"
  std::uint16_t port = 0;
  bool ipv6() const { return address.find(':') != std::string::npos; }
  friend auto operator<=>(const Endpoint&, const Endpoint&) = default;
};
std::ostream& operator<<(std::ostream& out, const Endpoint& endpoint);

// 4 or 16 bytes, in wire order.
Bytes address_bytes(const std::string& address);

enum TcpFlag : std::uint8_t { tcp_fin = 1, tcp_syn = 2, tcp_rst = 4, tcp_psh = 8, tcp_ack = 16 };

struct Segment {
  Mac source_mac{};
  Mac destination_mac{};
  Endpoint from;
  Endpoint to;
  std::uint8_t protocol = IPPROTO_UDP;  // or IPPROTO_TCP
  std::string payload = {};
  std::uint8_t ttl = 64;
  std::uint8_t tcp_flags = tcp_syn;
  std::uint32_t sequence = 1;
  std::uint32_t acknowledgement = 0;
  std::uint16_t mss = 0;  // that the option says; 0: there is none
};

// Ethernet, IPv4 or IPv6 by the addresses, UDP or TCP; every length and checksum right.
Bytes build(const Segment& segment);

// Any IP payload: protocols other than TCP and UDP, fragments (fragment_field: flags and offset as on the wire).
struct Raw {
  Mac source_mac{};
  Mac destination_mac{};
  std::string from, to;
  std::uint8_t protocol = 0;
  Bytes payload = {};
  std::uint16_t fragment_field = 0;  // IPv4 only
};
Bytes build(const Raw& raw);

Bytes ethernet(const Mac& destination, const Mac& source, std::uint16_t type, std::span<const std::uint8_t> payload);

struct Arp {
  Mac source_mac{};
  Mac destination_mac = broadcast_mac;
  std::uint16_t operation = 1;  // 1 request, 2 reply
  Mac sender_mac{};
  std::string sender;
  Mac target_mac{};
  std::string target;
};
Bytes build(const Arp& arp);

// ICMPv6 135 (solicitation, with the source link-layer option) or 136 (advertisement, with the target's).
struct Neighbour {
  Mac source_mac{};
  Mac destination_mac{};
  std::string from, to;
  std::uint8_t type = 135;
  std::string target;
  Mac link_address{};
  std::uint32_t flags = 0;  // of an advertisement: 0x60000000 is solicited and override
};
Bytes build(const Neighbour& neighbour);

// What was read of a frame. Only what is complete and correct is filled in.
struct Packet {
  Mac destination_mac{};
  Mac source_mac{};
  std::uint16_t type = 0;     // EtherType
  std::uint8_t protocol = 0;  // of IP
  std::uint8_t ttl = 0;
  bool checksums_right = false;  // of IPv4 and of TCP, UDP or ICMPv6
  Endpoint from;
  Endpoint to;
  std::uint8_t tcp_flags = 0;
  std::uint32_t sequence = 0;  // of TCP
  std::string payload;         // of TCP and UDP; else of IP
};
std::optional<Packet> parse(std::span<const std::uint8_t> frame);

// The internet checksum of RFC 1071 over the bytes, as the wire has it; 0 for bytes that carry their right checksum.
std::uint16_t internet_checksum(std::span<const std::uint8_t> bytes);

std::string hex(std::span<const std::uint8_t> bytes);
std::string text(const Mac& mac);

}  // namespace mstack::test
