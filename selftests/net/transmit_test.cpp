// SPDX-License-Identifier: BSD-2-Clause
//
// What a stack sends leaves by the kernel's routes with MACs of the kernel's choice, whatever it wrote there itself.
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

struct Family {
  const char* name;
  std::string host, wire, near, far;
};
const Family families[] = {{"IPv4", host4, wire4, near4, far4}, {"IPv6", host6, wire6, near6, far6}};

// Whether a veth whose other end is full makes its sender wait. Of more packets than the ring of an end holds that
// sleeps after the first, the others then wait in the queue of the sender's device.
bool veth_pushes_back() {
  const std::string queue = run_or_throw({"unshare", "-m", "-n", "bash", "-ec", R"(
      mount -t sysfs sysfs /sys
      ip link add from0 type veth peer name to0
      ethtool -K from0 tso off
      ethtool -K to0 gro on
      tc qdisc add dev from0 root pfifo limit 1000
      ip addr add 192.0.2.1/24 dev from0
      ip link set from0 up
      ip link set to0 up
      ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev from0
      echo 2 >/sys/class/net/to0/napi_defer_hard_irqs
      echo 30000000000 >/sys/class/net/to0/gro_flush_timeout
      for i in {1..400}; do echo >/dev/udp/192.0.2.2/9; done
      tc -s qdisc show dev from0)"});
  std::smatch waiting;
  if (!std::regex_search(queue, waiting, std::regex(R"(backlog \S+ (\d+)p)")))
    throw std::runtime_error("no backlog in: " + queue);
  return waiting[1] != "0";
}

class Transmit : public NetTest, public ::testing::WithParamInterface<std::tuple<const char*, Family>> {
 protected:
  Transmit() : NetTest({.far = true}) {}
  void SetUp() override { start({.arguments = {}, .xdp_mode = std::get<0>(GetParam()), .environment = {}}); }
  const Family& family() const { return std::get<1>(GetParam()); }
  bool ipv6() const { return family().host == host6; }
  Endpoint service() const { return {family().host, 7000}; }
  Endpoint remote() const { return {family().wire, 4000}; }
  void forget_neighbours() const { World::in(world().host(), "ip neigh flush all"); }
  // Whether it is the kernel asking for a neighbour.
  static bool resolution(const Packet& packet) {
    return packet.type == 0x0806 || (packet.protocol == IPPROTO_ICMPV6 && !packet.payload.empty() &&
                                     packet.payload[0] == static_cast<char>(135));
  }
};

INSTANTIATE_TEST_SUITE_P(Modes, Transmit,
                         ::testing::Combine(::testing::Values("native", "generic"), ::testing::ValuesIn(families)),
                         [](const auto& chosen) {
                           return std::string(std::get<0>(chosen.param)) + "_" + std::get<1>(chosen.param).name;
                         });

TEST_P(Transmit, OnLinkToAnUnknownNeighbourWhichTheKernelResolves) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  forget_neighbours();
  const auto capture = world().capture();
  const Fd server = world().wire().run([&] { return bound(IPPROTO_UDP, remote()); });
  stack.send(World::udp(service(), remote(), "first"));
  const auto first = receive_from(server.get());
  ASSERT_TRUE(first) << "the first packet was not sent when the neighbour was known";
  EXPECT_EQ(first->payload, "first");
  EXPECT_EQ(first->from, service());
  EXPECT_TRUE(capture->wait(resolution));
  // From now on it is known.
  constexpr int more = 50;
  for (int i = 0; i < more; ++i) {
    stack.send(World::udp(service(), remote(), "more " + std::to_string(i)));
    const auto got = receive_from(server.get());
    ASSERT_TRUE(got);
    EXPECT_EQ(got->payload, "more " + std::to_string(i));
  }
  EXPECT_EQ(pins().counter(MSTACK_TX_SENT) + pins().counter(MSTACK_TX_SENT_SLOW), more + 1U);
}

