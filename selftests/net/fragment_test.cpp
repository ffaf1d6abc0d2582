// SPDX-License-Identifier: BSD-2-Clause
//
// Datagrams larger than the MTU, cut up by the kernel at the other end of the wire, or put together there.
#include <gtest/gtest.h>
#include <poll.h>

#include "support/fixture.hpp"
#include "support/fragments.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

struct Family {
  const char* name;
  std::string host, wire;
};

std::string text_of(std::size_t size) {
  std::string text;
  for (std::size_t i = 0; i < size; ++i) text.push_back(static_cast<char>('a' + i * 7 % 26));
  return text;
}

class Fragments : public NetTest, public ::testing::WithParamInterface<std::tuple<const char*, Family>> {
 protected:
  explicit Fragments(const WorldOptions& options = {}) : NetTest(options) {}
  void SetUp() override {
    start({.arguments = {"--send-fragments"}, .xdp_mode = std::get<0>(GetParam()), .environment = {}});
  }
  const Family& family() const { return std::get<1>(GetParam()); }
  Endpoint service() const { return {family().host, 7000}; }
  Endpoint remote() const { return {family().wire, 4000}; }
  Fd on_the_wire() const {
    return world().wire().run([&] { return bound(IPPROTO_UDP, remote()); });
  }
  // The next datagram in fragments that reaches the stack.
  std::optional<Packet> receive(Stack& stack, Reassembly& reassembly, std::vector<std::size_t>* queues = nullptr) {
    const Deadline deadline;
    do {
      for (std::size_t i = 0; i < stack.vport().queues(); ++i) {
        stack.vport().queue(i).receive(64, [&](Frame frame) {
          reassembly.add(frame.bytes());
          if (queues) queues->push_back(i);
        });
      }
      stack.flush();
      if (auto whole = reassembly.whole()) return whole;
    } while (!deadline.passed());
    return std::nullopt;
  }
};

INSTANTIATE_TEST_SUITE_P(
    Modes, Fragments,
    ::testing::Combine(::testing::Values("native", "generic"),
                       ::testing::Values(Family{"IPv4", host4, wire4}, Family{"IPv6", host6, wire6})),
    [](const auto& chosen) { return std::string(std::get<0>(chosen.param)) + "_" + std::get<1>(chosen.param).name; });

TEST_P(Fragments, OfTheKernelReachTheStack) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Fd client = on_the_wire();
  for (const std::size_t size : {3000U, 1600U, 20000U}) {
    const std::string text = text_of(size);
    send_to(client.get(), service(), text);
    Reassembly reassembly;
    const auto got = receive(stack, reassembly);
    ASSERT_TRUE(got) << size;
    EXPECT_GT(reassembly.fragments(), 1U);
    EXPECT_EQ(got->payload, text);
    EXPECT_EQ(got->from, remote());
    EXPECT_EQ(got->to, service());
    EXPECT_TRUE(got->checksums_right);
  }
  EXPECT_EQ(pins().counter(MSTACK_RX_PASS_FRAGMENT), 0U);
  EXPECT_FALSE(pending(claim.fd()));
}

TEST_P(Fragments, OfTheStackArePutTogetherByTheKernel) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Fd server = on_the_wire();
  std::uint32_t id = 0x7000;
  for (const std::size_t size : {3000U, 1600U, 20000U}) {
    const std::string text = text_of(size);
    for (const Bytes& fragment : cut_up(build(World::udp(service(), remote(), text)), 1500, ++id)) stack.send(fragment);
    const auto got = receive_from(server.get());
    ASSERT_TRUE(got) << size;
    EXPECT_EQ(got->payload, text);
    EXPECT_EQ(got->from, service());
  }
}

