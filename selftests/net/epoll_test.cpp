// SPDX-License-Identifier: BSD-2-Clause
//
// Queue::fd() in an event loop of the stack's own, beside its other descriptors.
#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <array>
#include <set>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

const Endpoint service{host4, 7000};

// Which queues have something, by their indices.
class Loop {
 public:
  explicit Loop(Vport& vport, std::uint32_t events) {
    for (std::uint32_t index = 0; index < vport.queues(); ++index) {
      epoll_event event{.events = events, .data = {.u32 = index}};
      check(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, vport.queue(index).fd(), &event), "EPOLL_CTL_ADD");
    }
  }
  std::set<std::uint32_t> wait(const Deadline& deadline = Deadline{}) const {
    std::array<epoll_event, 8> events{};
    const int count = check(::epoll_wait(epoll_.get(), events.data(), events.size(), deadline.left()), "epoll_wait");
    std::set<std::uint32_t> queues;
    for (int i = 0; i < count; ++i) {
      EXPECT_EQ(events[i].events, static_cast<std::uint32_t>(EPOLLIN));
      queues.insert(events[i].data.u32);
    }
    return queues;
  }
  std::set<std::uint32_t> now() const { return wait(Deadline{0ms}); }

 private:
  Fd epoll_{check(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")};
};

class Epoll : public NetTest {
 protected:
  // A remote port whose packets come on that queue.
  Endpoint flow_of(Stack& stack, std::size_t queue) {
    for (std::uint16_t port = 10000; port < 11000; ++port) {
      const Endpoint from{wire4, port};
      const auto before = stack.seen_on(queue);
      world().send(World::udp(from, service, "which queue?"));
      if (!stack.receive([&](const Packet& packet) { return packet.from == from; })) break;
      if (stack.seen_on(queue) != before) return from;
    }
    throw std::runtime_error("no flow on queue " + std::to_string(queue));
  }
};

TEST_F(Epoll, AQueueIsReadableAsLongAsItHasSomething) {
  Stack stack(world(), alice, {.queues = 2, .frames = 256});
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  const std::array flows{flow_of(stack, 0), flow_of(stack, 1)};
  const Loop loop(stack.vport(), EPOLLIN);
  EXPECT_TRUE(loop.now().empty());
  for (const std::uint32_t queue : {1U, 0U}) {
    world().send(World::udp(flows[queue], service, "first"));
    EXPECT_EQ(loop.wait(), std::set{queue});
    EXPECT_EQ(loop.now(), std::set{queue}) << "it is still there";
    ASSERT_TRUE(stack.receive(udp_payload("first")));
    EXPECT_TRUE(loop.now().empty());
  }
  for (const Endpoint& from : flows) world().send(World::udp(from, service, "to both"));
  EXPECT_TRUE(eventually([&] { return loop.now() == std::set{0U, 1U}; }));
  // To send makes nothing readable.
  stack.seen();
  const Endpoint remote{wire4, 4000};
  const Fd somebody = world().wire().run([&] { return bound(IPPROTO_UDP, remote); });
  stack.send(World::udp(service, remote, "out"), 1);
  EXPECT_TRUE(loop.now().empty());
}

// Each packet that comes to an empty queue is an edge.
TEST_F(Epoll, EdgeTriggered) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  const Loop loop(stack.vport(), EPOLLIN | EPOLLET);
  loop.now();
  for (int round = 0; round < 100; ++round) {
    const std::string text = "round " + std::to_string(round);
    world().send(World::udp({wire4, 4000}, service, text));
    ASSERT_EQ(loop.wait(), std::set{0U}) << text;
    ASSERT_TRUE(stack.receive(udp_payload(text)));
  }
  EXPECT_EQ(stack.seen().size(), 100U);
}

}  // namespace
}  // namespace mstack::test
