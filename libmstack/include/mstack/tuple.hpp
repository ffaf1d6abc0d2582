// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "mstack/error.hpp"
#include "mstack/export.hpp"

namespace mstack {

/// An IPv4 or IPv6 address: 16 bytes in wire order, IPv4 as the mapped address ::ffff:a.b.c.d (RFC 4291, 2.5.5.2), so
/// that one type is the key of everything. A plain value.
struct MSTACK_API Address {
  std::array<std::uint8_t, 16> bytes = {};

  /// "192.0.2.1" or "2001:db8::1". EINVAL for everything else: names, leading zeros and octal, brackets, zones (%eth0),
  /// blanks around it, an embedded NUL.
  [[nodiscard]] static Expected<Address> parse(std::string_view text);
  /// In host order: 0xc0000201 is 192.0.2.1.
  [[nodiscard]] static Address ipv4(std::uint32_t host_order);

  [[nodiscard]] bool is_ipv4() const;
  [[nodiscard]] bool is_wildcard() const;  ///< 0.0.0.0 or ::
  /// The last 4 bytes of an IPv4 address, in host order.
  [[nodiscard]] std::uint32_t ipv4() const;
  [[nodiscard]] std::string to_string() const;

  auto operator<=>(const Address&) const = default;
};

/// The IP protocol number.
enum class Protocol : std::uint8_t { tcp = 6, udp = 17, dccp = 33, udplite = 136 };

[[nodiscard]] MSTACK_API std::string_view to_string(Protocol protocol);  ///< "tcp", "udp", "dccp" or "udplite"

/// The local party of a packet: what a claim is for. A plain value.
struct MSTACK_API Tuple {
  Address address = {};
  std::uint16_t port = 0;  ///< host order. 0 in a request: the kernel picks one, and Claim::tuple() tells which
  Protocol protocol = Protocol::udp;

  /// "192.0.2.1:7" or "[2001:db8::1]:7". EINVAL for everything else.
  [[nodiscard]] static Expected<Tuple> parse(Protocol protocol, std::string_view text);
  /// "192.0.2.1:7" or "[2001:db8::1]:7", without the protocol.
  [[nodiscard]] std::string to_string() const;

  auto operator<=>(const Tuple&) const = default;
};

/// A tuple to pass to Vport::claim(), which reports the error of a bad address: `vport->claim(udp("192.0.2.1", 7))`.
[[nodiscard]] MSTACK_API Expected<Tuple> udp(std::string_view address, std::uint16_t port);
[[nodiscard]] MSTACK_API Expected<Tuple> tcp(std::string_view address, std::uint16_t port);
/// UDP-Lite and DCCP, where the kernel has them. Of these a claim is of one address: a wildcard is refused.
[[nodiscard]] MSTACK_API Expected<Tuple> udplite(std::string_view address, std::uint16_t port);
[[nodiscard]] MSTACK_API Expected<Tuple> dccp(std::string_view address, std::uint16_t port);
/// The same from one text, "192.0.2.1:7" or "[2001:db8::1]:7".
[[nodiscard]] MSTACK_API Expected<Tuple> udp(std::string_view address_and_port);
[[nodiscard]] MSTACK_API Expected<Tuple> tcp(std::string_view address_and_port);

}  // namespace mstack