TEST_P(Fragments, WithoutTheFirstNothingLeaves) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const auto capture = world().capture();
  auto fragments = cut_up(build(World::udp(service(), remote(), text_of(3000))), 1500, 7);
  stack.send(fragments.at(1));
  stack.send(fragments.at(2));
  // Another's first: its later fragments stay as well.
  for (const Bytes& fragment : cut_up(build(World::udp({family().host, 53}, remote(), text_of(3000))), 1500, 8))
    stack.send(fragment);
  stack.send(World::udp(service(), remote(), "the end"));
  ASSERT_TRUE(capture->wait(udp_payload("the end")));
  EXPECT_EQ(capture->count([](const Packet& packet) { return packet.protocol == 44 || packet.payload.size() > 100; }),
            0U);
  EXPECT_EQ(pins().counter(MSTACK_TX_DROP_FRAGMENT), 4U);
  EXPECT_EQ(pins().counter(MSTACK_TX_DROP_UNCLAIMED), 1U);
}

// The first of the fragments, made so that whoever puts them together throws it away, and it alone.
Bytes spoilt(Bytes first) {
  constexpr std::size_t ip = 14;
  if (first[12] == 0x08) {
    first[ip + 11] ^= 1;  // the header's checksum
    return first;
  }
  const Bytes discard = {44, 0, 0x5e, 4, 0, 0, 0, 0};  // destination options that nobody knows and that say so
  first.insert(first.begin() + ip + 40, discard.begin(), discard.end());
  first[ip + 5] = static_cast<std::uint8_t>(first[ip + 5] + discard.size());
  first[ip + 6] = 60;
  return first;
}

// All stacks of an address share the numbers that datagrams are put together by. The first of a datagram is the
// owner's; the rest must be too.
TEST_P(Fragments, OfOneStackDoNotJoinAnothers) {
  Stack owner(world()), thief(world(), bob);
  const Claim claim = owner.claim(IPPROTO_UDP, service());
  const Endpoint thiefs{family().host, 7001};
  const Claim other = thief.claim(IPPROTO_UDP, thiefs);
  const Fd server = on_the_wire();
  const std::string text = text_of(3000);
  std::string forged = text;
  std::swap_ranges(forged.begin() + 2000, forged.begin() + 2002, forged.begin() + 2010);  // the sum is the same
  auto planted = cut_up(build(World::udp(thiefs, remote(), forged)), 1400, 9);
  planted.front() = spoilt(planted.front());
  for (const Bytes& fragment : planted) thief.send(fragment);
  thief.send(World::udp(thiefs, remote(), "planted"));
  ASSERT_TRUE(receive_from(server.get()));

  for (const Bytes& fragment : cut_up(build(World::udp(service(), remote(), text)), 1400, 9)) owner.send(fragment);
  const auto got = receive_from(server.get());
  ASSERT_TRUE(got);
  EXPECT_EQ(got->from, service());
  EXPECT_EQ(got->payload, text);
}

TEST_P(Fragments, OfTheKernelsDatagramsAreTheKernels) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Endpoint other{family().host, 7001};
  const Fd server = bound_as(bob, IPPROTO_UDP, other);
  const Fd client = on_the_wire();
  const std::string text = text_of(3000);
  send_to(client.get(), other, text);
  const auto got = receive_from(server.get());
  ASSERT_TRUE(got);
  EXPECT_EQ(got->payload, text);
  EXPECT_TRUE(stack.seen().empty());
}

TEST_P(Fragments, AllOfADatagramComeOnOneQueue) {
  Stack stack(world(), alice, {.queues = 4});
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  for (std::uint16_t port = 5000; port < 5016; ++port) {
    const Fd client = world().wire().run([&] { return bound(IPPROTO_UDP, {family().wire, port}); });
    send_to(client.get(), service(), text_of(4000));
    Reassembly reassembly;
    std::vector<std::size_t> queues;
    ASSERT_TRUE(receive(stack, reassembly, &queues));
    EXPECT_EQ(queues, std::vector<std::size_t>(queues.size(), queues.front()));
  }
}

class WithoutFragments : public Fragments {
 protected:
  void SetUp() override { start({.arguments = {}, .xdp_mode = std::get<0>(GetParam()), .environment = {}}); }
};

INSTANTIATE_TEST_SUITE_P(
    Modes, WithoutFragments,
    ::testing::Combine(::testing::Values("native", "generic"),
                       ::testing::Values(Family{"IPv4", host4, wire4}, Family{"IPv6", host6, wire6})),
    [](const auto& chosen) { return std::string(std::get<0>(chosen.param)) + "_" + std::get<1>(chosen.param).name; });

