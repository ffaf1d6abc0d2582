// SPDX-License-Identifier: BSD-2-Clause
//
// A slot is given to the next vport as soon as the last is gone, with packets for that still on their way. The next one
// must get none of them, and its own from the first.
#include <gtest/gtest.h>

#include <atomic>
#include <iostream>
#include <thread>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

const Endpoint olds{host4, 7000}, news{host4, 7001}, remote{wire4, 4000};

class SlotReuse : public NetTest {};

TEST_F(SlotReuse, TheNextGetsNothingOfTheLast) {
  std::atomic<bool> stop = false;
  std::thread flood([&] {
    const Injector injector(world().wire(), wire_end);
    Segment to_old = World::udp(remote, olds, "old"), to_new = World::udp(remote, news, "new");
    for (Segment* segment : {&to_old, &to_new}) {
      segment->destination_mac = world().host_mac();
      segment->source_mac = world().wire_mac();
    }
    const Bytes first = build(to_old), second = build(to_new);
    while (!stop) {
      for (int i = 0; i < 20; ++i) injector.send(first);
      injector.send(second);
    }
  });
  int same_slot = 0;
  std::uint64_t received = 0;
  std::optional<std::uint16_t> last_slot;
  for (int round = 0; round < 15 && !HasFailure(); ++round) {
    // By turns: the old one's owner ends, and the new one comes at once.
    for (const auto& [uid, own, text] : {std::tuple{alice, olds, "old"}, std::tuple{bob, news, "new"}}) {
      Stack stack(world(), uid, {.frames = 256});
      const auto slot = pins().vports().at(stack.id()).slot;
      same_slot += last_slot == slot;
      last_slot = slot;
      const Claim claim = stack.claim(IPPROTO_UDP, own);
      EXPECT_TRUE(stack.receive(udp_payload(text)));
      for (int i = 0; i < 10; ++i) {
        stack.flush();
        received += stack.seen().size();
      }
      for (const Packet& packet : stack.seen()) ASSERT_EQ(packet.to, own) << "another's packet: " << packet.payload;
    }
  }
  stop = true;
  flood.join();
  std::cout << same_slot << " times the same slot, " << received << " packets\n";
  EXPECT_GT(same_slot, 0);
}

}  // namespace
}  // namespace mstack::test
