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

class Looped : public NetTest, public ::testing::WithParamInterface<const char*> {
 protected:
  static constexpr int attacks = 10;

  void SetUp() override { start({.arguments = {}, .xdp_mode = GetParam(), .environment = {}}); }

  // By a user who has no vport, to a group that is on the device, so that the kernel makes a copy.
  void attack(const std::string& device, const Endpoint& from, const Endpoint& to) const {
    const std::string payload(100, 'x');
    // The copy begins with 40 bytes of IPv6 and 8 of UDP.
    const Disguise disguise = disguised(from, to, static_cast<std::uint16_t>(40 + 8 + payload.size() - 14));
    const std::uint32_t index = world().index_of(device);
    as_user(bob, [&] {
      const Fd socket{check(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket")};
      const int on = 1;
      check(::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof(on)), "IPV6_FREEBIND");
      check(::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof(index)), "IPV6_MULTICAST_IF");
      ipv6_mreq request{};
      std::ranges::copy(disguise.group, request.ipv6mr_multiaddr.s6_addr);
      request.ipv6mr_interface = index;
      check(::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_JOIN_GROUP, &request, sizeof(request)), "IPV6_JOIN_GROUP");
      const sockaddr_in6 source = address_of(disguise.source, 5000), group = address_of(disguise.group, 5000);
      check(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&source), sizeof(source)), "bind");
      const auto* destination = reinterpret_cast<const sockaddr*>(&group);
      for (int i = 0; i < attacks; ++i)
        check(::sendto(socket.get(), payload.data(), payload.size(), 0, destination, sizeof(group)), "sendto");
    });
  }
};

INSTANTIATE_TEST_SUITE_P(Modes, Looped, ::testing::Values("native", "generic"),
                         [](const auto& chosen) { return std::string(chosen.param); });

TEST_P(Looped, NoUserPutsAnothersPacketIntoACopy) {
  Stack stack(world(), alice);
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  attack(uplink, remote, service);
  const std::uint64_t seen = std::string_view(GetParam()) == "generic" ? attacks : 0;
  EXPECT_TRUE(eventually([&] { return pins().counter(MSTACK_RX_PASS_OWN_SOURCE) == seen; }));
  world().send(World::udp(remote, service, "genuine"));
  ASSERT_TRUE(stack.receive(udp_payload("genuine")));
  EXPECT_EQ(stack.seen().size(), 1U);
  EXPECT_EQ(pins().counter(MSTACK_RX_STEERED), 1U);
}

// To the kernel, the host end is a device like any other.
TEST_P(Looped, NoUserMakesAnothersStackSendByACopy) {
  Stack stack(world(), alice);
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  attack("ms" + std::to_string(pins().vports().begin()->first) + "q0", service, remote);
  const auto capture = world().capture();
  stack.send(World::udp(service, remote, "own"));
  ASSERT_TRUE(capture->wait(udp_payload("own")));
  std::uint64_t sent = 0;
  for (const auto& [name, count] : pins().counters())
    if (name.starts_with("TX_")) sent += count;
  EXPECT_EQ(sent, 1U);
}

}  // namespace
}  // namespace mstack::test
