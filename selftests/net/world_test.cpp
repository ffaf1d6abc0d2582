// SPDX-License-Identifier: BSD-2-Clause
//
// The tests' world without MultiStack: what the other tests build on holds.
#include "support/world.hpp"

#include <gtest/gtest.h>

namespace mstack::test {
namespace {

TEST(World, KernelSocketsTalkAcrossTheWire) {
  const World world;
  for (const auto& [here, there] : {std::pair{host4, wire4}, std::pair{host6, wire6}}) {
    const Fd server = world.host().run([&] { return bound(IPPROTO_UDP, {here, 7}); });
    const Fd client = world.wire().run([&] { return bound(IPPROTO_UDP, {there, 0}); });
    send_to(client.get(), {here, 7}, "ping");
    const auto got = receive_from(server.get());
    ASSERT_TRUE(got);
    EXPECT_EQ(got->payload, "ping");
    EXPECT_EQ(got->from, local_endpoint(client.get()));
  }
}

TEST(World, BuiltFramesAreTakenByTheKernel) {
  const World world;
  for (const auto& [here, there] : {std::pair{host4, wire4}, std::pair{host6, wire6}}) {
    const Fd server = world.host().run([&] { return bound(IPPROTO_UDP, {here, 7}); });
    world.send(World::udp({there, 4000}, {here, 7}, "by hand"));
    const auto got = receive_from(server.get());
    ASSERT_TRUE(got);
    EXPECT_EQ(got->payload, "by hand");
    EXPECT_EQ(got->from, (Endpoint{there, 4000}));
  }
}

TEST(World, ReadsWhatTheKernelSends) {
  const World world;
  const auto capture = world.capture();
  for (const auto& [here, there] : {std::pair{host4, wire4}, std::pair{host6, wire6}}) {
    world.send(World::tcp({there, 4000}, {here, 9}, ""));
    const auto reset = capture->wait([&](const Packet& packet) {
      return packet.protocol == IPPROTO_TCP && packet.to == Endpoint{there, 4000};
    });
    ASSERT_TRUE(reset);
    EXPECT_TRUE(reset->checksums_right);
    EXPECT_EQ(reset->from, (Endpoint{here, 9}));
    EXPECT_EQ(reset->tcp_flags, tcp_rst | tcp_ack);
    EXPECT_EQ(reset->source_mac, world.host_mac());
    EXPECT_EQ(reset->destination_mac, world.wire_mac());
  }
  EXPECT_EQ(capture->lost(), 0U);
}

TEST(World, TheFarNetworkIsReachedThroughTheWire) {
  const World world({.far = true});
  for (const auto& [here, there] : {std::pair{host4, far4}, std::pair{host6, far6}}) {
    const Fd server = world.far().run([&] { return bound(IPPROTO_UDP, {there, 7}); });
    const Fd client = world.host().run([&] { return bound(IPPROTO_UDP, {here, 0}); });
    send_to(client.get(), {there, 7}, "far");
    const auto got = receive_from(server.get());
    ASSERT_TRUE(got);
    EXPECT_EQ(got->from, local_endpoint(client.get()));
  }
}

TEST(World, AnIdentityHasNoPrivilegeAndTheTestKeepsIts) {
  const World world;
  as({.netns = &world.host(), .uid = alice}, [&] {
    const auto refused = try_bind(IPPROTO_UDP, {host4, 7});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error(), EACCES);
    EXPECT_TRUE(try_bind(IPPROTO_UDP, {host4, 7000}));
  });
  EXPECT_TRUE(world.host().run([] { return try_bind(IPPROTO_UDP, {host4, 7}); }));
}

TEST(World, AProcessIsReapedWithItsOutput) {
  Process child = Process::function([](Channel& channel) {
    channel.send("hello");
    channel.expect("go on");
    return 3;
  });
  child.channel().expect("hello");
  EXPECT_TRUE(child.running());
  child.channel().send("go on");
  EXPECT_EQ(child.wait(), (Exit{.code = 3, .signal = 0}));
  const Completed done = run({"sh", "-c", "echo out; echo err >&2; exit 2"});
  EXPECT_EQ(done.exit, (Exit{.code = 2, .signal = 0}));
  EXPECT_EQ(done.out, "out\n");
  EXPECT_EQ(done.err, "err\n");
}

TEST(World, NothingIsLeft) {
  const World world;
  EXPECT_TRUE(world.leftovers_after_end().empty());
}

}  // namespace
}  // namespace mstack::test
