// SPDX-License-Identifier: BSD-2-Clause
//
// UDP-Lite (RFC 3828), DCCP and SCTP, with the kernel's own sockets as owners and as peers, where the kernel has them.
#include <gtest/gtest.h>

#include <fstream>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

constexpr std::uint16_t contested = 40123;
constexpr int udplite_send_coverage = 10;  // UDPLITE_SEND_CSCOV

struct Family {
  const char* name;
  std::string host, second, wire, any;
};

// Why there are no such sockets, or nothing.
std::string no_sockets(int type, int protocol) {
  const int fd = ::socket(AF_INET, type | SOCK_CLOEXEC, protocol);
  if (fd < 0) return std::string("this kernel has none: ") + std::strerror(errno);
  ::close(fd);
  return {};
}

int connect_error(int fd, const Endpoint& to) {
  const SocketAddress address{to};
  return ::connect(fd, address.get(), address.size) < 0 ? errno : 0;
}

void disconnect(int fd) {
  const sockaddr nowhere{.sa_family = AF_UNSPEC, .sa_data = {}};
  (void)::connect(fd, &nowhere, sizeof(nowhere));
}

void put16(Bytes& bytes, unsigned value) {
  bytes.push_back(static_cast<std::uint8_t>(value >> 8));
  bytes.push_back(static_cast<std::uint8_t>(value));
}

// A datagram of which `coverage` bytes are under the checksum.
Bytes udplite(const Endpoint& from, const Endpoint& to, const std::string& text, unsigned coverage) {
  Bytes datagram;
  put16(datagram, from.port);
  put16(datagram, to.port);
  put16(datagram, coverage);
  put16(datagram, 0);
  datagram.insert(datagram.end(), text.begin(), text.end());

  Bytes covered = address_bytes(from.address);
  const Bytes destination = address_bytes(to.address);
  covered.insert(covered.end(), destination.begin(), destination.end());
  put16(covered, IPPROTO_UDPLITE);
  put16(covered, static_cast<unsigned>(datagram.size()));
  covered.insert(covered.end(), datagram.begin(), datagram.begin() + coverage);
  const std::uint16_t checksum = internet_checksum(covered);
  datagram[6] = static_cast<std::uint8_t>(checksum >> 8);
  datagram[7] = static_cast<std::uint8_t>(checksum);
  return build(Raw{.from = from.address, .to = to.address, .protocol = IPPROTO_UDPLITE, .payload = datagram});
}

Capture::Predicate carries(const std::string& text) {
  return [text](const Packet& packet) {
    return packet.protocol == IPPROTO_UDPLITE && packet.payload.size() == 8 + text.size() &&
           packet.payload.ends_with(text);
  };
}

class UdpLite : public NetTest, public ::testing::WithParamInterface<Family> {
 protected:
  void SetUp() override {
    NetTest::SetUp();
    if (const std::string none = no_sockets(SOCK_DGRAM, IPPROTO_UDPLITE); !none.empty())
      GTEST_SKIP() << "UDP-Lite: " << none;
  }
  Endpoint service() const { return {GetParam().host, 7000}; }
  Endpoint remote() const { return {GetParam().wire, 4000}; }
  Fd on_the_wire() const {
    return world().wire().run([&] { return bound(IPPROTO_UDPLITE, remote()); });
  }
};

INSTANTIATE_TEST_SUITE_P(Families, UdpLite,
                         ::testing::Values(Family{"IPv4", host4, host4_second, wire4, "0.0.0.0"},
                                           Family{"IPv6", host6, host6_second, wire6, "::"}),
                         [](const auto& chosen) { return chosen.param.name; });

TEST_P(UdpLite, WhatTheKernelSendsReachesTheStackAlone) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDPLITE, service());
  const Fd plain = bound_as(bob, IPPROTO_UDP, service());  // another protocol, another tuple
  const Fd peer = on_the_wire();
  for (const int coverage : {0, 8, 12}) {
    check(::setsockopt(peer.get(), IPPROTO_UDPLITE, udplite_send_coverage, &coverage, sizeof(coverage)), "coverage");
    send_to(peer.get(), service(), "covered by " + std::to_string(coverage));
    EXPECT_TRUE(stack.receive(carries("covered by " + std::to_string(coverage))));
  }
  world().send(World::udp(remote(), service(), "plain"));
  const auto got = receive_from(plain.get());
  ASSERT_TRUE(got);
  EXPECT_EQ(got->payload, "plain");
  EXPECT_EQ(stack.seen().size(), 3U);
  EXPECT_FALSE(pending(claim.fd()));
}

