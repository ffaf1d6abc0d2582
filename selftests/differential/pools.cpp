// SPDX-License-Identifier: BSD-2-Clause
#include "pools.hpp"

#include <arpa/inet.h>

#include <array>
#include <stdexcept>
#include <string>

#include "model/packet.hpp"

namespace differential {
namespace {

std::vector<model::Address> addresses(std::initializer_list<std::string_view> texts) {
  std::vector<model::Address> list;
  for (const std::string_view text : texts) list.push_back(address(text));
  return list;
}

Pools make() {
  Pools pools{
      .local = {},
      // Known neighbours, unknown ones, behind gateways, no route, of no single party, and one bit off.
      .four = addresses(
          {"192.0.2.99",     "192.0.2.77",      "192.0.2.2",      "192.0.2.0",       "192.0.2.255",     "193.0.2.1",
           "192.0.2.129",    "203.0.113.99",    "203.0.113.77",   "203.0.113.199",   "203.0.113.177",   "203.0.113.127",
           "203.0.113.255",  "198.51.100.1",    "198.51.100.127", "198.51.100.128",  "198.51.100.193",  "198.51.101.1",
           "224.0.0.251",    "239.255.255.255", "240.0.0.1",      "255.255.255.255", "127.0.0.1",       "126.0.0.1",
           "0.0.0.0",        "198.51.100.40",   "198.51.100.41",  "198.51.100.63",   "198.51.100.72",   "198.51.100.73",
           "198.51.100.104", "198.51.100.105",  "0.1.2.3",        "1.0.0.0",         "223.255.255.255", "169.254.0.1"}),
      .six = addresses({"2001:db8::99",
                        "2001:db8::77",
                        "2001:db8::2",
                        "2001:db8::",
                        "2001:db8:1::99",
                        "2001:db8:1::77",
                        "2001:db8:a::99",
                        "2001:db8:a::77",
                        "2001:db8:2::99",
                        "2001:db8:2::77",
                        "2001:db8:3::99",
                        "2001:db8:3::77",
                        "2001:db8:4::99",
                        "2001:db8:4::77",
                        "2001:db8:f::1",
                        "2001:db8:e::1",
                        "2001:db8:d::1",
                        "2001:db8:c::1",
                        "2001:db9::1",
                        "ff02::1",
                        "ff0e::1",
                        "ff02::1:ff00:99",
                        "fe80::1",
                        "::",
                        "::1",
                        "::2",
                        "::ffff:0:0",
                        "::ffff:192.0.2.1",
                        "::fffe:192.0.2.1",
                        "0:0:0:1:0:ffff:192.0.2.1",
                        "::192.0.2.1",
                        "fe00::1",
                        "2001:db8:0:0:6::"}),
      .many_four = {},
      .many_six = {},
      .claimed_ports = {7, 0x0700, 53, 65535},
      .ports = {7, 7, 7, 0x0700, 53, 65535, 0, 8, 6, 40000},
      .claimed_protocols = {6, 6, 17, 17, 33, 132, 136}};
  for (const model::Address& one : pools.six)
    if (model::is_multicast(one)) pools.many_six.push_back(one);
  for (const model::Address& one : pools.four) {
    if (model::is_multicast(one)) pools.many_four.insert(pools.many_four.end(), 3, one);
    if (one.bytes()[15] == 255 || one.bytes()[15] == 127 || one.bytes()[15] == 63) pools.many_four.push_back(one);
  }
  for (const std::string_view text : host_addresses) {
    const model::Address one = address(text);
    pools.local.push_back(one);
    (one.is_ip4() ? pools.four : pools.six).push_back(one);
  }
  return pools;
}

}  // namespace

model::Address address(std::string_view text) {
  const std::string terminated(text);
  std::array<std::uint8_t, 16> bytes{};
  if (inet_pton(AF_INET, terminated.c_str(), bytes.data()) == 1) return model::Address::ip4(model::View(bytes));
  if (inet_pton(AF_INET6, terminated.c_str(), bytes.data()) == 1) return model::Address::ip6(model::View(bytes));
  throw std::invalid_argument("not an address: " + terminated);
}

const Pools& pools() {
  static const Pools all = make();
  return all;
}

}  // namespace differential
