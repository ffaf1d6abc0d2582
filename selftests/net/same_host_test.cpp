// SPDX-License-Identifier: BSD-2-Clause
//
// A stack and a kernel socket, and two stacks, on one host: by the host's own address, both ways, with right checksums.
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

struct Family {
  const char* name;
  std::string host, second, wire, wildcard, loopback;
};
const Family families[] = {{"IPv4", host4, host4_second, wire4, "0.0.0.0", "127.0.0.1"},
                           {"IPv6", host6, host6_second, wire6, "::", "::1"}};

class SameHost : public NetTest, public ::testing::WithParamInterface<Family> {
 protected:
  Endpoint service(std::uint16_t port = 7000) const { return {GetParam().host, port}; }
  Endpoint kernel(std::uint16_t port = 9000) const { return {GetParam().second, port}; }
  std::uint32_t slot_of(const Stack& stack) const { return pins().vports().at(stack.id()).slot; }
  std::string filters() const { return World::in(world().host(), "tc filter show dev lo egress"); }
  static std::size_t count_in(const std::string& text, const std::string& part) {
    std::size_t count = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
    return count;
  }
};
INSTANTIATE_TEST_SUITE_P(Families, SameHost, ::testing::ValuesIn(families),
                         [](const auto& chosen) { return chosen.param.name; });

TEST_P(SameHost, UdpBetweenAKernelSocketAndAStack) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Fd socket = bound_as(bob, IPPROTO_UDP, kernel());
  const auto capture = world().capture();
  // Odd and even lengths: both ends of a checksum.
  for (const std::size_t size : {1U, 2U, 511U, 1472U, 1473U}) {
    const std::string there(size, 'a'), back(size > 1452 ? 1452 : size, 'b');
    as_user(bob, [&] { send_to(socket.get(), service(), there); });
    const auto got = stack.receive(udp_payload(there));
    ASSERT_TRUE(got) << size;
    EXPECT_TRUE(got->checksums_right) << size;
    EXPECT_EQ(got->from, kernel());
    EXPECT_EQ(got->to, service());
    EXPECT_EQ(got->source_mac, stack.vport().queue(0).gateway_mac());
    stack.send(World::udp(service(), kernel(), back));
    const auto answer = receive_from(socket.get());
    ASSERT_TRUE(answer) << size;
    EXPECT_EQ(answer->payload, back);
    EXPECT_EQ(answer->from, service());
  }
  EXPECT_EQ(pins().counter(MSTACK_RX_STEERED), 5U);
  EXPECT_EQ(pins().counter(MSTACK_TX_TO_HOST, slot_of(stack)), 5U);
  stack.send(World::udp(service(), {GetParam().wire, 4000}, "sentinel"));
  ASSERT_TRUE(capture->wait(udp_payload("sentinel")));
  EXPECT_EQ(capture->count([](const Packet& packet) { return packet.protocol == IPPROTO_UDP; }), 1U);
}

// As `mstack doctor` says: a filter of all interfaces, also the loose one that some distributions have, drops what has
// a source of this host's. IPv6 has none.
TEST_P(SameHost, ReversePathFilters) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Fd socket = bound_as(bob, IPPROTO_UDP, kernel());
  const auto filter_by = [&](int filter) {
    World::in(world().host(), "sysctl -qw net.ipv4.conf.all.rp_filter=" + std::to_string(filter));
  };
  for (const int filter : {1, 2}) {
    filter_by(filter);
    stack.send(World::udp(service(), kernel(), "filtered"));
    ASSERT_TRUE(eventually([&] { return pins().counter(MSTACK_TX_TO_HOST) % 2 == 1; }));
    filter_by(0);
    stack.send(World::udp(service(), kernel(), "sentinel"));
    const auto first = receive_from(socket.get());
    ASSERT_TRUE(first);
    EXPECT_EQ(first->payload, service().ipv6() ? "filtered" : "sentinel") << filter;
    if (service().ipv6()) {
      EXPECT_TRUE(receive_from(socket.get()));
    }
    ASSERT_TRUE(eventually([&] { return pins().counter(MSTACK_TX_TO_HOST) % 2 == 0; }));
  }
}