// Unless mstackd was told to let them.
TEST_P(WithoutFragments, NoneLeavesAndAllArrive) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Fd peer = on_the_wire();
  const auto capture = world().capture();
  for (const Bytes& fragment : cut_up(build(World::udp(service(), remote(), text_of(3000))), 1500, 7))
    stack.send(fragment);
  stack.send(World::udp(service(), remote(), "the end"));
  ASSERT_TRUE(capture->wait(udp_payload("the end")));
  EXPECT_EQ(capture->count([](const Packet& packet) { return packet.protocol == 44 || packet.payload.size() > 100; }),
            0U);
  EXPECT_EQ(pins().counter(MSTACK_TX_DROP_FRAGMENT), 3U);
  send_to(peer.get(), service(), text_of(3000));
  Reassembly reassembly;
  ASSERT_TRUE(receive(stack, reassembly));
}

// 3,000 bytes in one frame, and what becomes of them when the uplink's MTU changes.
class JumboFrames : public Fragments {
 protected:
  JumboFrames() : Fragments({.mtu = 3000}) {}
};

INSTANTIATE_TEST_SUITE_P(
    Modes, JumboFrames,
    ::testing::Combine(::testing::Values("native", "generic"),
                       ::testing::Values(Family{"IPv4", host4, wire4}, Family{"IPv6", host6, wire6})),
    [](const auto& chosen) { return std::string(std::get<0>(chosen.param)) + "_" + std::get<1>(chosen.param).name; });

TEST_P(JumboFrames, BothWaysInOneFrame) {
  Stack stack(world(), alice, {.frame_size = 4096});
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  EXPECT_EQ(stack.vport().queue(0).mtu(), 3000U);
  const Fd peer = on_the_wire();
  const std::string text = text_of(3000 - (family().host == host6 ? 48U : 28U));
  send_to(peer.get(), service(), text);
  const auto got = stack.receive(udp_payload(text));
  ASSERT_TRUE(got);
  EXPECT_TRUE(got->checksums_right);
  stack.send(World::udp(service(), remote(), text));
  const auto back = receive_from(peer.get());
  ASSERT_TRUE(back);
  EXPECT_EQ(back->payload, text);
}

TEST_P(JumboFrames, WhatAVportOfSmallFramesDoesNotTakeIsCounted) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Fd peer = on_the_wire();
  send_to(peer.get(), service(), text_of(2500));
  send_to(peer.get(), service(), "small");
  ASSERT_TRUE(stack.receive(udp_payload("small")));
  EXPECT_EQ(pins().counter(MSTACK_RX_DROP_TOO_BIG), 1U);
  EXPECT_EQ(pins().counter(MSTACK_RX_STEERED), 1U);
}

TEST_P(JumboFrames, TheUplinksMtuMayChange) {
  Stack stack(world(), alice, {.frame_size = 4096});
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Fd peer = on_the_wire();
  const std::string large = text_of(2900);
  stack.send(World::udp(service(), remote(), large));
  ASSERT_TRUE(receive_from(peer.get()));
  World::in(world().host(), "ip link set up0 mtu 1500");
  stack.send(World::udp(service(), remote(), large));
  stack.send(World::udp(service(), remote(), "still there"));
  const auto small = receive_from(peer.get());
  ASSERT_TRUE(small);
  EXPECT_EQ(small->payload, "still there");
  EXPECT_EQ(pins().counter(MSTACK_TX_DROP_TOO_BIG), 1U);
  // And back: the vport's device was made for it.
  World::in(world().host(), "ip link set up0 mtu 3000");
  const Deadline deadline;
  std::optional<Datagram> again;
  while (!again && !deadline.passed()) {  // a flow's way is remembered for a tick
    stack.send(World::udp(service(), remote(), large));
    again = receive_from(peer.get(), Deadline{100ms});
  }
  ASSERT_TRUE(again);
  EXPECT_EQ(again->payload, large);
  send_to(peer.get(), service(), large);
  EXPECT_TRUE(stack.receive(udp_payload(large)));
}

}  // namespace
}  // namespace mstack::test
