// SPDX-License-Identifier: BSD-2-Clause
//
// Packets to a claimed tuple reach its stack, all others the kernel's sockets, as if MultiStack were not there.
#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

struct Family {
  const char* name;
  std::string host, second, wire, any;
};
const Family ipv4{"IPv4", host4, host4_second, wire4, "0.0.0.0"};
const Family ipv6{"IPv6", host6, host6_second, wire6, "::"};

class Steering : public NetTest, public ::testing::WithParamInterface<std::tuple<const char*, Family>> {
 protected:
  void SetUp() override { start({.arguments = {}, .xdp_mode = std::get<0>(GetParam()), .environment = {}}); }
  const Family& family() const { return std::get<1>(GetParam()); }
  Endpoint remote(std::uint16_t port = 4000) const { return {family().wire, port}; }
  // All that was left to the kernel but ICMP, which the kernels may say to each other at any time.
  std::uint64_t passed() const {
    std::uint64_t sum = 0;
    for (const auto verdict : {MSTACK_RX_PASS_UNCLAIMED, MSTACK_RX_PASS_NOT_LOCAL, MSTACK_RX_PASS_OWN_SOURCE,
                               MSTACK_RX_PASS_NOT_IP, MSTACK_RX_PASS_VLAN, MSTACK_RX_PASS_FRAGMENT,
                               MSTACK_RX_PASS_OVERLAP, MSTACK_RX_PASS_HEADERS, MSTACK_RX_PASS_MALFORMED})
      sum += pins().counter(verdict);
    return sum;
  }
  void expect_mode() const {
    const std::string shown = World::in(world().host(), "ip -o link show up0");
    const bool generic = std::get<0>(GetParam()) == std::string("generic");
    EXPECT_EQ(shown.find("xdpgeneric") != std::string::npos, generic) << shown;
  }
};

INSTANTIATE_TEST_SUITE_P(Modes, Steering,
                         ::testing::Combine(::testing::Values("native", "generic"), ::testing::Values(ipv4, ipv6)),
                         [](const auto& chosen) {
                           return std::string(std::get<0>(chosen.param)) + "_" + std::get<1>(chosen.param).name;
                         });

TEST_P(Steering, UdpToAClaimReachesTheStackAlone) {
  expect_mode();
  Stack stack(world());
  const Endpoint service{family().host, 7000};
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  world().send(World::udp(remote(), service, "for the stack"));
  const auto got = stack.receive(udp_payload("for the stack"));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->from, remote());
  EXPECT_EQ(got->to, service);
  EXPECT_EQ(got->ttl, 64);
  EXPECT_TRUE(got->checksums_right);
  EXPECT_EQ(got->destination_mac, stack.vport().queue(0).mac());
  EXPECT_EQ(got->source_mac, stack.vport().queue(0).gateway_mac());
  // The owner's own socket is in the kernel's stack, which saw nothing.
  EXPECT_FALSE(pending(claim.fd()));
  EXPECT_EQ(pins().counter(MSTACK_RX_STEERED), 1U);
  EXPECT_EQ(pins().counter(MSTACK_RX_DELIVERED), 1U);
}

TEST_P(Steering, TcpSegmentsOfAnyKindReachTheStack) {
  Stack stack(world());
  const Endpoint service{family().host, 7000};
  const Claim claim = stack.claim(IPPROTO_TCP, service);
  const auto capture = world().capture();
  for (const std::uint8_t flags : {tcp_syn, tcp_ack, tcp_fin, tcp_rst, tcp_psh}) {
    world().send(World::tcp(remote(), service, "segment", flags));
    const auto got = stack.receive([&](const Packet& packet) { return packet.protocol == IPPROTO_TCP; });
    ASSERT_TRUE(got);
    EXPECT_EQ(got->tcp_flags, flags);
    EXPECT_EQ(got->payload, "segment");
    EXPECT_TRUE(got->checksums_right);
  }
  // The kernel would have answered the ACK, the FIN and the SYN with a reset. What it answers to another port shows
  // when all of that would have been seen.
  world().send(World::tcp(remote(4001), {family().host, 7001}, ""));
  ASSERT_TRUE(capture->wait([&](const Packet& packet) { return packet.to == remote(4001); }));
  EXPECT_EQ(capture->count([&](const Packet& packet) { return packet.to == remote(); }), 0U);
}