// The kernel's side is a socket like any other: it connects, sends all in one go, and closes. Its segments are cut and
// their checksums finished on the way, which no NIC does here.
TEST_P(SameHost, TcpFromAKernelSocketToAStack) {
  Stack stack(world(), alice, {.frames = 4096});
  const Claim claim = stack.claim(IPPROTO_TCP, service());
  const Fd socket = bound_as(bob, IPPROTO_TCP, kernel());
  const std::string sent = [] {
    std::string text;
    for (int i = 0; text.size() < 40'000; ++i) text += std::to_string(i) + ",";
    return text;
  }();
  const SocketAddress to{service()};
  EXPECT_EQ(::fcntl(socket.get(), F_SETFL, O_NONBLOCK), 0);
  EXPECT_EQ(::connect(socket.get(), to.get(), to.size), -1);
  EXPECT_EQ(errno, EINPROGRESS);
  const auto syn = stack.receive([](const Packet& packet) { return packet.tcp_flags == tcp_syn; });
  ASSERT_TRUE(syn);
  EXPECT_TRUE(syn->checksums_right);
  std::uint32_t next = syn->sequence + 1;
  Segment answer = World::tcp(service(), kernel(), "", tcp_syn | tcp_ack);
  answer.acknowledgement = next;
  stack.send(answer);
  ASSERT_TRUE(wait_for(socket.get(), POLLOUT, Deadline{}));
  answer.tcp_flags = tcp_ack;
  ++answer.sequence;

  std::string received;
  std::size_t largest = 0, written = 0;
  const Deadline give_up;
  while (received.size() < sent.size() && !give_up.passed()) {
    const ssize_t more = ::send(socket.get(), sent.data() + written, sent.size() - written, MSG_DONTWAIT);
    if (more > 0) written += static_cast<std::size_t>(more);
    const auto segment = stack.receive([&](const Packet& packet) { return !packet.payload.empty(); });
    ASSERT_TRUE(segment) << received.size();
    EXPECT_TRUE(segment->checksums_right);
    largest = std::max(largest, segment->payload.size());
    if (segment->sequence == next) {
      received += segment->payload;
      next += static_cast<std::uint32_t>(segment->payload.size());
    }
    answer.acknowledgement = next;
    stack.send(answer);
  }
  EXPECT_TRUE(received == sent) << received.size();
  EXPECT_LE(largest, 1460U);
  // And a stack's answer, which the kernel takes only with a right checksum.
  answer.payload = "thank you";
  stack.send(answer);
  std::array<char, 64> text{};
  ASSERT_TRUE(wait_for(socket.get(), POLLIN, Deadline{}));
  EXPECT_EQ(::recv(socket.get(), text.data(), text.size(), 0), 9);
  EXPECT_STREQ(text.data(), "thank you");
}

TEST_P(SameHost, TcpFromAStackToAKernelSocket) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_TCP, service());
  const Fd server = bound_as(bob, IPPROTO_TCP, kernel());
  ASSERT_EQ(::listen(server.get(), 1), 0);
  stack.send(World::tcp(service(), kernel(), "", tcp_syn));
  const auto answer = stack.receive([](const Packet& packet) { return packet.tcp_flags == (tcp_syn | tcp_ack); });
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer->checksums_right);
  Segment data = World::tcp(service(), kernel(), "a request", tcp_ack | tcp_psh);
  data.sequence = 2;
  data.acknowledgement = answer->sequence + 1;
  stack.send(data);
  ASSERT_TRUE(wait_for(server.get(), POLLIN, Deadline{}));
  const Fd peer{::accept(server.get(), nullptr, nullptr)};
  std::array<char, 64> text{};
  ASSERT_TRUE(wait_for(peer.get(), POLLIN, Deadline{}));
  EXPECT_EQ(::recv(peer.get(), text.data(), text.size(), 0), 9);
  EXPECT_STREQ(text.data(), "a request");
  // Nobody listens there: the kernel's reset is the stack's, and so is what ICMP says.
  stack.send(World::tcp(service(), kernel(9001), "", tcp_syn));
  EXPECT_TRUE(stack.receive([](const Packet& packet) { return (packet.tcp_flags & tcp_rst) != 0; }));
}