TEST_P(UdpLite, TheKernelReadsWhatTheStackSends) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDPLITE, service());
  const Fd peer = on_the_wire();
  const std::string text = "text behind the header";
  for (const unsigned coverage : {8U, 8U + 4U, 8U + static_cast<unsigned>(text.size())}) {
    stack.send(udplite({service().address, 7001}, remote(), "another's", 8));
    stack.send(udplite(service(), remote(), text, coverage));
    const auto got = receive_from(peer.get());
    ASSERT_TRUE(got) << coverage;
    EXPECT_EQ(got->payload, text);
    EXPECT_EQ(got->from, service());
  }
  EXPECT_EQ(pins().counter(MSTACK_TX_DROP_UNCLAIMED), 3U);
}

// connect() of a wildcard leaves the socket one address, and with UDP-Lite no hook sees it: the port of the others is
// free for connect() to give to anybody, with the claim still on it.
TEST_P(UdpLite, NoClaimStandsOnWhatAWildcardHasLost) {
  world().host().run([] { std::ofstream("/proc/sys/net/ipv4/ip_local_port_range") << contested << ' ' << contested; });
  Stack stack(world());
  const Fd owner = bound_as(alice, IPPROTO_UDPLITE, {GetParam().any, contested});
  const auto claim = stack.try_claim(owner);
  EXPECT_FALSE(claim);
  if (!claim) {
    EXPECT_EQ(claim.error().code, EOPNOTSUPP) << claim.error().what;
  }
  as_user(alice, [&] { EXPECT_EQ(connect_error(owner.get(), remote()), 0); });

  const bool has_first = local_endpoint(owner.get()).address == GetParam().host;
  const Endpoint own{has_first ? GetParam().second : GetParam().host, contested};
  const Fd victim = as_user(bob, [&] {
    Fd made = make_socket(IPPROTO_UDPLITE, own.ipv6());
    const int later = 1;
    check(::setsockopt(made.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &later, sizeof(later)), "setsockopt");
    EXPECT_EQ(bind_error(made.get(), {own.address, 0}), 0);
    EXPECT_EQ(connect_error(made.get(), remote()), 0);
    return made;
  });
  ASSERT_EQ(local_endpoint(victim.get()), own) << "the test did not give the port to the victim";
  send_to(on_the_wire().get(), own, "for the victim");
  const auto got = receive_from(victim.get(), Deadline{5s});
  ASSERT_TRUE(got) << "the victim's datagram was taken";
  EXPECT_EQ(got->payload, "for the victim");
}

// An address and a port asked for are the socket's until it is closed.
TEST_P(UdpLite, AnOwnerOfOneAddressKeepsItWhateverItDoes) {
  world().host().run([] { std::ofstream("/proc/sys/net/ipv4/ip_local_port_range") << contested << ' ' << contested; });
  Stack stack(world());
  const Endpoint own{service().address, contested};
  const Fd owner = bound_as(alice, IPPROTO_UDPLITE, own);
  const Claim claim = stack.claim(owner);
  as_user(alice, [&] {
    EXPECT_EQ(connect_error(owner.get(), remote()), 0);
    disconnect(owner.get());
  });
  as_user(bob, [&] {
    const Fd other = make_socket(IPPROTO_UDPLITE, own.ipv6());
    EXPECT_NE(connect_error(other.get(), remote()), 0) << "it was given the only port there is";
    EXPECT_EQ(bind_error(other.get(), own), EADDRINUSE);
  });
  send_to(on_the_wire().get(), own, "still the stack's");
  EXPECT_TRUE(stack.receive(carries("still the stack's")));
}

TEST_P(UdpLite, NoOwnerEverAskedForReuse) {
  Stack stack(world());
  const Fd early = bound_as(alice, IPPROTO_UDPLITE, service(), {.reuse_address = true});
  EXPECT_EQ(stack.try_claim(early).error().code, EOPNOTSUPP);
  const Fd late = bound_as(alice, IPPROTO_UDPLITE, {service().address, 7001});
  const Claim claim = stack.claim(late);
  const int one = 1;
  check(::setsockopt(late.get(), SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), "setsockopt");
  EXPECT_TRUE(pins().claims().empty());
}

