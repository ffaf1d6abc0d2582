// SPDX-License-Identifier: BSD-2-Clause
//
// An MTU of 9,000: packets of several frames on a vport that asked for them, and what becomes of them on others.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>

#include "support/fixture.hpp"
#include "support/multi_buffer.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

constexpr unsigned jumbo = 9000;

struct Family {
  const char* name;
  std::string host, wire;
};

std::string text_of(std::size_t size) {
  std::string text;
  for (std::size_t i = 0; i < size; ++i) text.push_back(static_cast<char>('a' + (i * 7 + i / 251) % 26));
  return text;
}

#define SKIP_WITHOUT_MULTI_BUFFER() \
  if (!kernel_has_multi_buffer()) GTEST_SKIP() << "this kernel has no AF_XDP packets of several frames"

class Jumbo : public NetTest, public ::testing::WithParamInterface<std::tuple<const char*, Family>> {
 protected:
  Jumbo() : NetTest({.mtu = jumbo}) {}
  void SetUp() override {
    const std::string mode = std::get<0>(GetParam());
    if (mode == "native" && !kernel_has_multi_buffer()) GTEST_SKIP() << "this kernel has no native XDP of such an MTU";
    start({.xdp_mode = mode, .environment = {}});
  }
  const Family& family() const { return std::get<1>(GetParam()); }
  std::size_t headers() const { return family().host == host6 ? 40 : 20; }
  Endpoint service() const { return {family().host, 7000}; }
  Endpoint remote() const { return {family().wire, 4000}; }
  Fd on_the_wire() const {
    return world().wire().run([&] { return bound(IPPROTO_UDP, remote()); });
  }
};

INSTANTIATE_TEST_SUITE_P(
    Modes, Jumbo,
    ::testing::Combine(::testing::Values("native", "generic"),
                       ::testing::Values(Family{"IPv4", host4, wire4}, Family{"IPv6", host6, wire6})),
    [](const auto& chosen) { return std::string(std::get<0>(chosen.param)) + "_" + std::get<1>(chosen.param).name; });

TEST_P(Jumbo, DatagramsGoBothWaysByteForByte) {
  SKIP_WITHOUT_MULTI_BUFFER();
  for (const std::uint32_t frame_size : {2048U, 4096U}) {
    Stack stack(world(), alice, {.frames = 256, .frame_size = frame_size, .multi_buffer = true});
    const Claim claim = stack.claim(IPPROTO_UDP, service());
    EXPECT_EQ(stack.vport().queue(0).mtu(), jumbo);
    const Fd peer = on_the_wire();
    // Also where a frame, a veth's first buffer and a page end.
    for (const std::size_t size : {jumbo - headers() - 8, std::size_t{1}, std::size_t{1750}, std::size_t{1751},
                                   std::size_t{3478}, std::size_t{3479}, std::size_t{5000}}) {
      const std::string text = text_of(size);
      send_to(peer.get(), service(), text);
      const auto got = stack.receive(udp_payload(text));
      ASSERT_TRUE(got) << size;
      EXPECT_TRUE(got->checksums_right) << size;
      stack.send(World::udp(service(), remote(), text));
      const auto back = receive_from(peer.get());
      ASSERT_TRUE(back) << size;
      EXPECT_EQ(back->payload, text) << size;
    }
    const auto statistics = stack.vport().queue(0).statistics();
    ASSERT_TRUE(statistics);
    EXPECT_EQ(statistics->bad_entries + statistics->misused + statistics->kernel_tx_invalid, 0U);
  }
}

TEST_P(Jumbo, SegmentsGoBothWaysByteForByte) {
  SKIP_WITHOUT_MULTI_BUFFER();
  Stack stack(world(), alice, {.frames = 256, .multi_buffer = true});
  const Claim claim = stack.claim(IPPROTO_TCP, service());
  const auto capture = world().capture();
  const std::string text = text_of(jumbo - headers() - 20);
  world().send(World::tcp(remote(), service(), text, tcp_ack));
  const auto got = stack.receive([&](const Packet& packet) { return packet.payload == text; });
  ASSERT_TRUE(got);
  EXPECT_TRUE(got->checksums_right);
  stack.send(World::tcp(service(), remote(), text, tcp_ack));
  const auto sent = capture->wait([&](const Packet& packet) { return packet.payload == text; });
  ASSERT_TRUE(sent);
  EXPECT_TRUE(sent->checksums_right);
}

// No frame is lost to the pool by many of them, in both directions.
TEST_P(Jumbo, ManyInARow) {
  SKIP_WITHOUT_MULTI_BUFFER();
  Stack stack(world(), alice, {.frames = 64, .multi_buffer = true});
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Fd peer = on_the_wire();
  for (int i = 0; i < 200; ++i) {
    const std::string text = std::to_string(i) + text_of(jumbo - headers() - 8 - 3);
    send_to(peer.get(), service(), text);
    ASSERT_TRUE(stack.receive(udp_payload(text))) << i;
    stack.send(World::udp(service(), remote(), text));
    const auto back = receive_from(peer.get());
    ASSERT_TRUE(back) << i;
    EXPECT_EQ(back->payload, text);
  }
}

