// SPDX-License-Identifier: BSD-2-Clause
//
// ICMP errors of real kernels: a router on the way, the peer, and this host. A stack gets those about what it sent and
// may tell a peer about what was sent to it; all other ICMP is the kernels' own.
#include <gtest/gtest.h>

#include <algorithm>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

struct Family {
  const char* name;
  std::string host, wire, near, far;
  std::uint8_t protocol;
  // Type and code on the wire.
  std::uint8_t port_unreachable[2], too_big[2], exceeded[2];
};
const Family families[] = {{"IPv4", host4, wire4, near4, far4, IPPROTO_ICMP, {3, 3}, {3, 4}, {11, 0}},
                           {"IPv6", host6, wire6, near6, far6, IPPROTO_ICMPV6, {1, 4}, {2, 0}, {3, 0}}};

std::uint16_t port_at(const Bytes& bytes, std::size_t at) {
  return static_cast<std::uint16_t>(bytes.at(at) << 8 | bytes.at(at + 1));
}

class Icmp : public NetTest, public ::testing::WithParamInterface<std::tuple<const char*, Family>> {
 protected:
  Icmp() : NetTest({.far = true}) {}
  void SetUp() override {
    start({.arguments = {}, .xdp_mode = std::get<0>(GetParam()), .environment = {}});
    // Of kernels, which send one a second to a peer otherwise.
    for (const Namespace* netns : {&world().wire(), &world().far()})
      World::in(*netns, "sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0");
    World::in(world().host(), "ip route replace " + family().far + " via " + family().wire + " dev up0");
  }
  const Family& family() const { return std::get<1>(GetParam()); }
  bool ipv6() const { return family().protocol == IPPROTO_ICMPV6; }
  Endpoint service() const { return {family().host, 7000}; }
  Endpoint remote() const { return {family().wire, 4000}; }
  Endpoint far(std::uint16_t port = 4000) const { return {family().far, port}; }

  // The quoted packet, IP header first, of an error of that kind which the stack gets.
  Bytes quote_of(Stack& stack, const std::uint8_t (&kind)[2], Packet* error = nullptr) const {
    const auto got = stack.receive([&](const Packet& packet) {
      return packet.protocol == family().protocol && packet.payload.size() > 28 &&
             static_cast<std::uint8_t>(packet.payload[0]) == kind[0] &&
             static_cast<std::uint8_t>(packet.payload[1]) == kind[1];
    });
    if (!got) return {};
    if (error) *error = *got;
    return {got->payload.begin() + 8, got->payload.end()};
  }
  std::size_t ip_header() const { return ipv6() ? 40 : 20; }
  void expect_quote(const Bytes& quote, const Endpoint& from, const Endpoint& to) const {
    ASSERT_GE(quote.size(), ip_header() + 8);
    const Bytes source = address_bytes(from.address), destination = address_bytes(to.address);
    const auto addresses = quote.begin() + (ipv6() ? 8 : 12);
    EXPECT_TRUE(std::ranges::equal(source, std::span(addresses, source.size())));
    EXPECT_TRUE(
        std::ranges::equal(destination, std::span(addresses + static_cast<long>(source.size()), destination.size())));
    EXPECT_EQ(port_at(quote, ip_header()), from.port);
    EXPECT_EQ(port_at(quote, ip_header() + 2), to.port);
  }

  // With DF in IPv4; in IPv6 no router cuts anything up.
  Bytes unfragmentable(const Endpoint& to, std::size_t size) const {
    Bytes frame = build(World::udp(service(), to, std::string(size, 'x')));
    if (ipv6()) return frame;
    return build(Raw{.from = service().address,
                     .to = to.address,
                     .protocol = IPPROTO_UDP,
                     .payload = Bytes(frame.begin() + 34, frame.end()),
                     .fragment_field = 0x4000});
  }

