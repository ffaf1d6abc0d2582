// SPDX-License-Identifier: BSD-2-Clause
// Who a packet is from and for.
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstdint>

#include "bytes.hpp"

namespace model {

// Of either family; IPv4 is the mapped address ::ffff:a.b.c.d, as everywhere in MultiStack.
class Address {
 public:
  constexpr Address() = default;  // ::
  static Address ip4(View four) {
    Address address;
    address.bytes_[10] = address.bytes_[11] = 0xff;
    std::copy_n(four.first(4).data(), 4, address.bytes_.begin() + 12);
    return address;
  }
  static Address ip6(View sixteen) {
    Address address;
    std::copy_n(sixteen.first(16).data(), 16, address.bytes_.begin());
    return address;
  }

  const std::array<std::uint8_t, 16>& bytes() const { return bytes_; }
  std::uint8_t octet(std::size_t i) const { return bytes_.at(12 + i); }  // of IPv4

  bool is_ip4() const {
    return std::all_of(bytes_.begin(), bytes_.begin() + 10, [](auto byte) { return byte == 0; }) &&
           bytes_[10] == 0xff && bytes_[11] == 0xff;
  }
  Address any() const {  // the wildcard of its family
    Address address;
    if (is_ip4()) address.bytes_[10] = address.bytes_[11] = 0xff;
    return address;
  }
  bool is_any() const { return *this == any(); }
  // Of the first `length` bits; those of an IPv4 address are counted from its first octet.
  bool is_in(const Address& prefix, unsigned length) const {
    if (is_ip4() != prefix.is_ip4()) return false;
    const unsigned bits = length + (is_ip4() ? 96 : 0);
    for (unsigned bit = 0; bit < bits; ++bit) {
      const auto mask = static_cast<std::uint8_t>(0x80U >> bit % 8);
      if (((bytes_.at(bit / 8) ^ prefix.bytes_.at(bit / 8)) & mask) != 0) return false;
    }
    return true;
  }

  friend auto operator<=>(const Address&, const Address&) = default;

 private:
  std::array<std::uint8_t, 16> bytes_{};
};

struct Tuple {
  Address address;
  std::uint16_t port = 0;
  std::uint8_t protocol = 0;
  friend auto operator<=>(const Tuple&, const Tuple&) = default;
};

}  // namespace model
