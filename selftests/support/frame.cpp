// SPDX-License-Identifier: BSD-2-Clause
#include "support/frame.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <iterator>
#include <ostream>
#include <stdexcept>

namespace mstack::test {

namespace {

constexpr std::uint16_t type_ipv4 = 0x0800, type_arp = 0x0806, type_ipv6 = 0x86dd;
constexpr std::size_t ethernet_size = 14, ipv4_size = 20, ipv6_size = 40, udp_size = 8, tcp_size = 20;

void put(Bytes& out, std::span<const std::uint8_t> bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}
void put8(Bytes& out, unsigned value) {
  out.push_back(static_cast<std::uint8_t>(value));
}
void put16(Bytes& out, unsigned value) {
  put8(out, value >> 8);
  put8(out, value);
}
void put32(Bytes& out, std::uint32_t value) {
  put16(out, value >> 16);
  put16(out, value & 0xffff);
}
unsigned get16(std::span<const std::uint8_t> bytes, std::size_t at) {
  return bytes[at] * 256U + bytes[at + 1];
}
void set16(Bytes& out, std::size_t at, unsigned value) {
  out[at] = static_cast<std::uint8_t>(value >> 8);
  out[at + 1] = static_cast<std::uint8_t>(value);
}

// The pseudo-header of TCP and UDP (RFC 768, 9293) or of IPv6 (RFC 8200, 8.1): the sum is the same for both sizes of
// address, since the other fields only differ in zeros.
Bytes pseudo_header(std::span<const std::uint8_t> from, std::span<const std::uint8_t> to, std::uint8_t protocol,
                    std::size_t length) {
  Bytes out;
  put(out, from);
  put(out, to);
  put32(out, static_cast<std::uint32_t>(length));
  put32(out, protocol);
  return out;
}

std::uint16_t transport_checksum(std::span<const std::uint8_t> from, std::span<const std::uint8_t> to,
                                 std::uint8_t protocol, std::span<const std::uint8_t> transport) {
  Bytes covered = pseudo_header(from, to, protocol, transport.size());
  put(covered, transport);
  return internet_checksum(covered);
}

Bytes ip(std::span<const std::uint8_t> from, std::span<const std::uint8_t> to, std::uint8_t protocol, std::uint8_t ttl,
         std::uint16_t fragment_field, std::span<const std::uint8_t> payload) {
  if (from.size() != to.size()) throw std::invalid_argument("one address of IPv4 and one of IPv6");
  Bytes out;
  if (from.size() == 4) {
    put8(out, 0x45);
    put8(out, 0);
    put16(out, static_cast<unsigned>(ipv4_size + payload.size()));
    put16(out, 0x1234);
    put16(out, fragment_field);
    put8(out, ttl);
    put8(out, protocol);
    put16(out, 0);
    put(out, from);
    put(out, to);
    set16(out, 10, internet_checksum(out));
  } else {
    put32(out, 0x60000000);
    put16(out, static_cast<unsigned>(payload.size()));
    put8(out, protocol);
    put8(out, ttl);
    put(out, from);
    put(out, to);
  }
  put(out, payload);
  return out;
}

std::uint16_t ip_type(std::span<const std::uint8_t> address) {
  return address.size() == 4 ? type_ipv4 : type_ipv6;
}

std::string address_text(std::span<const std::uint8_t> bytes) {
  std::array<char, INET6_ADDRSTRLEN> out{};
  ::inet_ntop(bytes.size() == 4 ? AF_INET : AF_INET6, bytes.data(), out.data(), out.size());
  return out.data();
}

void parse_transport(Packet& packet, std::span<const std::uint8_t> from, std::span<const std::uint8_t> to,
                     std::span<const std::uint8_t> transport) {
  packet.from.address = address_text(from);
  packet.to.address = address_text(to);
  std::size_t header = 0;
  if (packet.protocol == IPPROTO_UDP && transport.size() >= udp_size) {
    header = udp_size;
    if (get16(transport, 4) != transport.size()) packet.checksums_right = false;
  } else if (packet.protocol == IPPROTO_TCP && transport.size() >= tcp_size) {
    header = std::min<std::size_t>(transport.size(), (transport[12] >> 4) * 4U);
    packet.tcp_flags = transport[13];
    packet.sequence = get16(transport, 4) << 16 | get16(transport, 6);
  }
  if (header != 0) {
    packet.from.port = static_cast<std::uint16_t>(get16(transport, 0));
    packet.to.port = static_cast<std::uint16_t>(get16(transport, 2));
  }
  if (header != 0 || packet.protocol == IPPROTO_ICMPV6) {
    const bool none = packet.protocol == IPPROTO_UDP && from.size() == 4 && get16(transport, 6) == 0;
    if (!none && transport_checksum(from, to, packet.protocol, transport) != 0) packet.checksums_right = false;
  }
  packet.payload.assign(transport.begin() + static_cast<std::ptrdiff_t>(header), transport.end());
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Endpoint& endpoint) {
  return endpoint.ipv6() ? out << '[' << endpoint.address << "]:" << endpoint.port
                         : out << endpoint.address << ':' << endpoint.port;
}

Bytes address_bytes(const std::string& address) {
  const bool ipv6 = address.find(':') != std::string::npos;
  Bytes out(ipv6 ? 16 : 4);
  if (::inet_pton(ipv6 ? AF_INET6 : AF_INET, address.c_str(), out.data()) != 1) throw std::invalid_argument(address);
  return out;
}

std::uint16_t internet_checksum(std::span<const std::uint8_t> bytes) {
  std::uint64_t sum = 0;
  for (std::size_t at = 0; at + 1 < bytes.size(); at += 2) sum += get16(bytes, at);
  if (bytes.size() % 2 != 0) sum += bytes.back() * 256U;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

Bytes ethernet(const Mac& destination, const Mac& source, std::uint16_t type, std::span<const std::uint8_t> payload) {
  Bytes out;
  put(out, destination);
  put(out, source);
  put16(out, type);
  put(out, payload);
  return out;
}

Bytes build(const Segment& segment) {
  const Bytes from = address_bytes(segment.from.address), to = address_bytes(segment.to.address);
  Bytes out;
  put16(out, segment.from.port);
  put16(out, segment.to.port);
  std::size_t checksum_at = 6;
  if (segment.protocol == IPPROTO_TCP) {
    put32(out, segment.sequence);
    put32(out, segment.acknowledgement);
    const std::size_t options = segment.mss != 0 ? 4 : 0;
    put8(out, static_cast<unsigned>((tcp_size + options) / 4) << 4);
    put8(out, segment.tcp_flags);
    put16(out, 65535);
    checksum_at = 16;
    put16(out, 0);
    put16(out, 0);
    if (options != 0) {
      put16(out, 0x0204);  // kind and length
      put16(out, segment.mss);
    }
  } else {
    put16(out, static_cast<unsigned>(udp_size + segment.payload.size()));
    put16(out, 0);
  }
  out.insert(out.end(), segment.payload.begin(), segment.payload.end());
  unsigned checksum = transport_checksum(from, to, segment.protocol, out);
  if (checksum == 0 && segment.protocol == IPPROTO_UDP) checksum = 0xffff;  // RFC 768: 0 would say "none"
  set16(out, checksum_at, checksum);
  return ethernet(segment.destination_mac, segment.source_mac, ip_type(from),
                  ip(from, to, segment.protocol, segment.ttl, 0, out));
}

Bytes build(const Raw& raw) {
  const Bytes from = address_bytes(raw.from), to = address_bytes(raw.to);
  return ethernet(raw.destination_mac, raw.source_mac, ip_type(from),
                  ip(from, to, raw.protocol, 64, raw.fragment_field, raw.payload));
}

Bytes build(const Arp& arp) {
  Bytes out;
  put16(out, 1);  // Ethernet
  put16(out, type_ipv4);
  put8(out, 6);
  put8(out, 4);
  put16(out, arp.operation);
  put(out, arp.sender_mac);
  put(out, address_bytes(arp.sender));
  put(out, arp.target_mac);
  put(out, address_bytes(arp.target));
  return ethernet(arp.destination_mac, arp.source_mac, type_arp, out);
}

Bytes build(const Neighbour& neighbour) {
  const Bytes from = address_bytes(neighbour.from), to = address_bytes(neighbour.to);
  Bytes out;
  put8(out, neighbour.type);
  put8(out, 0);
  put16(out, 0);
  put32(out, neighbour.flags);
  put(out, address_bytes(neighbour.target));
  put8(out, neighbour.type == 135 ? 1 : 2);
  put8(out, 1);
  put(out, neighbour.link_address);
  set16(out, 2, transport_checksum(from, to, IPPROTO_ICMPV6, out));
  // RFC 4861: a hop limit of 255 proves that it came over no router.
  return ethernet(neighbour.destination_mac, neighbour.source_mac, type_ipv6,
                  ip(from, to, IPPROTO_ICMPV6, 255, 0, out));
}

std::optional<Packet> parse(std::span<const std::uint8_t> frame) {
  if (frame.size() < ethernet_size) return std::nullopt;
  Packet packet;
  std::copy_n(frame.begin(), 6, packet.destination_mac.begin());
  std::copy_n(frame.begin() + 6, 6, packet.source_mac.begin());
  packet.type = static_cast<std::uint16_t>(get16(frame, 12));
  const auto network = frame.subspan(ethernet_size);
  if (packet.type == type_ipv4) {
    if (network.size() < ipv4_size || network[0] >> 4 != 4) return std::nullopt;
    const std::size_t header = (network[0] & 15) * 4U, total = get16(network, 2);
    if (header < ipv4_size || total < header || total > network.size()) return std::nullopt;
    packet.ttl = network[8];
    packet.protocol = network[9];
    packet.checksums_right = internet_checksum(network.first(header)) == 0;
    const bool fragment = (get16(network, 6) & 0x3fff) != 0;
    if (fragment) return packet;
    parse_transport(packet, network.subspan(12, 4), network.subspan(16, 4), network.subspan(header, total - header));
  } else if (packet.type == type_ipv6) {
    if (network.size() < ipv6_size || network[0] >> 4 != 6) return std::nullopt;
    const std::size_t length = get16(network, 4);
    if (length > network.size() - ipv6_size) return std::nullopt;
    packet.ttl = network[7];
    packet.protocol = network[6];
    packet.checksums_right = true;
    parse_transport(packet, network.subspan(8, 16), network.subspan(24, 16), network.subspan(ipv6_size, length));
  } else {
    packet.payload.assign(network.begin(), network.end());
  }
  return packet;
}

std::string hex(std::span<const std::uint8_t> bytes) {
  static constexpr std::array digits{'0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'};
  std::string out;
  for (const auto byte : bytes) {
    out += digits[byte >> 4];
    out += digits[byte & 15];
  }
  return out;
}

std::string text(const Mac& mac) {
  std::string out;
  for (const auto byte : mac) out += (out.empty() ? "" : ":") + hex({&byte, 1});
  return out;
}

}  // namespace mstack::test
