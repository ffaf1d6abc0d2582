// SPDX-License-Identifier: BSD-2-Clause
//
// The kernel gives a copy of what this host sends to a group to generic XDP, without an Ethernet header.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <string_view>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

const Endpoint service{host4, 7000}, remote{wire4, 4000};

class Looped : public NetTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override { start({.arguments = {}, .xdp_mode = GetParam(), .environment = {}}); }
};

INSTANTIATE_TEST_SUITE_P(Modes, Looped, ::testing::Values("native", "generic"),
                         [](const auto& chosen) { return std::string(chosen.param); });

// The addresses of an IPv6 packet that is a UDP packet over IPv4 if its first 14 bytes are taken for an Ethernet
// header. Both are for any user to choose: the source need not be the host's, and any group can be sent to.
struct Disguise {
  Bytes source, group;
};

Disguise disguised(const Endpoint& from, const Endpoint& to, std::uint16_t length) {
  Bytes ip{0x45, 0, static_cast<std::uint8_t>(length >> 8), static_cast<std::uint8_t>(length), 0, 0, 0, 0, 64, 17,
           0,    0};
  for (const std::string& address : {from.address, to.address}) {
    const Bytes bytes = address_bytes(address);
    ip.insert(ip.end(), bytes.begin(), bytes.end());
  }
  // Of a group the first bytes are those of the checksum, which the identification makes right.
  ip[10] = 0xff;
  ip[11] = 0x05;
  const std::uint16_t missing = internet_checksum(ip);
  ip[4] = static_cast<std::uint8_t>(missing >> 8);
  ip[5] = static_cast<std::uint8_t>(missing);
  for (const std::size_t field : {std::size_t{from.port}, std::size_t{to.port}, std::size_t{length} - 20})
    ip.insert(ip.end(), {static_cast<std::uint8_t>(field >> 8), static_cast<std::uint8_t>(field)});
  Bytes source{0x20, 0x01, 0x0d, 0xb8, 0x08, 0x00};
  std::copy_n(ip.begin(), 10, std::back_inserter(source));
  return {.source = source, .group = Bytes(ip.begin() + 10, ip.end())};
}

sockaddr_in6 address_of(const Bytes& bytes, std::uint16_t port) {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  std::ranges::copy(bytes, address.sin6_addr.s6_addr);
  return address;
}

TEST_P(Looped, NoUserPutsAnothersPacketIntoACopy) {
  Stack stack(world(), alice);
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  constexpr int attacks = 10;
  const std::string payload(100, 'x');
  // The copy begins with 40 bytes of IPv6 and 8 of UDP.
  const Disguise disguise = disguised(remote, service, static_cast<std::uint16_t>(40 + 8 + payload.size() - 14));
  as_user(bob, [&] {
    const Fd socket{check(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket")};
    const int on = 1, index = static_cast<int>(world().uplink_index());
    check(::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof(on)), "IPV6_FREEBIND");
    check(::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof(index)), "IPV6_MULTICAST_IF");
    ipv6_mreq request{};
    std::ranges::copy(disguise.group, request.ipv6mr_multiaddr.s6_addr);
    request.ipv6mr_interface = world().uplink_index();
    check(::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_JOIN_GROUP, &request, sizeof(request)), "IPV6_JOIN_GROUP");
    const sockaddr_in6 from = address_of(disguise.source, 5000), to = address_of(disguise.group, 5000);
    check(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&from), sizeof(from)), "bind");
    for (int i = 0; i < attacks; ++i)
      check(
          ::sendto(socket.get(), payload.data(), payload.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof(to)),
          "sendto");
  });
  const std::uint64_t seen = std::string_view(GetParam()) == "generic" ? attacks : 0;
  EXPECT_TRUE(eventually([&] { return pins().counter(MSTACK_RX_PASS_OWN_SOURCE) == seen; }));
  world().send(World::udp(remote, service, "genuine"));
  ASSERT_TRUE(stack.receive(udp_payload("genuine")));
  EXPECT_EQ(stack.seen().size(), 1U);
  EXPECT_EQ(pins().counter(MSTACK_RX_STEERED), 1U);
}

}  // namespace
}  // namespace mstack::test