TEST_P(Steering, EverythingElseOnTheSameAddressReachesTheKernel) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, {family().host, 7000});
  struct Other {
    const char* what = "";
    Endpoint to;
  };
  for (const auto& [what, to] :
       {Other{"other port", {family().host, 7001}}, Other{"other address", {family().second, 7000}}}) {
    SCOPED_TRACE(what);
    const Fd server = bound_as(bob, IPPROTO_UDP, to);
    world().send(World::udp(remote(), to, what));
    const auto got = receive_from(server.get());
    ASSERT_TRUE(got);
    EXPECT_EQ(got->payload, what);
    EXPECT_EQ(got->from, remote());
  }
  // The same address and port, the other protocol: a whole connection through the kernel.
  const Fd server = bound_as(bob, IPPROTO_TCP, {family().host, 7000});
  ASSERT_EQ(::listen(server.get(), 1), 0);
  const Fd client = world().wire().run([&] { return make_socket(IPPROTO_TCP, remote().ipv6()); });
  const SocketAddress address{{family().host, 7000}};
  ASSERT_EQ(::connect(client.get(), address.get(), address.size), 0);
  const Fd connection{::accept4(server.get(), nullptr, nullptr, SOCK_CLOEXEC)};
  ASSERT_TRUE(connection);
  EXPECT_EQ(::send(client.get(), "hello", 5, MSG_NOSIGNAL), 5);
  const auto got = receive_from(connection.get());
  ASSERT_TRUE(got);
  EXPECT_EQ(got->payload, "hello");
  EXPECT_TRUE(stack.seen().empty());
}

TEST_P(Steering, WildcardTakesEveryAddressOfTheHost) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, {family().any, 7000}, {.v6only = true});
  for (const auto& address : {family().host, family().second}) {
    world().send(World::udp(remote(), {address, 7000}, address));
    const auto got = stack.receive(udp_payload(address));
    ASSERT_TRUE(got) << address;
    EXPECT_EQ(got->to.address, address);
  }
  EXPECT_FALSE(pending(claim.fd()));
  // An address that is new to the host is covered from now on.
  const std::string late = family().host == host4 ? "192.0.2.77" : "2001:db8::77";
  World::in(world().host(),
            "ip addr add " + late + (late.find(':') == std::string::npos ? "/24" : "/64 nodad") + " dev up0");
  EXPECT_TRUE(eventually([&] {
    world().send(World::udp(remote(), {late, 7000}, "late"));
    return stack.receive(udp_payload("late"), Deadline{100ms}).has_value();
  }));
  // And one that the host has no more is not.
  World::in(world().host(), "ip addr del " + late + (late.find(':') == std::string::npos ? "/24" : "/64") + " dev up0");
  EXPECT_TRUE(eventually([&] {
    const auto before = pins().counter(MSTACK_RX_PASS_NOT_LOCAL);
    world().send(World::udp(remote(), {late, 7000}, "late"));
    world().send(World::udp(remote(), {family().host, 7000}, "after"));
    EXPECT_TRUE(stack.receive(udp_payload("after")));
    return pins().counter(MSTACK_RX_PASS_NOT_LOCAL) > before;
  }));
}

TEST_P(Steering, OnePortOfTwoAddressesMayBelongToTwoStacks) {
  Stack first(world(), alice), second(world(), bob);
  const Claim one = first.claim(IPPROTO_UDP, {family().host, 7000});
  const Claim two = second.claim(IPPROTO_UDP, {family().second, 7000});
  world().send(World::udp(remote(), {family().host, 7000}, "one"));
  world().send(World::udp(remote(), {family().second, 7000}, "two"));
  EXPECT_TRUE(first.receive(udp_payload("one")));
  EXPECT_TRUE(second.receive(udp_payload("two")));
  EXPECT_EQ(first.seen().size(), 1U);
  EXPECT_EQ(second.seen().size(), 1U);
}