  // What a stack says about `packet`, which is an IP packet that was sent to it.
  Bytes error_about(const Bytes& packet, const std::uint8_t (&kind)[2], const Endpoint& from,
                    const Endpoint& to) const {
    Bytes message{kind[0], kind[1], 0, 0, 0, 0, 0, 0};
    message.insert(message.end(), packet.begin(), packet.end());
    Bytes covered;
    if (ipv6()) {
      covered = address_bytes(from.address);
      const Bytes destination = address_bytes(to.address);
      covered.insert(covered.end(), destination.begin(), destination.end());
      for (const std::size_t part : {message.size(), std::size_t{IPPROTO_ICMPV6}}) {
        covered.push_back(static_cast<std::uint8_t>(part >> 8));
        covered.push_back(static_cast<std::uint8_t>(part));
      }
    }
    covered.insert(covered.end(), message.begin(), message.end());
    const std::uint16_t checksum = internet_checksum(covered);
    message[2] = static_cast<std::uint8_t>(checksum >> 8);
    message[3] = static_cast<std::uint8_t>(checksum);
    return build(Raw{.from = from.address, .to = to.address, .protocol = family().protocol, .payload = message});
  }
};

INSTANTIATE_TEST_SUITE_P(Modes, Icmp,
                         ::testing::Combine(::testing::Values("native", "generic"), ::testing::ValuesIn(families)),
                         [](const auto& chosen) {
                           return std::string(std::get<0>(chosen.param)) + "_" + std::get<1>(chosen.param).name;
                         });

TEST_P(Icmp, ThePeersPortUnreachableReachesTheStackThatSent) {
  Stack stack(world()), other(world(), bob);
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Claim others = other.claim(IPPROTO_UDP, {family().host, 7001});
  stack.send(World::udp(service(), remote(), "to nobody"));
  Packet error;
  expect_quote(quote_of(stack, family().port_unreachable, &error), service(), remote());
  EXPECT_EQ(error.from.address, remote().address);
  EXPECT_EQ(error.to.address, service().address);
  // The kernel's half of the owner knows nothing of it, nor does another stack.
  int pending_error = -1;
  socklen_t size = sizeof(pending_error);
  check(::getsockopt(claim.fd(), SOL_SOCKET, SO_ERROR, &pending_error, &size), "SO_ERROR");
  EXPECT_EQ(pending_error, 0);
  world().send(World::udp(remote(), {family().host, 7001}, "the end"));
  EXPECT_TRUE(other.receive(udp_payload("the end")));
  EXPECT_EQ(other.seen_on(0), 1U);
}

TEST_P(Icmp, ErrorsAboutTheKernelsPacketsStayTheKernels) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Fd socket = bound_as(bob, IPPROTO_UDP, {family().host, 7001});
  const SocketAddress address{remote()};
  check(::connect(socket.get(), address.get(), address.size), "connect");
  check(::send(socket.get(), "?", 1, 0), "send");
  pollfd entry{.fd = socket.get(), .events = POLLIN, .revents = 0};
  ASSERT_EQ(::poll(&entry, 1, 5000), 1);
  char byte;
  EXPECT_EQ(::recv(socket.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
  EXPECT_EQ(pins().counter(MSTACK_RX_STEERED), 0U);
  // Nor is what is no error anybody else's.
  World::in(world().wire(), "ping -n -c 1 -W 5 " + family().host);
}

// As traceroute does it: the router speaks up first, then the far end.
TEST_P(Icmp, AStackTracesItsRoute) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Claim of_tcp = stack.claim(IPPROTO_TCP, service());
  for (const std::uint8_t protocol : {IPPROTO_UDP, IPPROTO_TCP}) {
    Segment probe = World::udp(service(), far(33435), {});
    probe.protocol = protocol;
    probe.ttl = 1;
    stack.send(probe);
    Packet error;
    const Bytes quote = quote_of(stack, family().exceeded, &error);
    expect_quote(quote, service(), far(33435));
    EXPECT_EQ(quote.at(ipv6() ? 6 : 9), protocol);
    EXPECT_EQ(error.from.address, family().wire);
  }
  Segment probe = World::udp(service(), far(33436), {});
  probe.ttl = 2;
  stack.send(probe);
  Packet error;
  expect_quote(quote_of(stack, family().port_unreachable, &error), service(), far(33436));
  EXPECT_EQ(error.from.address, family().far);
}

