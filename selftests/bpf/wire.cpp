// SPDX-License-Identifier: BSD-2-Clause
#include "wire.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <cctype>
#include <stdexcept>
#include <string>

namespace bpf_test {
namespace {

std::uint8_t digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<std::uint8_t>(c - '0');
  return static_cast<std::uint8_t>(std::tolower(c) - 'a' + 10);
}

bool is_ip6(std::string_view address) {
  return address.contains(':');
}

// CRC32c, as SCTP has it on the wire (RFC 9260, appendix A).
Bytes crc32c(const Bytes& bytes) {
  std::uint32_t crc = 0xffffffff;
  for (const std::uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc % 2 != 0 ? 0x82f63b78U : 0U);
  }
  crc = ~crc;
  return {static_cast<std::uint8_t>(crc), static_cast<std::uint8_t>(crc >> 8), static_cast<std::uint8_t>(crc >> 16),
          static_cast<std::uint8_t>(crc >> 24)};
}

// All of the datagram is covered.
Bytes udplite(const Packet& packet) {
  const Bytes lite = be16(packet.from_port) + be16(packet.to_port) + hex("00 00 00 00") + packet.payload;
  const std::uint16_t sum = pseudo_checksum(ip(packet.from), ip(packet.to), proto_udplite, lite);
  return patch(lite, 6, be16(sum == 0 ? 0xffff : sum));
}

// One DATA chunk of the payload, which is padded to a multiple of 4 bytes.
Bytes sctp(const Packet& packet) {
  const Bytes chunk = hex("00 03") + be16(static_cast<std::uint16_t>(16 + packet.payload.size())) +
                      hex("00 00 00 01 00 00 00 00 00 00 00 00") + packet.payload +
                      zeros((4 - packet.payload.size() % 4) % 4);
  const Bytes whole = be16(packet.from_port) + be16(packet.to_port) + hex("01 02 03 04 00 00 00 00") + chunk;
  return patch(whole, 8, crc32c(whole));
}

// DCCP-Data with a sequence number of 48 bits: a header of 4 words.
Bytes dccp(const Packet& packet) {
  const Bytes whole =
      be16(packet.from_port) + be16(packet.to_port) + hex("04 00 00 00 05 00 00 00 00 00 00 01") + packet.payload;
  return patch(whole, 6, be16(pseudo_checksum(ip(packet.from), ip(packet.to), proto_dccp, whole)));
}

Bytes transport(const Packet& packet) {
  const Bytes from = ip(packet.from);
  const Bytes to = ip(packet.to);
  if (packet.protocol == proto_udplite) return udplite(packet);
  if (packet.protocol == proto_sctp) return sctp(packet);
  if (packet.protocol == proto_dccp) return dccp(packet);
  if (packet.protocol == proto_udp) {
    const auto length = static_cast<std::uint16_t>(8 + packet.payload.size());
    Bytes udp = be16(packet.from_port) + be16(packet.to_port) + be16(length) + be16(0) + packet.payload;
    const std::uint16_t sum = pseudo_checksum(from, to, proto_udp, udp);
    return patch(udp, 6, be16(sum == 0 ? 0xffff : sum));
  }
  // An acknowledgement with data: no options, so a data offset of 5 words.
  Bytes tcp = be16(packet.from_port) + be16(packet.to_port) + be32(0x01020304) + be32(0x05060708) +
              hex("50 18 ff ff 00 00 00 00") + packet.payload;
  return patch(tcp, 16, be16(pseudo_checksum(from, to, proto_tcp, tcp)));
}

Bytes around_ip4(const Packet& outer, const Bytes& message) {
  const std::size_t header = 20 + outer.options.size();
  Bytes ip4 = Bytes{static_cast<std::uint8_t>(0x40 | (header / 4)), 0} +
              be16(static_cast<std::uint16_t>(header + message.size())) + hex("12 34 40 00 40") +
              Bytes{outer.protocol} + be16(0) + ip(outer.from) + ip(outer.to) + outer.options;
  ip4 = patch(ip4, 10, be16(internet_checksum(ip4)));
  return hex("08 00") + ip4 + message;
}