class OtherProtocols : public NetTest {};

TEST_F(OtherProtocols, OfDccpAnAddressCanBeClaimed) {
  if (const std::string none = no_sockets(SOCK_DCCP, IPPROTO_DCCP); !none.empty()) GTEST_SKIP() << "DCCP: " << none;
  Stack stack(world());
  const Endpoint service{host4, 7000};
  EXPECT_EQ(stack.try_claim(IPPROTO_DCCP, {"0.0.0.0", 7001}).error().code, EOPNOTSUPP);
  const Claim claim = stack.claim(IPPROTO_DCCP, service);
  const Fd peer = world().wire().run([&] { return bound(IPPROTO_DCCP, {wire4, 4000}); });
  check(::fcntl(peer.get(), F_SETFL, O_NONBLOCK), "fcntl");
  EXPECT_EQ(connect_error(peer.get(), service), EINPROGRESS);
  const auto request = stack.receive([](const Packet& packet) { return packet.protocol == IPPROTO_DCCP; });
  ASSERT_TRUE(request);
  EXPECT_EQ(static_cast<std::uint8_t>(request->payload.at(8)) >> 1 & 15, 0) << "not a DCCP-Request";
}

TEST_F(OtherProtocols, OfSctpNothingCanBeClaimed) {
  if (const std::string none = no_sockets(SOCK_STREAM, IPPROTO_SCTP); !none.empty()) GTEST_SKIP() << "SCTP: " << none;
  Stack stack(world());
  const Fd owner = as_user(alice, [] {
    Fd made{check(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_SCTP), "socket")};
    EXPECT_EQ(bind_error(made.get(), {host4, 7000}), 0);
    return made;
  });
  const auto refused = stack.try_claim(owner);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ESOCKTNOSUPPORT);
  EXPECT_NE(refused.error().what.find("SCTP"), std::string::npos) << refused.error().what;
}

// Not even by a claim of the same address and port.
TEST_F(OtherProtocols, SctpOfTheKernelGoesOn) {
  if (const std::string none = no_sockets(SOCK_STREAM, IPPROTO_SCTP); !none.empty()) GTEST_SKIP() << "SCTP: " << none;
  Stack stack(world());
  const auto sctp = [](const Endpoint& at) {
    Fd made{check(::socket(at.ipv6() ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_SCTP), "socket")};
    EXPECT_EQ(bind_error(made.get(), at), 0) << at;
    return made;
  };
  for (const auto& [here, there] : {std::pair{host4, wire4}, {host6, wire6}}) {
    const Endpoint service{here, 7000}, remote{there, 4000};
    const Claim claim = stack.claim(IPPROTO_UDP, service);
    const Fd server = world().host().run([&] { return sctp(service); });
    ASSERT_EQ(::listen(server.get(), 1), 0);
    const Fd client = world().wire().run([&] { return sctp(remote); });
    check(::fcntl(client.get(), F_SETFL, O_NONBLOCK), "fcntl");
    EXPECT_EQ(connect_error(client.get(), service), EINPROGRESS);
    ASSERT_TRUE(wait_for(client.get(), POLLOUT, Deadline{})) << "no association with " << service;
    ASSERT_TRUE(wait_for(server.get(), POLLIN, Deadline{}));
    const Fd association{check(::accept4(server.get(), nullptr, nullptr, SOCK_CLOEXEC), "accept")};
    for (const auto& [from, to] : {std::pair{&client, &association}, {&association, &client}}) {
      ASSERT_EQ(::send(from->get(), "by SCTP", 7, MSG_NOSIGNAL), 7) << std::strerror(errno);
      const auto got = receive_from(to->get());
      ASSERT_TRUE(got);
      EXPECT_EQ(got->payload, "by SCTP");
    }
    world().send(World::udp(remote, service, "by UDP"));
    EXPECT_TRUE(stack.receive(udp_payload("by UDP")));
  }
  EXPECT_EQ(stack.seen().size(), 2U);
  EXPECT_EQ(stack.seen_on(0), 2U);
  EXPECT_EQ(pins().counter(MSTACK_RX_STEERED), 2U);
}

}  // namespace
}  // namespace mstack::test
