// SPDX-License-Identifier: BSD-2-Clause
//
// Two uplinks, one claims table: packets come in by either, and leave by the route that the kernel has.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

struct Family {
  const char* name;
  std::string ip, first, second, first_wire, second_wire, far, wildcard;
};
const Family families[] = {{"IPv4", "ip ", host4, second4, wire4, second_wire4, far4, "0.0.0.0"},
                           {"IPv6", "ip -6 ", host6, second6, wire6, second_wire6, far6, "::"}};

class TwoUplinks : public NetTest, public ::testing::WithParamInterface<std::tuple<const char*, Family>> {
 protected:
  TwoUplinks() : NetTest({.far = true, .second = true}) {}
  void SetUp() override { start({.arguments = {}, .xdp_mode = std::get<0>(GetParam()), .environment = {}}); }
  const Family& family() const { return std::get<1>(GetParam()); }
  void host(const std::string& command) const { World::in(world().host(), command); }
  // "route add ..." of the family.
  void ip(const std::string& command) const { host(family().ip + command); }
  void default_by_both() const {
    ip("route del default");
    ip("route add default nexthop via " + family().first_wire + " dev up0 nexthop via " + family().second_wire +
       " dev up1");
  }
  Endpoint far(std::uint16_t port = 4000) const { return {family().far, port}; }
  std::unique_ptr<Capture> second_capture() const { return std::make_unique<Capture>(world().wire(), second_wire_end); }
  // The device by which the kernel itself would send it.
  std::string kernels_way(const Endpoint& from, const Endpoint& to) const {
    std::istringstream words(World::in(world().host(), "ip route get " + to.address + " from " + from.address +
                                                           " ipproto udp sport " + std::to_string(from.port) +
                                                           " dport " + std::to_string(to.port)));
    for (std::string word; words >> word;)
      if (word == "dev" && words >> word) return word;
    return {};
  }
};

INSTANTIATE_TEST_SUITE_P(Modes, TwoUplinks,
                         ::testing::Combine(::testing::Values("native", "generic"), ::testing::ValuesIn(families)),
                         [](const auto& chosen) {
                           return std::string(std::get<0>(chosen.param)) + "_" + std::get<1>(chosen.param).name;
                         });

TEST_P(TwoUplinks, PacketsArriveOnAnyAndRepliesLeaveByTheRoute) {
  Stack stack(world());
  const Claim wildcard = stack.claim(IPPROTO_UDP, {family().wildcard, 7000}, {.v6only = true});
  const Claim exact = stack.claim(IPPROTO_UDP, {family().first, 7001});
  const auto first = world().capture(), second = second_capture();
  for (const std::string& address : {family().first, family().second}) {
    const Endpoint service{address, 7000};
    world().send(World::udp({family().first_wire, 4000}, service, "by up0"));
    EXPECT_TRUE(stack.receive(udp_payload("by up0"))) << address;
    world().send_by_second(World::udp({family().second_wire, 4000}, service, "by up1"));
    EXPECT_TRUE(stack.receive(udp_payload("by up1"))) << address;
    // By where the route leads, whatever the source address is, and whichever way the request came.
    stack.send(World::udp(service, {family().first_wire, 4000}, "to wire0 from " + address));
    EXPECT_TRUE(first->wait(udp_payload("to wire0 from " + address)));
    stack.send(World::udp(service, {family().second_wire, 4000}, "to wire1 from " + address));
    EXPECT_TRUE(second->wait(udp_payload("to wire1 from " + address)));
  }
  // An address is the host's, not a device's.
  world().send_by_second(World::udp({family().second_wire, 4000}, {family().first, 7001}, "crosswise"));
  EXPECT_TRUE(stack.receive(udp_payload("crosswise")));
  EXPECT_EQ(first->count([](const Packet& packet) { return packet.payload.starts_with("to wire1"); }), 0U);
  EXPECT_EQ(second->count([](const Packet& packet) { return packet.payload.starts_with("to wire0"); }), 0U);
}

