// SPDX-License-Identifier: BSD-2-Clause
//
// A vport of several queues: each flow is one queue's, whatever CPU its packets arrive on; the library knows which; and
// who is slow on one queue is nobody else's trouble.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/socket.h>

#include <array>
#include <map>
#include <set>
#include <thread>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

constexpr std::size_t queue_count = 4;

class Queues : public NetTest, public testing::WithParamInterface<const char*> {
 protected:
  Queues() : NetTest({.queues = 4}) {}
  void SetUp() override { start({.arguments = {}, .xdp_mode = GetParam(), .environment = {}}); }
  static std::size_t expected(const Packet& packet) {
    return queue_of(library_tuple(packet.protocol, packet.to), library_tuple(packet.protocol, packet.from),
                    queue_count);
  }
  // All that waits on a queue now.
  static std::vector<Packet> take(Queue& queue) {
    std::vector<Packet> out;
    while (queue.receive(64, [&](Frame frame) { out.push_back(parse(frame.bytes()).value_or(Packet{})); }) != 0) {
    }
    EXPECT_TRUE(queue.flush());
    return out;
  }
};
INSTANTIATE_TEST_SUITE_P(Modes, Queues, testing::Values("native", "generic"),
                         [](const auto& chosen) { return chosen.param; });

std::vector<int> own_cpus() {
  cpu_set_t allowed;
  check(::sched_getaffinity(0, sizeof(allowed), &allowed), "sched_getaffinity");
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &allowed)) cpus.push_back(cpu);
  return cpus;
}

// A veth hands a frame to its peer on the CPU that sent it.
TEST_P(Queues, AFlowIsOneQueuesWhateverCpuItArrivesOn) {
  Stack stack(world(), alice, {.queues = queue_count, .frames = 1024});
  const std::array claims = {stack.claim(IPPROTO_UDP, {"0.0.0.0", 7000}),
                             stack.claim(IPPROTO_UDP, {"::", 7000}, {.v6only = true}),
                             stack.claim(IPPROTO_TCP, {host4, 7000}), stack.claim(IPPROTO_TCP, {host6_second, 7000})};
  std::size_t sent = 0, received = 0;
  std::set<std::size_t> used;
  std::map<std::pair<int, Endpoint>, std::size_t> queue_of_flow;
  const auto drain = [&] {
    for (std::size_t index = 0; index < queue_count; ++index) {
      for (const Packet& packet : take(stack.vport().queue(index))) {
        ++received;
        used.insert(index);
        EXPECT_EQ(index, expected(packet)) << packet.from << " to " << packet.to;
        const auto [flow, first] = queue_of_flow.try_emplace({packet.protocol, packet.from}, index);
        EXPECT_EQ(flow->second, index) << packet.from << " to " << packet.to;
      }
    }
    return received == sent;
  };
  for (const int cpu : own_cpus()) {
    std::thread sender([&] {
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(cpu, &one);
      check(::sched_setaffinity(0, sizeof(one), &one), "sched_setaffinity");
      for (std::uint16_t port = 4000; port < 4032; ++port) {
        world().send(World::udp({wire4, port}, {host4, 7000}, "four"));
        world().send(World::udp({wire6, port}, {host6, 7000}, "six"));
        world().send(World::tcp({wire4, port}, {host4, 7000}, "four"));
        world().send(World::tcp({wire6, port}, {host6_second, 7000}, "six"));
        sent += 4;
      }
    });
    sender.join();
    ASSERT_TRUE(eventually(drain)) << received << " of " << sent << " from CPU " << cpu;
  }
  EXPECT_EQ(used.size(), queue_count);
  EXPECT_EQ(queue_of_flow.size(), 4U * 32);
}