Bytes around_ip6(const Packet& outer, const Bytes& message) {
  Bytes body;
  for (std::size_t i = 0; i < outer.extensions.size(); ++i) {
    Bytes extension = outer.extensions[i].bytes;
    extension.at(0) = i + 1 < outer.extensions.size() ? outer.extensions[i + 1].type : outer.protocol;
    body = body + extension;
  }
  body = body + message;
  const std::uint8_t next = outer.extensions.empty() ? outer.protocol : outer.extensions.front().type;
  return hex("86 dd 60 00 00 00") + be16(static_cast<std::uint16_t>(body.size())) + Bytes{next, 64} + ip(outer.from) +
         ip(outer.to) + body;
}

}  // namespace

Bytes hex(std::string_view text) {
  std::string digits;
  std::ranges::copy_if(text, std::back_inserter(digits), [](unsigned char c) { return std::isxdigit(c) != 0; });
  if (digits.size() % 2 != 0) throw std::invalid_argument("hex: half a byte in " + std::string(text));
  Bytes bytes;
  for (std::size_t i = 0; i < digits.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(digit(digits[i]) << 4 | digit(digits[i + 1])));
  }
  return bytes;
}

Bytes operator+(Bytes left, const Bytes& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

Bytes be16(std::uint16_t value) {
  return {static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)};
}

Bytes be32(std::uint32_t value) {
  return be16(static_cast<std::uint16_t>(value >> 16)) + be16(static_cast<std::uint16_t>(value));
}

Bytes zeros(std::size_t count) {
  return Bytes(count, 0);
}

Bytes ip(std::string_view text) {
  Bytes address(is_ip6(text) ? 16 : 4);
  const std::string terminated(text);
  if (inet_pton(is_ip6(text) ? AF_INET6 : AF_INET, terminated.c_str(), address.data()) != 1) {
    throw std::invalid_argument("not an address: " + terminated);
  }
  return address;
}

Bytes patch(Bytes frame, std::size_t offset, const Bytes& with) {
  if (offset + with.size() > frame.size()) throw std::out_of_range("patch beyond the frame");
  std::ranges::copy(with, frame.begin() + static_cast<std::ptrdiff_t>(offset));
  return frame;
}

Bytes patch_ip4(Bytes frame, std::size_t offset, const Bytes& with) {
  frame = patch(patch(std::move(frame), offset, with), l3_at + 10, be16(0));
  const std::size_t header = std::min<std::size_t>((frame.at(l3_at) & 0xfU) * 4, frame.size() - l3_at);
  return patch(frame, l3_at + 10, be16(internet_checksum(slice(frame, l3_at, std::max<std::size_t>(header, 20)))));
}

Bytes tagged(const Bytes& tags, const Bytes& frame) {
  return slice(frame, 0, 12) + tags + slice(frame, 12, frame.size() - 12);
}

Bytes cut(Bytes frame, std::size_t length) {
  frame.resize(std::min(length, frame.size()));
  return frame;
}

Bytes slice(const Bytes& frame, std::size_t offset, std::size_t length) {
  if (offset + length > frame.size()) throw std::out_of_range("slice beyond the frame");
  const auto first = frame.begin() + static_cast<std::ptrdiff_t>(offset);
  return {first, first + static_cast<std::ptrdiff_t>(length)};
}

std::uint16_t internet_checksum(const Bytes& bytes) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) sum += i % 2 == 0 ? bytes[i] << 8 : bytes[i];
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

std::uint16_t pseudo_checksum(const Bytes& from, const Bytes& to, std::uint8_t protocol, const Bytes& message) {
  // The IPv4 and the IPv6 pseudo header differ in the width of fields that are zero: the sum is the same.
  return internet_checksum(from + to + be32(static_cast<std::uint32_t>(message.size())) + be32(protocol) + message);
}

Bytes around(const Packet& outer, const Bytes& message) {
  const Bytes packet = is_ip6(outer.from) ? around_ip6(outer, message) : around_ip4(outer, message);
  return outer.to_mac + outer.from_mac + packet + outer.padding;
}

Bytes icmp_message(std::string_view from, std::string_view to, std::uint8_t type, std::uint8_t code, const Bytes& body,
                   const Bytes& second_word) {
  const Bytes message = Bytes{type, code, 0, 0} + second_word + body;
  const std::uint16_t sum =
      is_ip6(to) ? pseudo_checksum(ip(from), ip(to), proto_icmp6, message) : internet_checksum(message);
  return patch(message, 2, be16(sum));
}

Bytes Packet::bytes() const {
  return around(*this, transport(*this));
}

}  // namespace bpf_test