TEST_P(SameHost, AnIcmpErrorOfTheKernelReachesTheStack) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  stack.send(World::udp(service(), kernel(9001), "to nobody"));
  EXPECT_TRUE(stack.receive(
      [](const Packet& packet) { return packet.protocol == IPPROTO_ICMP || packet.protocol == IPPROTO_ICMPV6; }));
}

// They need no kernel between them. One may also talk to itself.
TEST_P(SameHost, TwoStacks) {
  Stack first(world(), alice), second(world(), bob);
  const Claim one = first.claim(IPPROTO_UDP, service(7000)), two = second.claim(IPPROTO_UDP, service(7001)),
              three = second.claim(IPPROTO_TCP, service(7000));
  const auto capture = world().capture();
  const auto ping = [](Stack& from, Stack& to, const Endpoint& source, const Endpoint& destination,
                       const std::string& text) {
    from.send(World::udp(source, destination, text));
    const auto got = to.receive(udp_payload(text));
    ASSERT_TRUE(got) << text;
    EXPECT_TRUE(got->checksums_right);
    EXPECT_EQ(got->from, source);
    EXPECT_EQ(got->to, destination);
    EXPECT_EQ(got->source_mac, to.vport().queue(0).gateway_mac());
    EXPECT_EQ(got->destination_mac, to.vport().queue(0).mac());
  };
  for (int i = 0; i < 20; ++i) {
    ping(first, second, service(7000), service(7001), "there " + std::to_string(i));
    ping(second, first, service(7001), service(7000), "back " + std::to_string(i));
  }
  ping(first, first, service(7000), service(7000), "to itself");
  EXPECT_EQ(pins().counter(MSTACK_TX_TO_STACK, slot_of(first)), 21U);
  EXPECT_EQ(pins().counter(MSTACK_TX_TO_STACK, slot_of(second)), 20U);
  EXPECT_EQ(pins().counter(MSTACK_RX_DELIVERED, slot_of(second)), 20U);
  EXPECT_EQ(pins().counter(MSTACK_TX_TO_HOST), 0U);
  // The same port of the other protocol is another's.
  second.send(World::tcp(service(7000), service(7001), "to nobody", tcp_syn));
  first.send(World::udp(service(7000), {GetParam().wire, 4000}, "sentinel"));
  ASSERT_TRUE(capture->wait(udp_payload("sentinel")));
  EXPECT_EQ(capture->count([](const Packet& packet) { return packet.protocol == IPPROTO_UDP; }), 1U);
}

TEST_P(SameHost, AClaimedTupleIsItsOwnersAlone) {
  Stack stack(world());
  const Fd owner = bound_as(alice, IPPROTO_UDP, service());
  const Claim claim = stack.claim(owner);
  const Fd neighbour = bound_as(bob, IPPROTO_UDP, service(7001)), socket = bound_as(bob, IPPROTO_UDP, kernel());
  send_to(socket.get(), service(), "to the stack");
  send_to(socket.get(), service(7001), "to the kernel");
  ASSERT_TRUE(stack.receive(udp_payload("to the stack")));
  const auto got = receive_from(neighbour.get());
  ASSERT_TRUE(got);
  EXPECT_EQ(got->payload, "to the kernel");
  EXPECT_EQ(stack.seen().size(), 1U);
  EXPECT_FALSE(pending(owner.get()));
  EXPECT_GE(pins().counter(MSTACK_LO_PASS), 1U);
}