TEST_P(Transmit, BothMacsAreRewritten) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service()), tcp = stack.claim(IPPROTO_TCP, service());
  const auto capture = world().capture();
  const Mac forged{0x02, 0xde, 0xad, 0xbe, 0xef, 0x01};
  for (const Mac& destination : {Mac{}, broadcast_mac, Mac{0x33, 0x33, 0, 0, 0, 1}, world().wire_mac(), forged}) {
    for (const Mac& source : {forged, world().wire_mac(), world().host_mac()}) {
      Segment segment = World::udp(service(), remote(), text(source) + text(destination));
      segment.source_mac = source;
      segment.destination_mac = destination;
      segment.ttl = 17;
      stack.send(segment);
      const auto got = capture->wait(udp_payload(segment.payload));
      ASSERT_TRUE(got);
      EXPECT_EQ(text(got->source_mac), text(world().host_mac()));
      EXPECT_EQ(text(got->destination_mac), text(world().wire_mac()));
      EXPECT_EQ(got->ttl, 17) << "a stack is a host, not a router's client";
      EXPECT_TRUE(got->checksums_right);
    }
  }
  stack.send(World::tcp(service(), remote(), "tcp", tcp_syn));
  const auto segment = capture->wait([](const Packet& packet) { return packet.payload == "tcp"; });
  ASSERT_TRUE(segment);
  EXPECT_EQ(segment->tcp_flags, tcp_syn);
  EXPECT_TRUE(segment->checksums_right);
}

TEST_P(Transmit, ThroughAGateway) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const auto capture = world().capture();
  const Endpoint far{family().far, 4000};
  const Fd server = world().far().run([&] { return bound(IPPROTO_UDP, far); });
  for (int i = 0; i < 10; ++i) {
    const std::string text = "far " + std::to_string(i);
    stack.send(World::udp(service(), far, text));
    const auto got = receive_from(server.get());
    ASSERT_TRUE(got) << text;
    EXPECT_EQ(got->payload, text);
  }
  const auto sent = capture->wait([&](const Packet& packet) { return packet.to == far; });
  ASSERT_TRUE(sent);
  EXPECT_EQ(text(sent->destination_mac), text(world().wire_mac()));
  // And back to the stack.
  send_to(server.get(), service(), "back");
  const auto back = stack.receive(udp_payload("back"));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->from, far);
}

TEST_P(Transmit, ARouteThatChangesIsFollowed) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const auto capture = world().capture();
  const Endpoint far{family().far, 4000};
  stack.send(World::udp(service(), far, "before"));
  ASSERT_TRUE(capture->wait(udp_payload("before")));
  const std::string ip = ipv6() ? "ip -6 route " : "ip route ";
  World::in(world().host(), ip + "del default");
  stack.send(World::udp(service(), far, "no route"));
  World::in(world().host(), ip + "add default via " + family().wire);
  stack.send(World::udp(service(), far, "after"));
  ASSERT_TRUE(capture->wait(udp_payload("after")));
  EXPECT_EQ(capture->count(udp_payload("no route")), 0U);
  EXPECT_EQ(pins().counter(MSTACK_TX_DROP_NO_ROUTE), 1U);
}

// There is nothing to find out: the gateway's MAC is made up. It is answered on the host end.
TEST_P(Transmit, NeighbourRequestsOfAStackAreAnsweredAndNeverSent) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  stack.send(World::udp(service(), remote(), "so that the kernel knows the neighbour"));
  const auto capture = world().capture();
  const Mac mac = stack.vport().queue(0).mac(), gateway = stack.vport().queue(0).gateway_mac();
  for (const auto& target : {family().wire, family().far}) {
    if (ipv6()) {
      Bytes address = address_bytes(target);
      const Mac solicited{0x33, 0x33, 0xff, address[13], address[14], address[15]};
      stack.send(build(Neighbour{.source_mac = mac,
                                 .destination_mac = solicited,
                                 .from = service().address,
                                 .to = "ff02::1:ff00:" + std::string(1, target.back()),
                                 .type = 135,
                                 .target = target,
                                 .link_address = mac}));
      // Not the peer's port unreachable, which is the stack's as well.
      const auto answer = stack.receive(
          [](const Packet& packet) { return packet.protocol == IPPROTO_ICMPV6 && packet.payload[0] == '\x88'; });
      ASSERT_TRUE(answer) << target;
      EXPECT_TRUE(answer->checksums_right);
      EXPECT_EQ(answer->ttl, 255);
      EXPECT_EQ(answer->to.address, service().address);
      ASSERT_EQ(answer->payload.size(), 32U);
      EXPECT_EQ(Bytes(answer->payload.begin() + 8, answer->payload.begin() + 24), address);
      EXPECT_TRUE(std::equal(gateway.begin(), gateway.end(), answer->payload.begin() + 26,
                             [](std::uint8_t a, char b) { return a == static_cast<std::uint8_t>(b); }));
      EXPECT_EQ(answer->destination_mac, mac);
    } else {
      stack.send(build(Arp{.source_mac = mac, .sender_mac = mac, .sender = service().address, .target = target}));
      const auto answer = stack.receive([](const Packet& packet) { return packet.type == 0x0806; });
      ASSERT_TRUE(answer) << target;
      const Bytes expected = build(Arp{.source_mac = gateway,
                                       .destination_mac = mac,
                                       .operation = 2,
                                       .sender_mac = gateway,
                                       .sender = target,
                                       .target_mac = mac,
                                       .target = service().address});
      EXPECT_EQ(hex({reinterpret_cast<const std::uint8_t*>(answer->payload.data()), 28}), hex({&expected[14], 28}));
      EXPECT_EQ(answer->destination_mac, mac);
      EXPECT_EQ(answer->source_mac, gateway);
    }
  }
  EXPECT_EQ(pins().counter(MSTACK_TX_ANSWERED), 2U);
  stack.send(World::udp(service(), remote(), "sentinel"));
  ASSERT_TRUE(capture->wait(udp_payload("sentinel")));
  for (const auto& packet : capture->packets()) {
    EXPECT_NE(text(packet.source_mac), text(mac));
    if (resolution(packet)) {
      EXPECT_EQ(text(packet.source_mac), text(world().host_mac()));
    }
  }
}

