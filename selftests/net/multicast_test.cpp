// SPDX-License-Identifier: BSD-2-Clause
//
// Multicast and broadcast: the owner of exactly that address gets them, and everybody else's stay the kernel's.
#include <gtest/gtest.h>
#include <net/if.h>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

struct Group {
  const char* name;
  std::string address, host, wire, any;
};
const Group groups[] = {{"IPv4", "239.1.2.3", host4, wire4, "0.0.0.0"},
                        {"IPv6", "ff05::1:3", host6, wire6, "::"},
                        {"Broadcast", "255.255.255.255", host4, wire4, "0.0.0.0"},
                        {"Subnet", "192.0.2.255", host4, wire4, "0.0.0.0"}};

class Multicast : public NetTest, public ::testing::WithParamInterface<Group> {
 protected:
  const Group& group() const { return GetParam(); }
  Endpoint service() const { return {group().address, 7000}; }
  bool is_broadcast() const { return group().address.ends_with("255"); }

  void join(int fd) const { join(fd, world().uplink_index()); }
  void join(int fd, std::uint32_t device) const {
    if (is_broadcast()) return;
    if (service().ipv6()) {
      ipv6_mreq request{};
      const Bytes address = address_bytes(group().address);
      std::ranges::copy(address, request.ipv6mr_multiaddr.s6_addr);
      request.ipv6mr_interface = device;
      check(::setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &request, sizeof(request)), "IPV6_JOIN_GROUP");
    } else {
      ip_mreqn request{};
      const Bytes address = address_bytes(group().address);
      std::memcpy(&request.imr_multiaddr, address.data(), address.size());
      request.imr_ifindex = static_cast<int>(device);
      check(::setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof(request)), "IP_ADD_MEMBERSHIP");
    }
  }

  // By a socket of the wire's kernel.
  void send(const Endpoint& to, const std::string& text) const {
    world().wire().run([&] {
      const Fd sender = bound(IPPROTO_UDP, {group().wire, 4000});
      const int one = 1;
      check(::setsockopt(sender.get(), SOL_SOCKET, SO_BROADCAST, &one, sizeof(one)), "SO_BROADCAST");
      const int index = static_cast<int>(::if_nametoindex(wire_end.c_str()));
      if (to.ipv6())
        check(::setsockopt(sender.get(), IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof(index)), "IPV6_MULTICAST_IF");
      else
        check(::setsockopt(sender.get(), SOL_SOCKET, SO_BINDTODEVICE, wire_end.c_str(), 6), "SO_BINDTODEVICE");
      send_to(sender.get(), to, text);
    });
  }
};

INSTANTIATE_TEST_SUITE_P(Groups, Multicast, ::testing::ValuesIn(groups),
                         [](const auto& chosen) { return chosen.param.name; });

TEST_P(Multicast, ReachesTheOwnerOfTheGroupAlone) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  join(claim.fd());
  const Endpoint other{group().address, 7001};
  const Fd kernel = bound_as(bob, IPPROTO_UDP, other);
  join(kernel.get());
  send(service(), "for the stack");
  send(other, "for the kernel");
  const auto got = stack.receive(udp_payload("for the stack"));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->to, service());
  EXPECT_EQ(got->from, (Endpoint{group().wire, 4000}));
  const auto kernels = receive_from(kernel.get());
  ASSERT_TRUE(kernels);
  EXPECT_EQ(kernels->payload, "for the kernel");
  EXPECT_FALSE(pending(claim.fd()));
  EXPECT_EQ(stack.seen().size(), 1U);
}

// A wildcard is of the host's own addresses: what goes to a group is for the sockets that joined it.
TEST_P(Multicast, IsNoWildcards) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, {group().any, 7000}, {.v6only = true});
  join(claim.fd());
  send(service(), "for the socket");
  const auto got = receive_from(claim.fd());
  ASSERT_TRUE(got);
  EXPECT_EQ(got->payload, "for the socket");
  send({group().host, 7000}, "for the stack");
  EXPECT_TRUE(stack.receive(udp_payload("for the stack")));
  EXPECT_EQ(stack.seen().size(), 1U);
}