TEST_P(Steering, FramesForOthersOnTheWireAreLeftAlone) {
  Stack stack(world());
  const Endpoint service{family().host, 7000};
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  // Nobody asks for a neighbour meanwhile: every frame that is counted is one of these.
  for (const auto& address : {wire4, wire6})
    World::in(world().host(),
              "ip neigh replace " + address + " lladdr " + text(world().wire_mac()) + " dev up0 nud permanent");
  const std::uint64_t before = passed();
  std::uint64_t sent = 0;
  const auto send = [&](std::span<const std::uint8_t> frame) {
    world().send(frame);
    ++sent;
  };
  // Neither IP nor UDP or TCP, a fragment, a truncated frame: all of them are the kernel's.
  send(ethernet(world().host_mac(), world().wire_mac(), 0x88cc, Bytes(46)));
  send(build(Raw{.source_mac = world().wire_mac(),
                 .destination_mac = world().host_mac(),
                 .from = family().wire,
                 .to = family().host,
                 .protocol = 132,
                 .payload = Bytes(20)}));
  if (!service.ipv6()) {
    send(build(Raw{.source_mac = world().wire_mac(),
                   .destination_mac = world().host_mac(),
                   .from = family().wire,
                   .to = family().host,
                   .protocol = IPPROTO_UDP,
                   .payload = Bytes(64),
                   .fragment_field = 0x2000}));
  }
  // Longer than the shortest frame, to which NICs lengthen what is cut.
  const std::string payload(60, 'w');
  const Bytes whole = build(Segment{.source_mac = world().wire_mac(),
                                    .destination_mac = world().host_mac(),
                                    .from = remote(),
                                    .to = service,
                                    .payload = payload});
  for (std::size_t size = 14; size < whole.size() - 5; ++size) send({whole.data(), size});
  world().send(whole);
  ASSERT_TRUE(stack.receive(udp_payload(payload)));
  EXPECT_EQ(stack.seen().size(), 1U);
  EXPECT_TRUE(eventually([&] { return passed() - before >= sent; })) << "some were dropped";
  EXPECT_EQ(passed() - before, sent) << ::testing::PrintToString(pins().counters());
}

TEST_P(Steering, LargestFrameFits) {
  Stack stack(world());
  const Endpoint service{family().host, 7000};
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  const std::size_t headers = (service.ipv6() ? 40 : 20) + 8;
  const std::string payload(1500 - headers, 'x');
  world().send(World::udp(remote(), service, payload));
  EXPECT_TRUE(stack.receive(udp_payload(payload)));
  const auto capture = world().capture();
  stack.send(World::udp(service, remote(), payload));
  const auto sent = capture->wait(udp_payload(payload));
  ASSERT_TRUE(sent);
  EXPECT_TRUE(sent->checksums_right);
}

class DualStack : public NetTest {};

TEST_F(DualStack, AnIpv6WildcardTakesIpv4Too) {
  Stack stack(world());
  {
    const Claim claim = stack.claim(IPPROTO_UDP, {"::", 7000});
    EXPECT_TRUE(pins().claimed(IPPROTO_UDP, {"::", 7000}));
    EXPECT_TRUE(pins().claimed(IPPROTO_UDP, {"0.0.0.0", 7000}));
    EXPECT_EQ(pins().gate_sum(), 2U);
    world().send(World::udp({wire4, 4000}, {host4, 7000}, "four"));
    world().send(World::udp({wire6, 4000}, {host6, 7000}, "six"));
    EXPECT_TRUE(stack.receive(udp_payload("four")));
    EXPECT_TRUE(stack.receive(udp_payload("six")));
    const auto capture = world().capture();
    stack.send(World::udp({host4, 7000}, {wire4, 4000}, "four back"));
    stack.send(World::udp({host6, 7000}, {wire6, 4000}, "six back"));
    EXPECT_TRUE(capture->wait(udp_payload("four back")));
    EXPECT_TRUE(capture->wait(udp_payload("six back")));
  }
  EXPECT_TRUE(pins().claims().empty());
  EXPECT_EQ(pins().gate_sum(), 0U);
}

TEST_F(DualStack, V6onlyLeavesIpv4ToTheKernel) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, {"::", 7000}, {.v6only = true});
  EXPECT_EQ(pins().claims().size(), 1U);
  const Fd server = bound_as(bob, IPPROTO_UDP, {"0.0.0.0", 7000});
  world().send(World::udp({wire4, 4000}, {host4, 7000}, "four"));
  world().send(World::udp({wire6, 4000}, {host6, 7000}, "six"));
  const auto got = receive_from(server.get());
  ASSERT_TRUE(got);
  EXPECT_EQ(got->payload, "four");
  EXPECT_TRUE(stack.receive(udp_payload("six")));
  EXPECT_EQ(stack.seen().size(), 1U);
}