TEST_P(SameHost, ASpoofedPacketReachesNoKernelSocketAndNoStack) {
  Stack stack(world(), alice), other(world(), bob);
  const Claim claim = stack.claim(IPPROTO_UDP, service()), others = other.claim(IPPROTO_UDP, service(7001));
  const Fd socket = bound_as(bob, IPPROTO_UDP, kernel());
  for (const Endpoint& from : {service(7001), service(7002), kernel(), Endpoint{GetParam().wire, 7000}})
    for (const Endpoint& to : {kernel(), service(7001), service()}) stack.send(World::udp(from, to, "spoofed"));
  stack.send(World::udp(service(), kernel(), "own"));
  stack.send(World::udp(service(), service(7001), "own"));
  const auto got = receive_from(socket.get());
  ASSERT_TRUE(got);
  EXPECT_EQ(got->payload, "own");
  ASSERT_TRUE(other.receive(udp_payload("own")));
  EXPECT_EQ(other.seen().size(), 1U);
  EXPECT_TRUE(stack.seen().empty());
}

// A kernel socket knows no smaller MTU than that of the loopback device.
TEST_P(SameHost, WhatIsLargerThanTheStacksFramesIsCounted) {
  Stack small(world(), alice), large(world(), bob, {.frames = 256, .frame_size = 4096});
  const Claim claim = small.claim(IPPROTO_UDP, service()), other = large.claim(IPPROTO_UDP, service(7001));
  const Fd socket = bound_as(bob, IPPROTO_UDP, kernel());
  send_to(socket.get(), service(), std::string(1800, 'x'));
  send_to(socket.get(), service(7001), std::string(1800, 'x'));
  ASSERT_TRUE(large.receive(udp_payload(std::string(1800, 'x'))));
  EXPECT_EQ(pins().counter(MSTACK_RX_DROP_TOO_BIG), 1U);
  // And from a stack.
  large.send(World::udp(service(7001), service(), std::string(1800, 'x')));
  EXPECT_TRUE(eventually([&] { return pins().counter(MSTACK_TX_DROP_TOO_BIG, slot_of(large)) == 1; }));
  large.send(World::udp(service(7001), service(), "fits"));
  ASSERT_TRUE(small.receive(udp_payload("fits")));
  EXPECT_EQ(small.seen().size(), 1U);
}

TEST_P(SameHost, AWildcardIsEveryAddressButTheLoopbacks) {
  Stack stack(world());
  const Fd owner = bound_as(alice, IPPROTO_UDP, {GetParam().wildcard, 7000}, {.v6only = true});
  const Claim claim = stack.claim(owner);
  const Fd socket = bound_as(bob, IPPROTO_UDP, {GetParam().wildcard, 9000}, {.v6only = true});
  send_to(socket.get(), {GetParam().loopback, 7000}, "to the loopback address");
  for (const std::string& address : {GetParam().host, GetParam().second}) {
    send_to(socket.get(), {address, 7000}, "to " + address);
    const auto got = stack.receive(udp_payload("to " + address));
    ASSERT_TRUE(got) << address;
    // As the kernel chose it: the same address. The answer finds its way back.
    stack.send(World::udp(got->to, got->from, "back"));
    const auto answer = receive_from(socket.get());
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->from, (Endpoint{address, 7000}));
  }
  const auto kept = receive_from(owner.get());
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->payload, "to the loopback address");
  EXPECT_EQ(stack.seen().size(), 2U);
}

