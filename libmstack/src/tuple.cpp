// SPDX-License-Identifier: BSD-2-Clause
#include "mstack/tuple.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <span>

namespace mstack {
namespace {

constexpr std::array<std::uint8_t, 12> ipv4_prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

// What came from outside goes into an error message only as far as it is short and printable.
std::string quoted(std::string_view text) {
  std::string shown = "\"";
  for (const char c : text.substr(0, 64)) shown += c >= ' ' && c <= '~' ? c : '?';
  return shown + (text.size() > 64 ? "...\"" : "\"");
}

Expected<Tuple> make(Protocol protocol, std::string_view address, std::uint16_t port) {
  const auto parsed = Address::parse(address);
  if (!parsed) return std::unexpected(parsed.error());
  return Tuple{.address = *parsed, .port = port, .protocol = protocol};
}

}  // namespace

Expected<Address> Address::parse(std::string_view text) {
  // inet_pton() takes exactly the forms meant here, but reads up to a NUL and not to the end of the view.
  std::array<char, INET6_ADDRSTRLEN> terminated = {};
  Address address;
  if (!text.empty() && text.size() < terminated.size() && text.find('\0') == std::string_view::npos) {
    std::ranges::copy(text, terminated.begin());
    if (::inet_pton(AF_INET6, terminated.data(), address.bytes.data()) == 1) return address;
    std::ranges::copy(ipv4_prefix, address.bytes.begin());
    if (::inet_pton(AF_INET, terminated.data(), address.bytes.data() + ipv4_prefix.size()) == 1) return address;
  }
  return failure(EINVAL, quoted(text) + " is not an IPv4 or IPv6 address");
}

Address Address::ipv4(std::uint32_t host_order) {
  Address address;
  std::ranges::copy(ipv4_prefix, address.bytes.begin());
  for (int i = 0; i < 4; ++i) address.bytes[12 + i] = static_cast<std::uint8_t>(host_order >> (24 - 8 * i));
  return address;
}

bool Address::is_ipv4() const {
  return std::ranges::equal(std::span(bytes).first<12>(), ipv4_prefix);
}

bool Address::is_wildcard() const {
  const auto significant = std::span(bytes).subspan(is_ipv4() ? 12 : 0);
  return std::ranges::all_of(significant, [](std::uint8_t byte) { return byte == 0; });
}

std::uint32_t Address::ipv4() const {
  return std::uint32_t{bytes[12]} << 24 | std::uint32_t{bytes[13]} << 16 | std::uint32_t{bytes[14]} << 8 | bytes[15];
}

std::string Address::to_string() const {
  std::array<char, INET6_ADDRSTRLEN> text = {};
  if (is_ipv4())
    ::inet_ntop(AF_INET, bytes.data() + ipv4_prefix.size(), text.data(), text.size());
  else
    ::inet_ntop(AF_INET6, bytes.data(), text.data(), text.size());
  return text.data();
}

std::string_view to_string(Protocol protocol) {
  switch (protocol) {
    case Protocol::tcp: return "tcp";
    case Protocol::udp: return "udp";
    case Protocol::dccp: return "dccp";
    case Protocol::udplite: return "udplite";
  }
  return "unknown";
}

Expected<Tuple> Tuple::parse(Protocol protocol, std::string_view text) {
  const auto refused = [&] {
    return failure(EINVAL, quoted(text) + " is not ADDRESS:PORT, such as 192.0.2.1:7 or [2001:db8::1]:7");
  };
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return refused();
  std::string_view address = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  const bool bracketed = address.size() >= 2 && address.front() == '[' && address.back() == ']';
  if (bracketed) address = address.substr(1, address.size() - 2);
  // Without brackets, "2001:db8::1:7" could be an address alone; with them, only IPv6 is meant.
  if (bracketed != (address.find(':') != std::string_view::npos)) return refused();
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size()) return refused();
  return make(protocol, address, port);
}

std::string Tuple::to_string() const {
  const std::string number = std::to_string(port);
  return address.is_ipv4() ? address.to_string() + ":" + number : "[" + address.to_string() + "]:" + number;
}

Expected<Tuple> udp(std::string_view address, std::uint16_t port) {
  return make(Protocol::udp, address, port);
}
Expected<Tuple> tcp(std::string_view address, std::uint16_t port) {
  return make(Protocol::tcp, address, port);
}
Expected<Tuple> udplite(std::string_view address, std::uint16_t port) {
  return make(Protocol::udplite, address, port);
}
Expected<Tuple> dccp(std::string_view address, std::uint16_t port) {
  return make(Protocol::dccp, address, port);
}
Expected<Tuple> udp(std::string_view text) {
  return Tuple::parse(Protocol::udp, text);
}
Expected<Tuple> tcp(std::string_view text) {
  return Tuple::parse(Protocol::tcp, text);
}

}  // namespace mstack