// Sockets that share a group all ask for reuse. An owner never did, so it has the group's port alone or not at all.
TEST_P(Multicast, IsOneHoldersOrIsNotClaimed) {
  Stack stack(world());
  {
    const Claim claim = stack.claim(IPPROTO_UDP, service());
    for (const std::string& address : {group().address, group().any}) {
      as_user(bob, [&, reuse = BindOptions{.reuse_address = true, .reuse_port = true}] {
        const auto second = try_bind(IPPROTO_UDP, {address, 7000}, reuse);
        ASSERT_FALSE(second) << address;
        EXPECT_EQ(second.error(), EADDRINUSE);
      });
    }
  }
  const Fd member = bound_as(bob, IPPROTO_UDP, service(), {.reuse_address = true});
  join(member.get());
  EXPECT_FALSE(stack.try_claim(IPPROTO_UDP, service()));
  const Fd sharer = bound_as(alice, IPPROTO_UDP, service(), {.reuse_address = true});
  EXPECT_EQ(stack.try_claim(sharer).error().code, EOPNOTSUPP);
  send(service(), "for the member");
  const auto got = receive_from(member.get());
  ASSERT_TRUE(got);
  EXPECT_EQ(got->payload, "for the member");
}

// The wire's kernel takes it for its members by the MAC address alone, so that is right too.
TEST_P(Multicast, IsSentTo) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, {group().host, 7000});
  const Endpoint other{group().address, 4001};
  world().wire().run([&] {
    const Fd member = bound(IPPROTO_UDP, {group().any, 4001});
    join(member.get(), ::if_nametoindex(wire_end.c_str()));
    stack.send(World::udp({group().host, 7000}, other, "to all of them"));
    const auto got = receive_from(member.get());
    ASSERT_TRUE(got);
    EXPECT_EQ(got->payload, "to all of them");
    EXPECT_EQ(got->from, (Endpoint{group().host, 7000}));
  });
  EXPECT_EQ(pins().counter(MSTACK_TX_SENT) + pins().counter(MSTACK_TX_SENT_SLOW), 1U);
}

// The source decides the device, and has its MAC address, also when that has changed.
TEST_P(Multicast, IsSentFromTheMacAddressThatTheUplinkHas) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, {group().host, 7000});
  const auto capture = world().capture();
  World::in(world().host(), "ip link set up0 address 02:00:00:00:77:01");
  const auto is_new = [&](const Packet& packet) {
    return packet.from == Endpoint{group().host, 7000} && packet.source_mac == Mac{0x02, 0, 0, 0, 0x77, 0x01};
  };
  EXPECT_TRUE(eventually([&] {
    stack.send(World::udp({group().host, 7000}, {group().address, 4001}, "as ever"));
    return capture->count(is_new) != 0;
  }));
}

// Nobody sends from a group.
TEST_P(Multicast, IsNoSource) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Claim own = stack.claim(IPPROTO_UDP, {group().host, 7000});
  const Endpoint remote{group().wire, 4000};
  const auto capture = world().capture();
  stack.send(World::udp(service(), remote, "from a group"));
  stack.send(World::udp({group().host, 7000}, remote, "from a member"));
  ASSERT_TRUE(capture->wait(udp_payload("from a member")));
  EXPECT_EQ(capture->count(udp_payload("from a group")), 0U);
  EXPECT_EQ(pins().counter(MSTACK_TX_DROP_NOT_LOCAL), 1U);
}

TEST_P(Multicast, OutlivesMstackdAndChangesOfAddresses) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  join(claim.fd());
  restart();
  send(service(), "after a crash");
  EXPECT_TRUE(stack.receive(udp_payload("after a crash")));
  // Known to mstackd when it admits a claim on the new one.
  World::in(world().host(), "ip addr add 203.0.113.7/24 dev up0");
  World::in(world().host(), "ip addr del " + host4_second + "/24 dev up0");
  Stack other(world());
  const Claim on_new = other.claim(IPPROTO_UDP, {"203.0.113.7", 7001});
  send(service(), "after a change");
  EXPECT_TRUE(stack.receive(udp_payload("after a change")));
}

class Groups : public NetTest {};

TEST_F(Groups, AreNotOfTcp) {
  Stack stack(world());
  const auto refused = stack.try_claim(IPPROTO_TCP, {"239.1.2.3", 7000});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, EADDRNOTAVAIL);
}

}  // namespace
}  // namespace mstack::test