TEST_P(SameHost, EachFlowHasItsQueue) {
  constexpr std::size_t queues = 4;
  Stack stack(world(), alice, {.queues = queues, .frames = 256});
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  std::map<std::size_t, std::size_t> expected;
  for (std::uint16_t port = 9000; port < 9032; ++port) {
    const Fd socket = bound_as(bob, IPPROTO_UDP, kernel(port));
    send_to(socket.get(), service(), std::to_string(port));
    ASSERT_TRUE(stack.receive(udp_payload(std::to_string(port)))) << port;
    ++expected[queue_of(library_tuple(IPPROTO_UDP, service()), library_tuple(IPPROTO_UDP, kernel(port)), queues)];
  }
  for (std::size_t queue = 0; queue < queues; ++queue) EXPECT_EQ(stack.seen_on(queue), expected[queue]) << queue;
}

TEST_P(SameHost, GoesOnWhileMstackdIsKilledAndStartedAgain) {
  const auto talk = [&](Stack& stack, const Fd& socket, const std::string& text) {
    send_to(socket.get(), service(), text);
    ASSERT_TRUE(stack.receive(udp_payload(text))) << text;
    stack.send(World::udp(service(), kernel(), text));
    ASSERT_TRUE(receive_from(socket.get())) << text;
  };
  Stack stack(world());
  const Fd owner = bound_as(alice, IPPROTO_UDP, service());
  const Claim claim = stack.claim(owner);
  const Fd socket = bound_as(bob, IPPROTO_UDP, kernel());
  talk(stack, socket, "before");
  crash();
  talk(stack, socket, "killed");
  start();
  talk(stack, socket, "started");
  EXPECT_EQ(count_in(filters(), "mstack"), 1U) << filters();
}

TEST_P(SameHost, OnAHostWithoutAnUplink) {
  restart({.arguments = {}, .attach = false});
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Fd socket = bound_as(bob, IPPROTO_UDP, kernel());
  send_to(socket.get(), service(), "hello");
  EXPECT_TRUE(stack.receive(udp_payload("hello")));
}

class Loopback : public NetTest {
 protected:
  void SetUp() override {}
  std::string show(const std::string& what) const { return World::in(world().host(), "tc " + what); }
  void change(const std::string& what) const { World::in(world().host(), "tc " + what); }
  // One that matches nothing, so that the next is asked.
  void add_foreign(const std::string& where) const {
    const std::string file = world().directory() + "/nothing";
    std::ofstream(file) << "1,6 0 0 0\n";  // classic BPF: return 0
    change("filter add dev lo " + where + " bpf bytecode-file " + file);
  }
  void steers(const std::string& text) {
    Stack stack(world());
    const Claim claim = stack.claim(IPPROTO_UDP, {host4, 7000});
    const Fd socket = bound_as(bob, IPPROTO_UDP, {host4, 9000});
    send_to(socket.get(), {host4, 7000}, text);
    EXPECT_TRUE(stack.receive(udp_payload(text))) << show("filter show dev lo egress");
  }
};

TEST_F(Loopback, FiltersOfOthersStay) {
  change("qdisc add dev lo clsact");
  // One for another protocol at the place that ours would have, one behind it, and one at the other hook.
  add_foreign("egress pref 1 protocol ip");
  add_foreign("egress pref 9 protocol all");
  add_foreign("ingress pref 1 protocol all");
  const std::string egress = show("filter show dev lo egress"), ingress = show("filter show dev lo ingress");
  start();
  EXPECT_NE(daemon().log().find("come before MultiStack's"), std::string::npos) << daemon().log();
  steers("with others");
  restart();
  steers("taken over");
  EXPECT_EQ(daemon().stop().code, 0);
  EXPECT_EQ(show("filter show dev lo egress"), egress);
  EXPECT_EQ(show("filter show dev lo ingress"), ingress);
  change("qdisc del dev lo clsact");
  start();
}

TEST_F(Loopback, AFilterThatCameLaterKeepsTheQdisc) {
  start();
  add_foreign("egress pref 7 protocol all");
  EXPECT_EQ(daemon().stop().code, 0);
  EXPECT_NE(show("filter show dev lo egress").find("pref 7"), std::string::npos);
  EXPECT_EQ(show("filter show dev lo egress").find("mstack"), std::string::npos);
  change("qdisc del dev lo clsact");
  start();
}