// A stack cannot speak for the host in ARP or neighbour discovery: it would poison the wire's and the host's tables.
TEST_P(Transmit, ForgedNeighbourRepliesGoNowhere) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const auto capture = world().capture();
  const Mac mac = stack.vport().queue(0).mac();
  stack.send(World::udp(service(), remote(), "before"));
  ASSERT_TRUE(capture->wait(udp_payload("before")));
  const std::string neighbours = World::in(world().host(), "ip neigh show");
  if (ipv6()) {
    stack.send(build(Neighbour{.source_mac = mac,
                               .destination_mac = world().wire_mac(),
                               .from = service().address,
                               .to = family().wire,
                               .type = 136,
                               .target = service().address,
                               .link_address = mac,
                               .flags = 0x60000000}));
  } else {
    for (const std::uint16_t operation : {1, 2}) {  // a gratuitous request is a claim, too
      stack.send(build(Arp{.source_mac = mac,
                           .operation = operation,
                           .sender_mac = mac,
                           .sender = family().wire,
                           .target_mac = {},
                           .target = operation == 1 ? family().wire : service().address}));
    }
  }
  stack.send(World::udp(service(), remote(), "sentinel"));
  ASSERT_TRUE(capture->wait(udp_payload("sentinel")));
  for (const auto& packet : capture->packets()) EXPECT_NE(text(packet.source_mac), text(mac));
  EXPECT_EQ(World::in(world().host(), "ip neigh show").find(text(mac)), std::string::npos) << neighbours;
}

TEST_P(Transmit, ToTheHostsOwnAddressReachesTheHostsKernel) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Endpoint own{family().host, 7001};
  const Fd server = bound_as(bob, IPPROTO_UDP, own);
  const auto capture = world().capture();
  stack.send(World::udp(service(), own, "to the host"));
  const auto got = receive_from(server.get());
  ASSERT_TRUE(got);
  EXPECT_EQ(got->payload, "to the host");
  EXPECT_EQ(got->from, service());
  EXPECT_EQ(pins().counter(MSTACK_TX_TO_HOST), 1U);
  // Whatever MAC the stack writes.
  for (const Mac& mac : {Mac{}, broadcast_mac, Mac{0x33, 0x33, 0, 0, 0, 1}, Mac{0x02, 0xde, 0xad, 0xbe, 0xef, 0x01}}) {
    std::vector<std::uint8_t> frame = build(World::udp(service(), own, "to " + text(mac)));
    std::ranges::copy(mac, frame.begin());
    stack.send(frame);
    const auto also = receive_from(server.get());
    ASSERT_TRUE(also) << text(mac);
    EXPECT_EQ(also->payload, "to " + text(mac));
  }
  stack.send(World::udp(service(), remote(), "sentinel"));
  ASSERT_TRUE(capture->wait(udp_payload("sentinel")));
  EXPECT_EQ(capture->count(udp_payload("to the host")), 0U);
}

