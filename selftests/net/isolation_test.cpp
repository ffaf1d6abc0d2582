// SPDX-License-Identifier: BSD-2-Clause
//
// Two stacks of two users on one address: neither sees, sends, claims or starves what is the other's.
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "support/fixture.hpp"
#include "support/generator.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

const Endpoint of_alice{host4, 7000}, of_bob{host4, 7001}, remote{wire4, 4000};

class Isolation : public NetTest {};

class IsolationOnTwoUplinks : public NetTest {
 protected:
  IsolationOnTwoUplinks() : NetTest({.second = true}) {}
};

TEST_F(Isolation, NeitherSeesTheOthersPackets) {
  Stack first(world(), alice, {.frames = 4096}), second(world(), bob, {.frames = 4096});  // room for all of them
  const Claim one = first.claim(IPPROTO_UDP, of_alice), two = second.claim(IPPROTO_UDP, of_bob);
  // The same port number of the other protocol is the other user's.
  const Claim three = second.claim(IPPROTO_TCP, of_alice);
  constexpr int rounds = 100;
  for (int round = 0; round < rounds; ++round) {
    world().send(World::udp(remote, of_alice, "to alice"));
    world().send(World::udp(remote, of_bob, "to bob"));
    world().send(World::tcp(remote, of_alice, "to bob too"));
  }
  world().send(World::udp(remote, of_alice, "last to alice"));
  world().send(World::udp(remote, of_bob, "last to bob"));
  ASSERT_TRUE(first.receive(udp_payload("last to alice")));
  ASSERT_TRUE(second.receive(udp_payload("last to bob")));
  EXPECT_EQ(first.seen().size(), rounds + 1U);
  EXPECT_EQ(second.seen().size(), 2U * rounds + 1U);
  EXPECT_TRUE(
      std::ranges::all_of(first.seen(), [](const Packet& p) { return p.protocol == IPPROTO_UDP && p.to == of_alice; }));
}

TEST_F(Isolation, NeitherSendsFromTheOthersTuple) {
  Stack first(world(), alice), second(world(), bob);
  const Claim one = first.claim(IPPROTO_UDP, of_alice), two = second.claim(IPPROTO_UDP, of_bob);
  const auto capture = world().capture();
  second.send(World::udp(of_alice, remote, "spoofed"));
  second.send(World::udp({host4, 7002}, remote, "unclaimed"));
  second.send(World::udp({wire4, 7001}, remote, "foreign address"));
  second.send(World::udp(of_bob, remote, "own"));
  ASSERT_TRUE(capture->wait(udp_payload("own")));
  EXPECT_EQ(capture->count([](const Packet& packet) { return packet.protocol == IPPROTO_UDP; }), 1U);
  EXPECT_EQ(pins().counter(MSTACK_TX_DROP_NOT_OWNER), 1U);
  EXPECT_EQ(pins().counter(MSTACK_TX_DROP_UNCLAIMED), 2U);
}

TEST_F(Isolation, NeitherClaimsTheOthersTuple) {
  Stack first(world(), alice), second(world(), bob);
  const Claim one = first.claim(IPPROTO_UDP, of_alice);
  for (const Endpoint& endpoint : {of_alice, Endpoint{"0.0.0.0", 7000}, Endpoint{"::", 7000}}) {
    const auto stolen = second.try_claim(IPPROTO_UDP, endpoint);
    ASSERT_FALSE(stolen) << endpoint;
    EXPECT_EQ(stolen.error().code, EADDRINUSE) << stolen.error().what;
  }
  // It stays where it was.
  world().send(World::udp(remote, of_alice, "still alice's"));
  EXPECT_TRUE(first.receive(udp_payload("still alice's")));
  EXPECT_EQ(pins().claims().size(), 1U);
}

TEST_F(Isolation, AFloodToOneDoesNotKeepTheOtherFromItsOwn) {
  Stack first(world(), alice, {.frames = 64}), second(world(), bob);
  const Claim one = first.claim(IPPROTO_UDP, of_alice), two = second.claim(IPPROTO_UDP, of_bob);
  // Alice's stack never looks: its rings are full from here on.
  constexpr int flood = 5000, rounds = 50;
  for (int round = 0; round < rounds; ++round) {
    for (int i = 0; i < flood / rounds; ++i) world().send(World::udp(remote, of_alice, "flood"));
    const std::string text = "round " + std::to_string(round);
    world().send(World::udp(remote, of_bob, text));
    ASSERT_TRUE(second.receive(udp_payload(text))) << text;
  }
  EXPECT_EQ(second.seen().size(), static_cast<std::size_t>(rounds));
  // What did not fit is accounted for: every frame was steered, and either delivered or dropped at alice's door.
  EXPECT_EQ(pins().counter(MSTACK_RX_STEERED), static_cast<std::uint64_t>(flood + rounds));
  const auto dropped = first.vport().queue(0).statistics();
  ASSERT_TRUE(dropped);
  EXPECT_GT(dropped->kernel_rx_dropped + dropped->kernel_rx_ring_full + dropped->kernel_fill_ring_empty, 0U);
}