// What nobody claimed is the kernel's on each of them.
TEST_P(TwoUplinks, TheKernelKeepsTheRestOfBoth) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, {family().first, 7000});
  for (const auto& [here, there] :
       {std::pair{family().first, family().first_wire}, std::pair{family().second, family().second_wire}}) {
    const Fd server = bound_as(bob, IPPROTO_UDP, {here, 7001});
    const Fd client = world().wire().run([&] { return bound(IPPROTO_UDP, {there, 0}); });
    send_to(client.get(), {here, 7001}, "kernel");
    const auto got = receive_from(server.get());
    ASSERT_TRUE(got) << here;
    EXPECT_EQ(got->payload, "kernel");
  }
  EXPECT_TRUE(stack.seen().empty());
}

TEST_P(TwoUplinks, PolicyRoutingBySource) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, {family().wildcard, 7000}, {.v6only = true});
  const auto first = world().capture(), second = second_capture();
  ip("rule add from " + family().second + " table 100");
  ip("route add default via " + family().second_wire + " dev up1 table 100");
  for (int i = 0; i < 3; ++i) {
    const std::string number = std::to_string(i);
    stack.send(World::udp({family().first, 7000}, far(), "from first " + number));
    EXPECT_TRUE(first->wait(udp_payload("from first " + number)));
    stack.send(World::udp({family().second, 7000}, far(), "from second " + number));
    EXPECT_TRUE(second->wait(udp_payload("from second " + number)));
  }
  EXPECT_EQ(first->count([](const Packet& packet) { return packet.payload.starts_with("from second"); }), 0U);
}

// To the rules a stack's packet comes in by its host end, with mark 0.
TEST_P(TwoUplinks, PolicyRoutingByDeviceAndMark) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, {family().first, 7000});
  const auto first = world().capture(), second = second_capture();
  ip("route add default via " + family().second_wire + " dev up1 table 100");
  ip("rule add fwmark 1 table 100");
  ip("rule add iif lo table 100");
  stack.send(World::udp({family().first, 7000}, far(), "no mark"));
  EXPECT_TRUE(first->wait(udp_payload("no mark")));
  ip("rule add iif ms" + std::to_string(stack.id()) + "q0 table 100");
  stack.send(World::udp({family().first, 7000}, far(4001), "by device"));
  EXPECT_TRUE(second->wait(udp_payload("by device")));
  ip("rule add pref 10 iif ms" + std::to_string(stack.id()) + "q0 prohibit");
  stack.send(World::udp({family().first, 7000}, far(4002), "prohibited"));
  ip("rule del pref 10");
  stack.send(World::udp({family().first, 7000}, far(4003), "sentinel"));
  EXPECT_TRUE(second->wait(udp_payload("sentinel")));
  EXPECT_EQ(first->count(udp_payload("prohibited")) + second->count(udp_payload("prohibited")), 0U);
  EXPECT_EQ(pins().counter(MSTACK_TX_DROP_NO_ROUTE), 1U);
}

// By what a rule can ask of a packet: its protocol and ports.
TEST_P(TwoUplinks, PolicyRoutingByPort) {
  Stack stack(world());
  const Claim one = stack.claim(IPPROTO_UDP, {family().first, 7000}),
              two = stack.claim(IPPROTO_UDP, {family().first, 7001}),
              three = stack.claim(IPPROTO_TCP, {family().first, 7001});
  const auto first = world().capture(), second = second_capture();
  ip("route add default via " + family().second_wire + " dev up1 table 100");
  ip("rule add ipproto udp sport 7001 table 100");
  ip("rule add ipproto udp dport 4001 table 100");
  stack.send(World::udp({family().first, 7000}, far(), "by neither"));
  EXPECT_TRUE(first->wait(udp_payload("by neither")));
  stack.send(World::udp({family().first, 7001}, far(), "by source port"));
  EXPECT_TRUE(second->wait(udp_payload("by source port")));
  stack.send(World::udp({family().first, 7000}, far(4001), "by destination port"));
  EXPECT_TRUE(second->wait(udp_payload("by destination port")));
  stack.send(World::tcp({family().first, 7001}, far(4001), "by TCP"));
  EXPECT_TRUE(
      first->wait([&](const Packet& packet) { return packet.protocol == IPPROTO_TCP && packet.to == far(4001); }));
}