// The host is no router for its stacks: only uplinks lead out.
TEST_P(Transmit, NothingIsForwardedToWhereNoUplinkLeads) {
  World::in(world().host(), "ip link add side0 type veth peer name side1 netns " + world().far().path());
  World::in(world().host(),
            ipv6() ? "ip addr add 2001:db8:2::1/64 dev side0 nodad" : "ip addr add 203.0.113.1/24 dev side0");
  World::in(world().host(), "ip link set side0 up");
  World::in(world().far(), "ip link set side1 up");
  {
    Stack stack(world());
    const Claim claim = stack.claim(IPPROTO_UDP, service());
    const Capture side(world().far(), "side1");
    const auto capture = world().capture();
    const Endpoint beyond{ipv6() ? "2001:db8:2::2" : "203.0.113.2", 4000};
    World::in(world().host(), "ip neigh add " + beyond.address + " lladdr 02:00:00:00:00:99 dev side0 nud permanent");
    stack.send(World::udp(service(), beyond, "aside"));
    stack.send(World::udp(service(), remote(), "sentinel"));
    ASSERT_TRUE(capture->wait(udp_payload("sentinel")));
    EXPECT_EQ(side.count(udp_payload("aside")), 0U);
    EXPECT_EQ(capture->count(udp_payload("aside")), 0U);
    EXPECT_EQ(pins().counter(MSTACK_TX_DROP_NOT_UPLINK), 1U);
  }
  World::in(world().host(), "ip link del side0");
}

TEST_P(Transmit, ANeighbourThatNeverAnswersCostsOnlyThatPacket) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const auto capture = world().capture();
  const Endpoint silent{ipv6() ? "2001:db8::99" : "192.0.2.99", 4000};
  stack.send(World::udp(service(), silent, "to nobody"));
  EXPECT_TRUE(capture->wait(resolution));
  stack.send(World::udp(service(), remote(), "to somebody"));
  EXPECT_TRUE(capture->wait(udp_payload("to somebody")));
  EXPECT_EQ(capture->count(udp_payload("to nobody")), 0U);
}

TEST_P(Transmit, AWildcardClaimSendsFromEveryAddressOfTheHostAndNoOther) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, {ipv6() ? "::" : "0.0.0.0", 7000}, {.v6only = true});
  const auto capture = world().capture();
  for (const auto& address : {family().host, ipv6() ? host6_second : host4_second}) {
    stack.send(World::udp({address, 7000}, remote(), "from " + address));
    EXPECT_TRUE(capture->wait(udp_payload("from " + address)));
  }
  for (const std::string address :
       {ipv6() ? "2001:db8::66" : "192.0.2.66", ipv6() ? "::1" : "127.0.0.1", ipv6() ? "::" : "0.0.0.0",
        ipv6() ? "ff02::1" : "224.0.0.1", ipv6() ? wire6.c_str() : wire4.c_str()}) {
    stack.send(World::udp({address, 7000}, remote(), "spoofed"));
  }
  stack.send(World::udp(service(), remote(), "sentinel"));
  ASSERT_TRUE(capture->wait(udp_payload("sentinel")));
  EXPECT_EQ(capture->count(udp_payload("spoofed")), 0U);
  EXPECT_EQ(pins().counter(MSTACK_TX_DROP_NOT_LOCAL), 5U) << ::testing::PrintToString(pins().counters());
}

TEST_P(Transmit, WhatHasNoPortsOrNoReceiverIsDroppedWithItsReason) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const auto capture = world().capture();
  const Mac mac = stack.vport().queue(0).mac(), gateway = stack.vport().queue(0).gateway_mac();
  stack.send(build(Raw{.source_mac = mac,
                       .destination_mac = gateway,
                       .from = service().address,
                       .to = remote().address,
                       .protocol = IPPROTO_GRE,
                       .payload = Bytes(20)}));
  stack.send(ethernet(gateway, mac, 0x88cc, Bytes(46)));
  stack.send(World::udp(service(), {ipv6() ? "ff01::fb" : "240.0.0.251", 5353}, "nobody"));
  stack.send(World::udp(service(), remote(), "sentinel"));
  ASSERT_TRUE(capture->wait(udp_payload("sentinel")));
  EXPECT_EQ(capture->count([&](const Packet& packet) { return packet.from.address == service().address; }),
            1U + (ipv6() ? capture->count(resolution) : 0U));
  EXPECT_EQ(pins().counter(MSTACK_TX_DROP_PROTOCOL), 1U);
  EXPECT_EQ(pins().counter(MSTACK_TX_DROP_NOT_IP), 1U);
  EXPECT_EQ(pins().counter(MSTACK_TX_DROP_DESTINATION), 1U);
}

