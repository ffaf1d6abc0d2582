// SPDX-License-Identifier: BSD-2-Clause
#include "packet.hpp"

#include <algorithm>

namespace packet {
namespace {

constexpr std::size_t ethernet_size = 14, ipv4_size = 20, ipv6_size = 40, udp_size = 8, tcp_size = 20;
constexpr std::uint8_t fresh_hop_limit = 64;

std::uint16_t get16(std::span<const std::uint8_t> bytes, std::size_t at) {
  return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}

void put16(std::span<std::uint8_t> bytes, std::size_t at, std::uint16_t value) {
  bytes[at] = static_cast<std::uint8_t>(value >> 8);
  bytes[at + 1] = static_cast<std::uint8_t>(value);
}

// An IPv4 address is the last 4 bytes of its mapped form.
mstack::Address address_at(std::span<const std::uint8_t> ip, std::size_t at, bool ipv6) {
  mstack::Address address = mstack::Address::ipv4(0);
  const std::size_t size = ipv6 ? 16 : 4;
  std::ranges::copy(ip.subspan(at, size), address.bytes.end() - static_cast<std::ptrdiff_t>(size));
  return address;
}

void put_address(std::span<std::uint8_t> ip, std::size_t at, const mstack::Address& address) {
  const std::size_t size = address.is_ipv4() ? 4 : 16;
  std::ranges::copy(std::span(address.bytes).last(size), ip.subspan(at, size).begin());
}

std::size_t source_at(bool ipv6) {
  return ipv6 ? 8 : 12;
}
std::size_t destination_at(bool ipv6) {
  return ipv6 ? 24 : 16;
}
std::size_t checksum_at(mstack::Protocol protocol) {
  return protocol == mstack::Protocol::udp ? 6 : 16;
}

void write_ipv4_checksum(std::span<std::uint8_t> ip) {
  put16(ip, 10, 0);
  put16(ip, 10, folded(sum(ip)));
}

// Header and the length of all that follows it, or nothing if the packet is not what it says.
std::optional<Packet> parse_ip(std::span<std::uint8_t> ip, std::size_t further, bool ipv6) {
  Packet packet;
  packet.ipv6 = ipv6;
  if (ip.size() < (ipv6 ? ipv6_size : ipv4_size) || ip[0] >> 4 != (ipv6 ? 6 : 4)) return std::nullopt;
  const std::size_t header = ipv6 ? ipv6_size : (ip[0] & 0xf) * std::size_t{4};
  const std::size_t total = ipv6 ? ipv6_size + get16(ip, 4) : get16(ip, 2);
  if (header < ipv4_size || header > ip.size() || total < header || total > ip.size() + further) return std::nullopt;
  if (!ipv6 && (get16(ip, 6) & 0x3fff) != 0) return std::nullopt;  // a fragment
  const auto protocol = static_cast<mstack::Protocol>(ip[ipv6 ? 6 : 9]);
  packet.ip = ip.first(header);
  packet.segment = ip.first(std::min(total, ip.size())).subspan(header);
  packet.frame_size = ethernet_size + total;
  packet.source = {.address = address_at(ip, source_at(ipv6), ipv6), .port = 0, .protocol = protocol};
  packet.destination = {.address = address_at(ip, destination_at(ipv6), ipv6), .port = 0, .protocol = protocol};
  return packet;
}

std::uint64_t pseudo_header(std::span<const std::uint8_t> ip, bool ipv6, std::uint8_t protocol, std::size_t length) {
  return sum(ip.subspan(source_at(ipv6), ipv6 ? 32 : 8), std::uint64_t{protocol} + length);
}

}  // namespace

std::uint64_t sum(std::span<const std::uint8_t> bytes, std::uint64_t before) {
  std::uint64_t sum = before;
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) sum += get16(bytes, i);
  if (bytes.size() % 2 != 0) sum += std::uint64_t{bytes.back()} << 8;
  return sum;
}