// A flow takes the way that the kernel's own packets of it would take, all of it; by addresses, or by ports too; of
// next hops within a route, or in a group of their own, which may change.
TEST_P(TwoUplinks, MultipathIsTheKernels) {
  // On neither uplink: of the next hops, newer kernels prefer one whose address the sender has.
  const bool four = family().first == host4;
  const Endpoint service{four ? "203.0.113.200" : "2001:db8:9::1", 7000};
  host("ip addr add " + service.address + " dev lo");
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  const auto first = world().capture(), second = second_capture();
  const auto expect_kernels = [&](const std::string& run, std::size_t ways) {
    SCOPED_TRACE(run);
    std::map<std::string, std::size_t> flows;
    for (std::uint16_t i = 0; i < 32; ++i) {
      Endpoint to = far(static_cast<std::uint16_t>(4000 + i));
      if (run == "addresses") to = {(four ? "198.51.100." : "2001:db8:1::") + std::to_string(10 + i), 4000};
      const std::string way = kernels_way(service, to), text = run + " by " + way;
      ++flows[way];
      for (int times = 0; times < 3; ++times) stack.send(World::udp(service, to, text));
      ASSERT_TRUE((way == "up0" ? first : second)->wait([&](const Packet& packet) {
        return packet.to == to && packet.payload == text;
      })) << to
          << " by " << way;
    }
    EXPECT_EQ(flows.size(), ways) << "the flows are not spread";
    stack.send(World::udp(service, {family().first_wire, 4000}, run));
    stack.send(World::udp(service, {family().second_wire, 4000}, run));
    EXPECT_TRUE(first->wait(udp_payload(run)));
    EXPECT_TRUE(second->wait(udp_payload(run)));
    EXPECT_EQ(first->count(udp_payload(run + " by up0")), flows["up0"] * 3);
    EXPECT_EQ(second->count(udp_payload(run + " by up1")), flows["up1"] * 3);
  };
  const auto hash_policy = [&](const char* policy) {
    host(std::string("sysctl -qw net.ipv") + (four ? "4" : "6") + ".fib_multipath_hash_policy=" + policy);
  };
  default_by_both();
  hash_policy("0");
  expect_kernels("addresses", 2);
  hash_policy("1");
  expect_kernels("ports", 2);
  host("ip nexthop add id 1 via " + family().first_wire + " dev up0");
  host("ip nexthop add id 2 via " + family().second_wire + " dev up1");
  host("ip nexthop add id 3 group 1/2");
  ip("route del default");
  ip("route add default nhid 3");
  expect_kernels("a group", 2);
  host("ip nexthop replace id 3 group 2");
  expect_kernels("another group", 1);
  host("ip link del up1");  // with it goes its next hop, and the route
  ip("route replace default via " + family().first_wire + " dev up0");
  EXPECT_TRUE(eventually([&] { return kernels_way(service, far()) == "up0"; }));
  stack.send(World::udp(service, far(), "by the other"));
  EXPECT_TRUE(first->wait(udp_payload("by the other")));
}

// RFC 5549: an IPv4 route by an IPv6 neighbour.
TEST_P(TwoUplinks, AGatewayOfTheOtherFamily) {
  if (family().first != host4) GTEST_SKIP() << "IPv6 has no routes by IPv4";
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, {host4, 7000});
  const auto second = second_capture();
  host("ip -4 route replace default via inet6 " + second_wire6 + " dev up1");
  for (int i = 0; i < 3; ++i) {  // the first asks for the neighbour
    stack.send(World::udp({host4, 7000}, far(), "number " + std::to_string(i)));
    EXPECT_TRUE(second->wait(udp_payload("number " + std::to_string(i))));
  }
  EXPECT_GE(pins().counter(MSTACK_TX_SENT) + pins().counter(MSTACK_TX_SENT_SLOW), 3U);
}

TEST_P(TwoUplinks, RoutesToNowhere) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, {family().first, 7000});
  const auto first = world().capture(), second = second_capture();
  std::uint64_t dropped = 0;
  for (const char* type : {"blackhole", "unreachable", "prohibit"}) {
    ip(std::string("route add ") + type + " " + family().far);
    stack.send(World::udp({family().first, 7000}, far(), type));
    ip(std::string("route del ") + type + " " + family().far);
    stack.send(World::udp({family().first, 7000}, far(4001), std::string("not ") + type));
    EXPECT_TRUE(first->wait(udp_payload(std::string("not ") + type)));
    EXPECT_EQ(first->count(udp_payload(type)) + second->count(udp_payload(type)), 0U) << type;
    EXPECT_EQ(pins().counter(MSTACK_TX_DROP_NO_ROUTE), ++dropped) << type;
  }
}