TEST_P(Transmit, AFrameLargerThanTheMtuIsDropped) {
  Stack stack(world(), alice, {.frames = 64, .frame_size = 4096});
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  World::in(world().host(), "ip link set up0 mtu 1400");
  world().wait_for_carrier();
  const auto capture = world().capture();
  const std::string large(1450, 'x');
  stack.send(World::udp(service(), remote(), large));
  stack.send(World::udp(service(), remote(), "sentinel"));
  ASSERT_TRUE(capture->wait(udp_payload("sentinel")));
  EXPECT_EQ(capture->count(udp_payload(large)), 0U);
  EXPECT_EQ(pins().counter(MSTACK_TX_DROP_TOO_BIG), 1U);
}

TEST_P(Transmit, AReleasedTupleSendsNoMore) {
  Stack stack(world());
  std::optional<Claim> claim = stack.claim(IPPROTO_UDP, service());
  const Claim other = stack.claim(IPPROTO_UDP, {family().host, 7001});
  const auto capture = world().capture();
  stack.send(World::udp(service(), remote(), "while it is claimed"));
  ASSERT_TRUE(capture->wait(udp_payload("while it is claimed")));
  claim.reset();
  stack.send(World::udp(service(), remote(), "after"));
  stack.send(World::udp({family().host, 7001}, remote(), "sentinel"));
  ASSERT_TRUE(capture->wait(udp_payload("sentinel")));
  EXPECT_EQ(capture->count(udp_payload("after")), 0U);
}

// A host end that is late: what flush() had sent would be nobody's when it is looked at.
TEST_P(Transmit, WhatWasDrainedIsSeenBeforeItsClaimEnds) {
  Stack stack(world(), alice, {.frames = 256, .throughput = true});
  std::optional<Claim> claim = stack.claim(IPPROTO_UDP, service());
  const auto capture = world().capture();
  stack.send(World::udp(service(), remote(), "the neighbour is known"));
  ASSERT_TRUE(capture->wait(udp_payload("the neighbour is known")));
  // From the second frame on it sleeps for two seconds before it looks for more.
  const std::string wait = "/sys/class/net/ms" + std::to_string(stack.id()) + "q0/gro_flush_timeout";
  run_or_throw({"unshare", "-m", "sh", "-c", "mount -t sysfs sysfs /sys && echo 2000000000 >" + wait},
               {.who = {.netns = &world().host()}});
  const Deadline awake{1s};
  stack.send(World::udp(service(), remote(), "from now on it sleeps"));
  ASSERT_TRUE(capture->wait(udp_payload("from now on it sleeps")));
  constexpr std::uint64_t frames = 20;
  for (std::uint64_t i = 0; i < frames; ++i) stack.send(World::udp(service(), remote(), "the last words"));
  Queue& queue = stack.vport().queue(0);
  const Expected<std::size_t> left = queue.drain(0ms);
  ASSERT_TRUE(left);
  if (!awake.passed()) {
    EXPECT_GT(*left, 0U);
  }
  EXPECT_EQ(queue.drain(60s), std::size_t{0});
  claim.reset();
  EXPECT_TRUE(eventually([&] { return capture->count(udp_payload("the last words")) == frames; }));
  EXPECT_EQ(pins().counter(MSTACK_TX_DROP_UNCLAIMED), 0U);
  const Expected<QueueStatistics> statistics = queue.statistics();
  ASSERT_TRUE(statistics);
  EXPECT_EQ(statistics->tx_completed, statistics->tx_frames);
}

// A sender that is faster than its host end waits for it: no frame is lost where no counter sees it.
TEST_P(Transmit, NoFrameIsLostBeforeItIsLookedAt) {
  if (!veth_pushes_back()) GTEST_SKIP() << "a veth of this kernel drops what it is given when its other end is full";
  constexpr std::uint64_t frames = 100'000;
  for (const bool throughput : {false, true}) {
    Stack stack(world(), alice, {.frames = 4096, .throughput = throughput});
    const std::uint32_t slot = pins().vports().at(stack.id()).slot;
    const std::vector<std::uint8_t> frame = build(World::udp(service(), remote(), "from a tuple that nobody claims"));
    Queue& queue = stack.vport().queue(0);
    const Deadline deadline{60s};
    for (std::uint64_t sent = 0; sent < frames && !deadline.passed();) {
      while (sent < frames) {
        auto free = queue.allocate();
        if (!free || !free->resize(frame.size())) break;
        std::ranges::copy(frame, free->data());
        if (!queue.transmit(*free)) {
          queue.give_back(*free);
          break;
        }
        ++sent;
      }
      ASSERT_TRUE(queue.flush());
    }
    stack.flush();
    EXPECT_TRUE(eventually([&] { return pins().counter(MSTACK_TX_DROP_UNCLAIMED, slot) == frames; }))
        << pins().counter(MSTACK_TX_DROP_UNCLAIMED, slot) << " of " << frames << " were looked at"
        << (throughput ? " in throughput mode" : "");
  }
}