// What one stack learns of a path is not learned by the kernel, whose sockets did not ask.
TEST_P(Icmp, ARouterTellsTheStackAloneThatItsPacketsAreTooBig) {
  constexpr unsigned mtu = 1300;
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  World::in(world().wire(), "ip link set near0 mtu " + std::to_string(mtu));
  World::in(world().far(), "ip link set far0 mtu " + std::to_string(mtu));
  const Fd server = world().far().run([&] { return bound(IPPROTO_UDP, far()); });
  stack.send(unfragmentable(far(), 1400));
  Packet error;
  expect_quote(quote_of(stack, family().too_big, &error), service(), far());
  const Bytes message(error.payload.begin(), error.payload.end());
  EXPECT_EQ(port_at(message, 6), mtu);
  stack.send(unfragmentable(far(), 1200));
  const auto got = receive_from(server.get());
  ASSERT_TRUE(got);
  EXPECT_EQ(got->payload.size(), 1200U);

  const auto route = [&] { return World::in(world().host(), "ip route get " + far().address); };
  EXPECT_EQ(route().find("mtu"), std::string::npos) << route();
  // The kernel has to find out by itself, and does.
  const Fd socket = bound_as(bob, IPPROTO_UDP, {family().host, 7001});
  const int level = ipv6() ? IPPROTO_IPV6 : IPPROTO_IP, discover = IP_PMTUDISC_DO;
  static_assert(IP_PMTUDISC_DO == IPV6_PMTUDISC_DO);
  check(::setsockopt(socket.get(), level, ipv6() ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &discover, sizeof(discover)),
        "MTU_DISCOVER");
  const SocketAddress address{far()};
  check(::connect(socket.get(), address.get(), address.size), "connect");
  check(::send(socket.get(), std::string(1400, 'x').data(), 1400, 0), "send");
  pollfd entry{.fd = socket.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&entry, 1, 5000), 1);
  char byte;
  EXPECT_EQ(::recv(socket.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, EMSGSIZE);
  EXPECT_NE(route().find("mtu " + std::to_string(mtu)), std::string::npos) << route();
}

TEST_P(Icmp, AStackTellsThePeersKernelThatAPortIsUnreachable) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Fd client = world().wire().run([&] {
    Fd made = bound(IPPROTO_UDP, remote());
    const SocketAddress address{service()};
    check(::connect(made.get(), address.get(), address.size), "connect");
    check(::send(made.get(), "anybody?", 8, 0), "send");
    return made;
  });
  ASSERT_TRUE(stack.receive(udp_payload("anybody?")));
  const Bytes frame = build(World::udp(remote(), service(), "anybody?"));
  const Bytes asked(frame.begin() + 14, frame.end());
  // About what was sent to somebody else it may say nothing.
  const Bytes others_frame = build(World::udp(remote(), {family().host, 7001}, "anybody?"));
  stack.send(
      error_about({others_frame.begin() + 14, others_frame.end()}, family().port_unreachable, service(), remote()));
  EXPECT_EQ(pins().counter(MSTACK_TX_SENT) + pins().counter(MSTACK_TX_SENT_SLOW), 0U);
  stack.send(error_about(asked, family().port_unreachable, service(), remote()));
  pollfd entry{.fd = client.get(), .events = POLLIN, .revents = 0};
  ASSERT_EQ(::poll(&entry, 1, 5000), 1);
  char byte;
  EXPECT_EQ(::recv(client.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
  EXPECT_EQ(pins().counter(MSTACK_TX_DROP_UNCLAIMED), 1U);
}

}  // namespace
}  // namespace mstack::test