TEST_F(DualStack, AnIpv6SocketOnAMappedAddressClaimsIpv4) {
  Stack stack(world());
  const Fd socket = bound_as(alice, IPPROTO_UDP, {"::ffff:192.0.2.1", 7000}, {.v6only = false});
  const Claim claim = stack.claim(socket);
  EXPECT_TRUE(pins().claimed(IPPROTO_UDP, {host4, 7000}));
  EXPECT_EQ(pins().claims().size(), 1U);
  world().send(World::udp({wire4, 4000}, {host4, 7000}, "four"));
  EXPECT_TRUE(stack.receive(udp_payload("four")));
}

class SeveralQueues : public NetTest {};

// A queue is a fixed share of the flows.
TEST_F(SeveralQueues, EachFlowStaysOnItsQueueAndAllQueuesAreUsed) {
  constexpr std::uint16_t flows = 64;
  Stack stack(world(), alice, {.queues = 4, .frames = 256});
  const Endpoint service{host4, 7000};
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  std::array<std::size_t, 4> used{};
  for (std::uint16_t flow = 0; flow < flows; ++flow) {
    const Endpoint from{wire4, static_cast<std::uint16_t>(10000 + flow)};
    std::array<std::size_t, 4> before{};
    for (std::size_t queue = 0; queue < 4; ++queue) before[queue] = stack.seen_on(queue);
    for (int packet = 0; packet < 3; ++packet) {
      world().send(World::udp(from, service, "flow"));
      ASSERT_TRUE(stack.receive([&](const Packet& got) { return got.from == from; }));
    }
    std::size_t queues = 0;
    for (std::size_t queue = 0; queue < 4; ++queue) {
      if (stack.seen_on(queue) == before[queue]) continue;
      ++queues;
      ++used[queue];
      EXPECT_EQ(stack.seen_on(queue) - before[queue], 3U);
    }
    EXPECT_EQ(queues, 1U) << "flow " << flow << " is spread";
  }
  for (const auto count : used) EXPECT_GT(count, 0U);
  // Any queue may send from any tuple of the vport.
  const auto capture = world().capture();
  for (std::size_t queue = 0; queue < 4; ++queue) {
    stack.send(World::udp(service, {wire4, 4000}, "queue " + std::to_string(queue)), queue);
    EXPECT_TRUE(capture->wait(udp_payload("queue " + std::to_string(queue))));
  }
}

// The kernel's service answers all the while: before an uplink is attached, during, and after it is detached.
TEST_F(SeveralQueues, KernelTrafficGoesOnWhileAnUplinkComesAndGoes) {
  const Fd server = bound_as(bob, IPPROTO_UDP, {host4, 7001});
  const Fd client = world().wire().run([] { return bound(IPPROTO_UDP, {wire4, 0}); });
  int number = 0;
  const auto answered = [&] {
    const std::string text = std::to_string(++number);
    send_to(client.get(), {host4, 7001}, text);
    const auto got = receive_from(server.get());
    return got && got->payload == text;
  };
  EXPECT_TRUE(answered());
  EXPECT_EQ(world().command({"detach", uplink}).exit, (Exit{.code = 0, .signal = 0}));
  EXPECT_EQ(attached_xdp(world().host(), uplink), 0U);
  EXPECT_TRUE(answered());

  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, {host4, 7000});
  world().send(World::udp({wire4, 4000}, {host4, 7000}, "detached"));
  // Without an uplink the kernel's socket of the claim gets it, since nobody steers.
  const auto got = receive_from(claim.fd());
  ASSERT_TRUE(got);
  EXPECT_EQ(got->payload, "detached");

  EXPECT_EQ(world().command({"attach", uplink}).exit, (Exit{.code = 0, .signal = 0}));
  EXPECT_NE(attached_xdp(world().host(), uplink), 0U);
  EXPECT_TRUE(answered());
  world().send(World::udp({wire4, 4000}, {host4, 7000}, "attached"));
  EXPECT_TRUE(stack.receive(udp_payload("attached")));
  EXPECT_EQ(world().command({"detach", uplink}).exit, (Exit{.code = 0, .signal = 0}));
  EXPECT_TRUE(answered());
}

}  // namespace
}  // namespace mstack::test