TEST_P(TwoUplinks, WhenOneGoesDownTheOtherCarriesAll) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, {family().first, 7000});
  const auto first = world().capture(), second = second_capture();
  default_by_both();
  host("ip link set up1 down");
  for (std::uint16_t port = 4000; port < 4016; ++port) {
    stack.send(World::udp({family().first, 7000}, far(port), "while it is down"));
    EXPECT_TRUE(first->wait([&](const Packet& packet) { return packet.to == far(port); })) << port;
  }
  EXPECT_EQ(second->count(udp_payload("while it is down")), 0U);
  world().send(World::udp({family().first_wire, 4000}, {family().first, 7000}, "to the other"));
  EXPECT_TRUE(stack.receive(udp_payload("to the other")));
  EXPECT_TRUE(eventually([&] { return world().command({"uplinks"}).out.find(" down ") != std::string::npos; }));

  host("ip link set up1 up");
  if (family().second == second6) host("ip addr add 2001:db8:3::1/64 dev up1 nodad");  // the kernel takes them away
  ip("route replace default via " + family().second_wire + " dev up1");
  stack.send(World::udp({family().first, 7000}, far(5000), "up again"));
  EXPECT_TRUE(second->wait(udp_payload("up again")));
  world().send_by_second(World::udp({family().second_wire, 4000}, {family().first, 7000}, "by up1 again"));
  EXPECT_TRUE(stack.receive(udp_payload("by up1 again")));
  EXPECT_TRUE(eventually([&] { return world().command({"uplinks"}).out.find(" down ") == std::string::npos; }));
}

TEST_P(TwoUplinks, WhenOneLosesItsAddressTheOtherGoesOn) {
  Stack stack(world());
  const Claim both = stack.claim(IPPROTO_UDP, {family().wildcard, 7000}, {.v6only = true});
  const auto first = world().capture();
  ip("addr flush dev up1");
  const Endpoint lost{family().second, 7000}, kept{family().first, 7000};
  ASSERT_TRUE(eventually([&] {
    stack.send(World::udp(lost, far(), "from an address that is gone"));
    return pins().counter(MSTACK_TX_DROP_NOT_LOCAL) > 0;
  }));
  world().send(World::udp({family().first_wire, 4000}, kept, "to the kept"));
  EXPECT_TRUE(stack.receive(udp_payload("to the kept")));
  // The device is an uplink without an address of its own.
  world().send_by_second(World::udp({family().first_wire, 4000}, kept, "by the bare one"));
  EXPECT_TRUE(stack.receive(udp_payload("by the bare one")));
  stack.send(World::udp(kept, far(), "from the kept"));
  EXPECT_TRUE(first->wait(udp_payload("from the kept")));
}

TEST_P(TwoUplinks, ADetachedOneIsNoWayInOrOut) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, {family().first, 7000});
  const auto first = world().capture(), second = second_capture();
  EXPECT_EQ(world().command({"detach", second_uplink}).exit.code, 0);
  stack.send(World::udp({family().first, 7000}, {family().second_wire, 4000}, "by no uplink"));
  stack.send(World::udp({family().first, 7000}, {family().first_wire, 4000}, "sentinel"));
  EXPECT_TRUE(first->wait(udp_payload("sentinel")));
  EXPECT_EQ(second->count(udp_payload("by no uplink")), 0U);
  EXPECT_EQ(pins().counter(MSTACK_TX_DROP_NOT_UPLINK), 1U);
  const auto steered = pins().counter(MSTACK_RX_STEERED);
  world().send_by_second(World::udp({family().second_wire, 4000}, {family().first, 7000}, "to the kernel"));
  world().send(World::udp({family().first_wire, 4000}, {family().first, 7000}, "to the stack"));
  EXPECT_TRUE(stack.receive(udp_payload("to the stack")));
  EXPECT_EQ(pins().counter(MSTACK_RX_STEERED), steered + 1);
  EXPECT_EQ(stack.seen().size(), 1U);
}

}  // namespace
}  // namespace mstack::test