TEST_P(Jumbo, AVportOfOneFrameAPacketDropsAndCountsThem) {
  for (const std::uint32_t frame_size : {2048U, 4096U}) {
    Stack stack(world(), alice, {.frames = 256, .frame_size = frame_size});
    const Claim claim = stack.claim(IPPROTO_UDP, service());
    const std::uint64_t before = pins().counter(MSTACK_RX_DROP_TOO_BIG);
    const Fd peer = on_the_wire();
    send_to(peer.get(), service(), text_of(jumbo - headers() - 8));
    send_to(peer.get(), service(), "small");
    ASSERT_TRUE(stack.receive(udp_payload("small")));
    EXPECT_EQ(pins().counter(MSTACK_RX_DROP_TOO_BIG), before + 1);
  }
}

TEST_P(Jumbo, WhatIsLargerThanTheRoutesMtuIsDroppedAndCounted) {
  SKIP_WITHOUT_MULTI_BUFFER();
  Stack stack(world(), alice, {.frames = 256, .multi_buffer = true});
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Fd peer = on_the_wire();
  World::in(world().host(), "ip link set up0 mtu 5000");
  for (const std::size_t size : {5001U, 9000U})
    stack.send(World::udp(service(), remote(), text_of(size - headers() - 8)));
  const std::string fits = text_of(5000 - headers() - 8);
  stack.send(World::udp(service(), remote(), fits));
  const auto back = receive_from(peer.get());
  ASSERT_TRUE(back);
  EXPECT_EQ(back->payload, fits);
  EXPECT_EQ(pins().counter(MSTACK_TX_DROP_TOO_BIG), 2U);
}

// What nobody claimed is the kernel's, whole, and its own segments are not held up.
TEST_P(Jumbo, TheKernelGetsItsOwn) {
  const Fd service_of_kernel = bound_as(alice, IPPROTO_UDP, {family().host, 7100});
  const Fd peer = on_the_wire();
  const std::string text = text_of(jumbo - headers() - 8);
  send_to(peer.get(), {family().host, 7100}, text);
  const auto got = receive_from(service_of_kernel.get());
  ASSERT_TRUE(got);
  EXPECT_EQ(got->payload, text);
  send_to(service_of_kernel.get(), remote(), text);
  const auto back = receive_from(peer.get());
  ASSERT_TRUE(back);
  EXPECT_EQ(back->payload, text);
}

class JumboKernel : public NetTest {
 protected:
  JumboKernel() : NetTest({.mtu = jumbo}) {}
};

TEST_F(JumboKernel, AnOldOneRefusesAndSaysWhatToDo) {
  const auto opened = Stack::try_open(world(), alice, {.frames = 64, .multi_buffer = true});
  EXPECT_EQ(opened.has_value(), kernel_has_multi_buffer());
  const Completed doctor = world().command({"doctor"});
  EXPECT_NE(doctor.out.find(kernel_has_multi_buffer() ? "jumbo frames of any MTU" : "before 6.6"), std::string::npos)
      << doctor.out;
  if (opened) return;
  EXPECT_EQ(opened.error().code, EOPNOTSUPP);
  EXPECT_NE(opened.error().what.find("need Linux 6.6"), std::string::npos) << opened.error().what;
  EXPECT_TRUE(Stack::try_open(world(), alice, {.frames = 64, .frame_size = 4096}));
}

// A tap takes XDP frames, and none of several buffers: they would be lost without a word.
TEST_F(JumboKernel, AnUplinkThatTransmitsOneBufferGetsTheOthersByTc) {
  SKIP_WITHOUT_MULTI_BUFFER();
  Fd tap;
  world().host().run([&] {
    tap = Fd(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
    ifreq request{};
    std::string("tap0").copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    if (tap && ::ioctl(tap.get(), TUNSETIFF, &request) < 0) tap.reset();
  });
  if (!tap) GTEST_SKIP() << "no tap here: " << std::generic_category().message(errno);
  for (const char* command : {"ip link set tap0 mtu 9000 up", "ip addr add 203.0.113.1/24 dev tap0",
                              "ip neigh add 203.0.113.2 lladdr 02:00:00:00:00:99 nud permanent dev tap0"})
    World::in(world().host(), command);
  const Completed attached = world().command({"attach", "tap0", "--xdp-mode", "native"});
  ASSERT_EQ(attached.exit, Exit{0}) << attached.err;
  const Completed uplinks = world().command({"uplinks"});
  EXPECT_NE(uplinks.out.find("XDP, and what takes several buffers by TC"), std::string::npos) << uplinks.out;

  Stack stack(world(), alice, {.frames = 256, .multi_buffer = true});
  const Endpoint here{"203.0.113.1", 7000}, there{"203.0.113.2", 4000};
  const Claim claim = stack.claim(IPPROTO_UDP, here);
  const std::string text = text_of(8972);
  for (const std::string& payload : {std::string("small"), text}) {
    stack.send(World::udp(here, there, payload));
    const Deadline deadline;
    std::optional<Packet> got;
    while (!got && wait_for(tap.get(), POLLIN, deadline)) {
      Bytes frame(65536);
      const ssize_t size = ::read(tap.get(), frame.data(), frame.size());
      if (size <= 0) continue;
      frame.resize(static_cast<std::size_t>(size));
      if (auto packet = parse(frame); packet && packet->payload == payload) got = packet;
    }
    ASSERT_TRUE(got) << payload.size();
  }
  EXPECT_EQ(pins().counter(MSTACK_TX_SENT), 1U);
  EXPECT_EQ(pins().counter(MSTACK_TX_SENT_SLOW), 1U);
  ASSERT_EQ(world().command({"detach", "tap0"}).exit, Exit{0});
}

}  // namespace
}  // namespace mstack::test