// A client that picks its port by queue_of() gets the answers in the thread that asked.
TEST_P(Queues, AClientHasBothDirectionsOfAFlowInOneThread) {
  Stack stack(world(), alice, {.queues = queue_count, .frames = 1024});
  for (const auto& [here, there] : {std::pair{host4, wire4}, std::pair{host6, wire6}}) {
    const Fd server = world().wire().run([&] { return bound(IPPROTO_UDP, {there, 9000}); });
    const Tuple remote = library_tuple(IPPROTO_UDP, {there, 9000});
    std::set<std::size_t> open;
    for (std::size_t index = 0; index < queue_count; ++index) open.insert(index);
    for (int tries = 0; !open.empty() && tries < 1000; ++tries) {
      const Claim claim = stack.claim(IPPROTO_UDP, {here, 0});  // the kernel picks
      const std::size_t index = queue_of(claim.tuple(), remote, queue_count);
      if (open.erase(index) == 0) continue;
      stack.send(World::udp({here, claim.tuple().port}, {there, 9000}, "question"), index);
      const auto question = receive_from(server.get());
      ASSERT_TRUE(question);
      send_to(server.get(), question->from, "answer");
      ASSERT_TRUE(wait_for(stack.vport().queue(index).fd(), POLLIN, Deadline{})) << "queue " << index;
      const auto got = take(stack.vport().queue(index));
      ASSERT_EQ(got.size(), 1U);
      EXPECT_EQ(got[0].payload, "answer");
    }
    EXPECT_TRUE(open.empty());
  }
}

// The consumer of queue 0 sleeps, and a flood comes for it. The others get all that is theirs, and send.
TEST_P(Queues, OneThatSleepsHoldsUpNobody) {
  constexpr int rounds = 1500;
  Stack stack(world(), alice, {.queues = queue_count, .frames = 256});
  const Endpoint service{host4, 7000};
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  std::array<Endpoint, queue_count> remotes;  // of a flow for each
  for (std::uint16_t port = 4000; port < 4400; ++port) {
    const Endpoint remote{wire4, port};
    remotes[queue_of(claim.tuple(), library_tuple(IPPROTO_UDP, remote), queue_count)] = remote;
  }
  for (const Endpoint& remote : remotes) ASSERT_NE(remote.port, 0);

  const auto capture = world().capture();
  std::array<std::size_t, queue_count> received{};
  for (int round = 0; round < rounds; ++round) {
    for (int flood = 0; flood < 4; ++flood) world().send(World::udp(remotes[0], service, "for the sleeper"));
    for (std::size_t index = 1; index < queue_count; ++index) {
      const std::string text = std::to_string(round) + " of " + std::to_string(index);
      world().send(World::udp(remotes[index], service, text));
      // The wire's kernel complains of what it gets, by ICMP.
      bool is_there = false;
      ASSERT_TRUE(eventually([&] {
        for (const Packet& packet : take(stack.vport().queue(index))) {
          if (packet.protocol != IPPROTO_UDP) continue;
          ++received[index];
          is_there = packet.payload == text;
        }
        return is_there;
      })) << text;
      if (round % 100 == 0) {
        stack.send(World::udp(service, remotes[index], text), index);
        EXPECT_TRUE(capture->wait(udp_payload(text)));
      }
    }
  }
  for (std::size_t index = 1; index < queue_count; ++index) EXPECT_EQ(received[index], std::size_t{rounds});
  // It lost what it had no room for, which is counted as its own; what it had room for is there, and it goes on.
  Queue& sleeper = stack.vport().queue(0);
  const auto statistics = sleeper.statistics();
  ASSERT_TRUE(statistics);
  const std::size_t waiting = take(sleeper).size();
  EXPECT_GT(waiting, 0U);
  EXPECT_LE(waiting, sleeper.frames());
  EXPECT_GT(statistics->kernel_rx_dropped + statistics->kernel_rx_ring_full + statistics->kernel_fill_ring_empty, 0U);
  for (std::size_t index = 1; index < queue_count; ++index) {
    const auto others = stack.vport().queue(index).statistics();
    ASSERT_TRUE(others);
    EXPECT_EQ(others->kernel_rx_dropped + others->kernel_rx_ring_full, 0U);
  }
  world().send(World::udp(remotes[0], service, "awake"));
  EXPECT_TRUE(stack.receive(udp_payload("awake")));
}

}  // namespace
}  // namespace mstack::test