std::uint16_t folded(std::uint64_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

std::optional<Packet> parse(std::span<const mstack::Frame> frames) {
  std::size_t further = 0;
  for (const mstack::Frame& frame : frames.subspan(1)) further += frame.size();
  return parse(frames.front().bytes(), further);
}

std::optional<Packet> parse(std::span<std::uint8_t> frame, std::size_t further) {
  if (frame.size() < ethernet_size) return std::nullopt;
  const std::uint16_t type = get16(frame, 12);
  if (type != 0x0800 && type != 0x86dd) return std::nullopt;
  auto packet = parse_ip(frame.subspan(ethernet_size), further, type == 0x86dd);
  if (!packet) return std::nullopt;
  const auto segment = packet->segment;
  std::size_t header = udp_size;
  if (packet->source.protocol == mstack::Protocol::tcp) {
    if (segment.size() < tcp_size) return std::nullopt;
    header = (segment[12] >> 4) * std::size_t{4};
    if (header < tcp_size || header > segment.size()) return std::nullopt;
  } else if (packet->source.protocol != mstack::Protocol::udp || segment.size() < udp_size ||
             get16(segment, 4) != packet->frame_size - ethernet_size - packet->ip.size()) {
    return std::nullopt;
  }
  packet->source.port = get16(segment, 0);
  packet->destination.port = get16(segment, 2);
  packet->payload = segment.subspan(header);
  return packet;
}

void turn_round(Packet& packet) {
  const std::size_t size = packet.ipv6 ? 16 : 4;
  std::ranges::swap_ranges(packet.ip.subspan(source_at(packet.ipv6), size),
                           packet.ip.subspan(destination_at(packet.ipv6), size));
  std::ranges::swap_ranges(packet.segment.first(2), packet.segment.subspan(2, 2));
  std::swap(packet.source, packet.destination);
  packet.ip[packet.ipv6 ? 7 : 8] = fresh_hop_limit;
  if (!packet.ipv6) write_ipv4_checksum(packet.ip);
}

std::size_t headers_size(const mstack::Tuple& source) {
  return ethernet_size + (source.address.is_ipv4() ? ipv4_size : ipv6_size) +
         (source.protocol == mstack::Protocol::udp ? udp_size : tcp_size);
}

void write(std::span<std::uint8_t> frame, const mstack::Tuple& source, const mstack::Tuple& destination) {
  const bool ipv6 = !source.address.is_ipv4();
  const bool udp = source.protocol == mstack::Protocol::udp;
  std::ranges::fill(frame.first(headers_size(source)), std::uint8_t{0});
  put16(frame, 12, ipv6 ? 0x86dd : 0x0800);

  const auto ip = frame.subspan(ethernet_size, ipv6 ? ipv6_size : ipv4_size);
  const auto segment = frame.subspan(ethernet_size + ip.size());
  ip[0] = ipv6 ? 0x60 : 0x45;
  put16(ip, ipv6 ? 4 : 2, static_cast<std::uint16_t>(ipv6 ? segment.size() : ip.size() + segment.size()));
  ip[ipv6 ? 6 : 9] = static_cast<std::uint8_t>(source.protocol);
  ip[ipv6 ? 7 : 8] = fresh_hop_limit;
  put_address(ip, source_at(ipv6), source.address);
  put_address(ip, destination_at(ipv6), destination.address);
  if (!ipv6) {
    put16(ip, 6, 0x4000);  // don't fragment
    write_ipv4_checksum(ip);
  }

  put16(segment, 0, source.port);
  put16(segment, 2, destination.port);
  if (udp) {
    put16(segment, 4, static_cast<std::uint16_t>(segment.size()));
  } else {
    segment[12] = 5 << 4;        // header length
    segment[13] = 0x18;          // PSH, ACK
    put16(segment, 14, 0xffff);  // window
  }
  std::uint16_t checksum =
      folded(sum(segment, pseudo_header(ip, ipv6, static_cast<std::uint8_t>(source.protocol), segment.size())));
  if (udp && checksum == 0) checksum = 0xffff;  // 0 would say that there is none (RFC 768)
  put16(segment, checksum_at(source.protocol), checksum);
}

std::uint16_t segment_checksum(const Packet& packet) {
  return folded(sum(
      packet.segment,
      pseudo_header(packet.ip, packet.ipv6, static_cast<std::uint8_t>(packet.source.protocol), packet.segment.size())));
}

}  // namespace packet