TEST_F(Loopback, NothingIsLeftOfAnMstackdThatWasKilledAndOneThatEnds) {
  start();
  crash();
  EXPECT_NE(show("filter show dev lo egress").find("mstack"), std::string::npos);
  start();
  EXPECT_EQ(daemon().stop().code, 0);
  EXPECT_EQ(show("qdisc show dev lo").find("clsact"), std::string::npos);
  start();
}

// Another in the same network namespace: whatever becomes of it, the first one's filter stays as it is.
TEST_F(Loopback, AnotherMultiStackDoesNotTouchOurs) {
  start();
  const std::string before = show("filter show dev lo egress"), other = world().directory() + "/other";
  const std::vector<std::string> apart = {
      "--run-dir", other, "--pin-dir", world().directory() + "/bpf/other", "--cgroup", world().outside_cgroup()};
  EXPECT_EQ(Daemon::run_to_end(world(), {.arguments = apart, .environment = {}}).exit.code, 1) << "up0 is taken";
  EXPECT_EQ(show("filter show dev lo egress"), before);
  {
    Daemon second(world(), {.arguments = apart, .attach = false, .environment = {}});
    EXPECT_NE(second.log().find("another MultiStack's TC filter on the egress of lo"), std::string::npos)
        << second.log();
    EXPECT_TRUE(show("filter show dev lo egress").starts_with(before)) << show("filter show dev lo egress");
    steers("by the first");
    EXPECT_EQ(second.stop(), (Exit{.code = 0, .signal = 0}));
  }
  EXPECT_EQ(show("filter show dev lo egress"), before);
  // The last one takes the qdisc along.
  std::optional<Daemon> last(std::in_place, world(), DaemonOptions{.arguments = apart, .attach = false});
  EXPECT_EQ(daemon().stop().code, 0);
  EXPECT_EQ(last->stop().code, 0);
  EXPECT_EQ(show("qdisc show dev lo").find("clsact"), std::string::npos);
  start();
}

// Whose pins somebody removed is another's from then on, and does not block us.
TEST_F(Loopback, AnMstackdThatIsGoneWithItsPinsLeavesAFilterThatCanBeRemoved) {
  start();
  crash();
  std::filesystem::remove_all(world().pin_dir());
  start();
  for (const std::string device : {"lo", "up0"}) {
    EXPECT_NE(daemon().log().find("tc filter del dev " + device + " egress pref N"), std::string::npos)
        << daemon().log();
    change("filter del dev " + device + " egress pref 1");
    EXPECT_NE(show("filter show dev " + device + " egress").find("pref 2 bpf"), std::string::npos);
  }
  steers("by the new one");
  EXPECT_EQ(daemon().stop().code, 0);
  for (const char* device : {"lo", "up0"})
    EXPECT_EQ(show(std::string("qdisc show dev ") + device).find("clsact"), std::string::npos);
  start();
}

// Where an ingress qdisc is there can be no clsact. Its filters for an egress would see what comes in.
TEST_F(Loopback, AnIngressQdiscIsLeftAsItIs) {
  change("qdisc add dev lo ingress");
  start();
  EXPECT_NE(daemon().log().find("an ingress qdisc is where"), std::string::npos) << daemon().log();
  EXPECT_EQ(show("filter show dev lo ingress"), "");
  Stack first(world()), second(world(), bob);
  const Claim one = first.claim(IPPROTO_UDP, {host4, 7000}), two = second.claim(IPPROTO_UDP, {host4, 7001});
  first.send(World::udp({host4, 7000}, {host4, 7001}, "between stacks"));
  EXPECT_TRUE(second.receive(udp_payload("between stacks")));
  change("qdisc del dev lo ingress");
}

}  // namespace
}  // namespace mstack::test