// Every neighbour that is asked for takes an entry of the host's table, which the host needs for its own.
TEST_P(Transmit, AFloodToUnknownNeighboursLeavesTheHostItsOwn) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  constexpr int frames = 3000;
  const auto prefix = ipv6() ? std::string("2001:db8::1:") : std::string("192.0.2.");
  const auto neighbours = [&] {
    const std::string listed = World::in(world().host(), ipv6() ? "ip -6 neigh" : "ip -4 neigh");
    return std::ranges::count(listed, '\n');
  };
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < frames; ++i) {
    const std::string to = prefix + (ipv6() ? std::to_string(i) : std::to_string(20 + i % 230));
    stack.send(World::udp(service(), {to, 4000}, "is anybody there?"));
  }
  std::uint64_t asked = 0;
  EXPECT_TRUE(eventually([&] {
    asked = pins().counter(MSTACK_TX_SENT_SLOW);
    return asked + pins().counter(MSTACK_TX_DROP_NEIGHBOUR_PACE) == frames;
  }));
  const auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  EXPECT_LE(asked, 33 + 16 * seconds) << "in " << seconds << " s";
  EXPECT_LE(neighbours(), 40 + 16 * seconds);
  // And who is known already is not concerned.
  const Fd server = world().wire().run([&] { return bound(IPPROTO_UDP, remote()); });
  const Fd client = world().host().run([&] { return bound(IPPROTO_UDP, {family().host, 7001}); });
  send_to(client.get(), remote(), "the host's own");
  ASSERT_TRUE(receive_from(server.get()));
  stack.send(World::udp(service(), remote(), "the stack's"));
  EXPECT_TRUE(receive_from(server.get()));
}

// The kernel finds that out by itself only for entries that it uses, and what XDP sends it never sees.
TEST_P(Transmit, APeerThatChangesItsMacIsFoundAgain) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Fd server = world().wire().run([&] { return bound(IPPROTO_UDP, remote()); });
  const auto neighbour = [&](const std::string& command, const std::string& rest = {}) {
    return World::in(world().host(), "ip neigh " + command + " " + remote().address + " dev " + uplink + rest);
  };
  // Quick, but with doubt shorter than trust: else each probe is followed by the next.
  const std::string prefix = std::string("net.") + (ipv6() ? "ipv6" : "ipv4") + ".neigh." + uplink + ".";
  World::in(world().host(), "sysctl -qw " + prefix + "base_reachable_time_ms=2500 " + prefix + "retrans_time_ms=50 " +
                                prefix + "delay_first_probe_time=1");
  stack.send(World::udp(service(), remote(), "before"));
  ASSERT_TRUE(receive_from(server.get()));
  neighbour("change", " lladdr " + text(world().wire_mac()) + " nud stale");  // as trust ends, with time

  const Mac changed{0x02, 0, 0, 0, 0, 0x77};
  World::in(world().wire(), "ip link set " + wire_end + " address " + text(changed));
  world().wait_for_carrier();
  const std::uint64_t sent_by_xdp = pins().counter(MSTACK_TX_SENT);
  std::optional<Datagram> got;
  for (const Deadline deadline; !got && !deadline.passed();) {
    stack.send(World::udp(service(), remote(), "after"));
    got = receive_from(server.get(), Deadline{10ms});
  }
  ASSERT_TRUE(got) << neighbour("show");
  EXPECT_TRUE(neighbour("show").contains(text(changed))) << neighbour("show");
  if (std::get<0>(GetParam()) == std::string("native")) {
    EXPECT_GT(pins().counter(MSTACK_TX_SENT), sent_by_xdp) << "all of it went by the kernel: nothing is shown";
  }
  World::in(world().wire(), "ip link set " + wire_end + " address " + text(world().wire_mac()));
}

}  // namespace
}  // namespace mstack::test
