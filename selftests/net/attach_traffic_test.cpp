// SPDX-License-Identifier: BSD-2-Clause
//
// An uplink is attached and detached under traffic that never pauses.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

const Endpoint claimed{host4, 7000}, kernels{host4, 7001}, remote{wire4, 4000};

class AttachUnderTraffic : public NetTest, public ::testing::WithParamInterface<const char*> {};

INSTANTIATE_TEST_SUITE_P(Modes, AttachUnderTraffic, ::testing::Values("native", "generic"),
                         [](const auto& chosen) { return std::string(chosen.param); });

// Every packet to the kernel's service gets there. Every packet to the claim gets to the stack, or, without an uplink,
// to the socket that owns the claim: to one of them, once.
TEST_P(AttachUnderTraffic, NoPacketIsLost) {
  constexpr std::size_t burst = 8;
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, claimed);
  const Fd server = bound_as(bob, IPPROTO_UDP, kernels);
  std::atomic<bool> enough = false;
  std::atomic<std::size_t> rounds = 0;
  std::size_t by_socket = 0;
  std::string lost;
  std::thread traffic([&] {
    for (std::size_t round = 0; !enough && lost.empty(); ++round) {
      const std::string text = "round " + std::to_string(round) + " packet ";
      for (std::size_t i = 0; i < burst; ++i) {
        world().send(World::udp(remote, kernels, text + std::to_string(i)));
        world().send(World::udp(remote, claimed, text + std::to_string(i)));
      }
      for (std::size_t i = 0; i < burst && lost.empty(); ++i) {
        const auto got = receive_from(server.get());
        if (!got || got->payload != text + std::to_string(i)) lost = "to the kernel: " + text + std::to_string(i);
      }
      const bool all = eventually([&] {
        stack.flush();  // refills
        while (pending(claim.fd())) ++by_socket;
        return stack.seen().size() + by_socket >= (round + 1) * burst;
      });
      if (!all) lost = "to the claim: " + text;
      ++rounds;
    }
  });
  const auto more_traffic = [&] {
    const std::size_t now = rounds;
    EXPECT_TRUE(eventually([&] { return rounds >= now + 3 || !lost.empty(); }));
  };
  const auto mstack = [&](std::vector<std::string> arguments) {
    const Completed result = world().command(std::move(arguments));
    EXPECT_EQ(result.exit, (Exit{.code = 0, .signal = 0})) << result.err;
  };
  more_traffic();
  for (int times = 0; times < 5; ++times) {
    mstack({"detach", uplink});
    EXPECT_EQ(attached_xdp(world().host(), uplink), 0U);
    more_traffic();
    mstack({"attach", uplink, "--xdp-mode", GetParam()});
    EXPECT_NE(attached_xdp(world().host(), uplink), 0U);
    more_traffic();
  }
  mstack({"detach", uplink});  // and with it mstackd leaves nothing when it ends
  enough = true;
  traffic.join();
  EXPECT_EQ(lost, "");
  EXPECT_GT(by_socket, 0U);
  EXPECT_GT(stack.seen().size(), 0U);
  EXPECT_EQ(stack.seen().size() + by_socket, rounds * burst);
  EXPECT_TRUE(std::ranges::all_of(stack.seen(), [](const Packet& packet) { return packet.to == claimed; }));
}

}  // namespace
}  // namespace mstack::test
