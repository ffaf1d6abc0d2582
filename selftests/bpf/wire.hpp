// SPDX-License-Identifier: BSD-2-Clause
// Frames as bytes in the order they have on the wire. Nothing here is shared with bpf/: a byte order that is
// wrong there must not be wrong here too.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace bpf_test {

using Bytes = std::vector<std::uint8_t>;

// "c0 00 02 01" > {0xc0, 0, 2, 1}; what is not a hex digit only separates.
Bytes hex(std::string_view text);

Bytes operator+(Bytes left, const Bytes& right);
Bytes be16(std::uint16_t value);
Bytes be32(std::uint32_t value);
Bytes zeros(std::size_t count);
Bytes ip(std::string_view text);  // 4 bytes of "192.0.2.1", 16 of "2001:db8::1"

// The frame with the bytes at offset replaced; fixed-up IPv4 header checksum where it says so.
Bytes patch(Bytes frame, std::size_t offset, const Bytes& with);
Bytes patch_ip4(Bytes frame, std::size_t offset, const Bytes& with);
Bytes cut(Bytes frame, std::size_t length);
Bytes tagged(const Bytes& tags, const Bytes& frame);  // behind the MACs
Bytes slice(const Bytes& frame, std::size_t offset, std::size_t length);

// RFC 1071, over any bytes.
std::uint16_t internet_checksum(const Bytes& bytes);
// Of an upper-layer message with its IPv4 or IPv6 pseudo header.
std::uint16_t pseudo_checksum(const Bytes& from, const Bytes& to, std::uint8_t protocol, const Bytes& message);

inline constexpr std::uint8_t proto_icmp = 1;
inline constexpr std::uint8_t proto_tcp = 6;
inline constexpr std::uint8_t proto_udp = 17;
inline constexpr std::uint8_t proto_dccp = 33;
inline constexpr std::uint8_t proto_ah = 51;
inline constexpr std::uint8_t proto_icmp6 = 58;
inline constexpr std::uint8_t proto_sctp = 132;
inline constexpr std::uint8_t proto_udplite = 136;
inline constexpr std::uint8_t every_protocol[] = {proto_tcp, proto_udp, proto_udplite, proto_sctp, proto_dccp};

inline constexpr std::size_t l3_at = 14;           // where the IP header starts
inline constexpr std::size_t l4_at_ip4 = 14 + 20;  // and what follows it, without options
inline constexpr std::size_t l4_at_ip6 = 14 + 40;

// An IPv6 extension header. The first byte of `bytes`, next header, is filled in.
struct Extension {
  std::uint8_t type;
  Bytes bytes;
};

// A whole Ethernet frame of one packet of every_protocol, every length and checksum right.
// The family is that of the addresses.
struct Packet {
  Bytes to_mac = hex("02 00 00 00 00 01");
  Bytes from_mac = hex("02 00 00 00 00 02");
  std::string_view from = "198.51.100.2";
  std::uint16_t from_port = 40000;
  std::string_view to = "192.0.2.1";
  std::uint16_t to_port = 7;
  std::uint8_t protocol = proto_udp;
  Bytes options;                      // of IPv4; a multiple of 4 bytes
  std::vector<Extension> extensions;  // of IPv6
  Bytes payload = hex("de ad be ef");
  Bytes padding;  // Ethernet's, after the end of the IP packet

  Bytes bytes() const;
};

// The same around any upper-layer message: of another protocol, or wrong on purpose.
Bytes around(const Packet& outer, const Bytes& message);

// An ICMP message (ICMPv6 if `to` is IPv6) of the type, code and second word, its checksum right.
Bytes icmp_message(std::string_view from, std::string_view to, std::uint8_t type, std::uint8_t code, const Bytes& body,
                   const Bytes& second_word = {0, 0, 0, 0});

}  // namespace bpf_test