// As fast as a CPU can. Bob's packets come by another uplink: what a full wire loses is nobody's doing.
TEST_F(IsolationOnTwoUplinks, AFloodAtFullSpeedTakesNothingFromOthers) {
  Stack first(world(), alice, {.frames = 64}), second(world(), bob);
  const Endpoint bobs{second4, 7001}, kernels{second4, 7002};
  const Claim one = first.claim(IPPROTO_UDP, of_alice), two = second.claim(IPPROTO_UDP, bobs);
  const Fd server = bound_as(bob, IPPROTO_UDP, kernels);
  const Fd client = world().wire().run([] { return bound(IPPROTO_UDP, {second_wire4, 0}); });
  const Endpoint there = local_endpoint(client.get());
  Segment flood = World::udp(remote, of_alice, "flood");
  flood.destination_mac = world().host_mac();
  flood.source_mac = world().wire_mac();
  const auto steered = [&] { return pins().counter(MSTACK_RX_STEERED); };
  const std::uint64_t many = Generator::sends_by_xdp() ? 100'000 : 2'000;
  constexpr std::uint64_t rounds = 300;
  {
    const Generator generator(world(), build(flood));
    ASSERT_TRUE(eventually([&] { return steered() > many; }));
    for (std::uint64_t round = 0; round < rounds; ++round) {
      const std::string text = "round " + std::to_string(round);
      send_to(client.get(), bobs, text);
      ASSERT_TRUE(second.receive(udp_payload(text))) << text;
      second.send(World::udp(bobs, there, "answer to " + text));
      const auto answer = receive_from(client.get());
      ASSERT_TRUE(answer) << text;
      EXPECT_EQ(answer->payload, "answer to " + text);
      send_to(client.get(), kernels, text);
      const auto got = receive_from(server.get());
      ASSERT_TRUE(got) << text;
      EXPECT_EQ(got->payload, text);
    }
    // Nor does mstackd hear of it.
    const Claim another = second.claim(IPPROTO_UDP, {second4, 7003});
    const auto now = steered();
    EXPECT_GT(now, many + rounds);
    ASSERT_TRUE(eventually([&] { return steered() > now + many; })) << "the flood did not last";
  }
  EXPECT_EQ(second.seen().size(), rounds);
  // She gets hers again as soon as she looks.
  EXPECT_TRUE(eventually([&] {
    world().send(World::udp(remote, of_alice, "after"));
    return first.receive(udp_payload("after"), Deadline{100ms}).has_value();
  }));
}

// The same the other way. What alice sends is hers to send: all of it passes the same programs as bob's.
TEST_F(IsolationOnTwoUplinks, AFloodSentByOneDoesNotKeepTheOtherFromSending) {
  Stack first(world(), alice), second(world(), bob);
  const Endpoint bobs{second4, 7001};
  const Claim one = first.claim(IPPROTO_UDP, of_alice), two = second.claim(IPPROTO_UDP, bobs);
  const Fd sink = world().wire().run([] { return bound(IPPROTO_UDP, remote); });
  const Fd server = world().wire().run([] { return bound(IPPROTO_UDP, {second_wire4, 4000}); });
  // By XDP, or by TC where the driver sends no frames of XDP's.
  const auto sent = [&] { return pins().counter(MSTACK_TX_SENT) + pins().counter(MSTACK_TX_SENT_SLOW); };
  constexpr std::uint64_t many = 2'000, rounds = 300;
  {
    // Until it goes, alice's stack is this thread's alone.
    const std::jthread flood([&](const std::stop_token& stop) {
      while (!stop.stop_requested()) first.send(World::udp(of_alice, remote, "flood"));
    });
    ASSERT_TRUE(eventually([&] { return sent() > many; }));
    for (std::uint64_t round = 0; round < rounds; ++round) {
      const std::string text = "round " + std::to_string(round);
      second.send(World::udp(bobs, {second_wire4, 4000}, text));
      const auto got = receive_from(server.get());
      ASSERT_TRUE(got) << text;
      EXPECT_EQ(got->payload, text);
      EXPECT_EQ(got->from, bobs);
    }
    const auto now = sent();
    ASSERT_TRUE(eventually([&] { return sent() > now + many; })) << "the flood did not last";
  }
  EXPECT_FALSE(pending(server.get())) << "more than bob has sent";
}

TEST_F(Isolation, AStackWithoutClaimsGetsAndSendsNothing) {
  Stack first(world(), alice), second(world(), bob);
  const Claim one = first.claim(IPPROTO_UDP, of_alice);
  const auto capture = world().capture();
  second.send(World::udp(of_alice, remote, "spoofed"));
  world().send(World::udp(remote, of_alice, "to alice"));
  ASSERT_TRUE(first.receive(udp_payload("to alice")));
  first.send(World::udp(of_alice, remote, "from alice"));
  ASSERT_TRUE(capture->wait(udp_payload("from alice")));
  EXPECT_EQ(capture->count([](const Packet& packet) { return packet.protocol == IPPROTO_UDP; }), 1U);
  EXPECT_TRUE(second.seen().empty());
}

// What a stack writes as a MAC leads nowhere: its packets go where their destination is, from what it owns.
TEST_F(Isolation, AFrameToAnotherStacksMacGoesNowhereElse) {
  Stack first(world(), alice), second(world(), bob);
  const Claim one = first.claim(IPPROTO_UDP, of_alice), two = second.claim(IPPROTO_UDP, of_bob);
  for (Segment forged : {World::udp(remote, of_alice, "by its MAC"), World::udp(of_bob, remote, "by its MAC")}) {
    forged.destination_mac = first.vport().queue(0).mac();
    second.send(forged);
  }
  second.send(World::udp(of_bob, remote, "after"));
  const auto capture = world().capture();
  second.send(World::udp(of_bob, remote, "sentinel"));
  ASSERT_TRUE(capture->wait(udp_payload("sentinel")));
  world().send(World::udp(remote, of_alice, "to alice"));
  ASSERT_TRUE(first.receive(udp_payload("to alice")));
  EXPECT_EQ(first.seen().size(), 1U);
}

}  // namespace
}  // namespace mstack::test
