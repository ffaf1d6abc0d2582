// SPDX-License-Identifier: BSD-2-Clause
// What vport_tx remembers of a flow must never stand in for who may send, nor outlive a tick of the clock by much.
#include <bpf/bpf.h>

#include <chrono>

#include "tx_fixture.hpp"
#include "wire.hpp"

namespace bpf_test {
namespace {

class VportTxFlow : public VportTx {
 protected:
  // Often enough for most of them to find the flow known: a tick is a millisecond at the least.
  void send_often(const Packet& packet) {
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(sent(transmit(packet.bytes()), packet.bytes()));
  }
};

TEST_F(VportTxFlow, AReleasedClaimEndsItAtOnce) {
  for (const Packet& packet : every_kind()) {
    send_often(packet);
    programs.unclaim(tuple(packet.from, packet.from_port, packet.protocol));
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_UNCLAIMED));
  }
}

TEST_F(VportTxFlow, AnothersClaimEndsItAtOnce) {
  for (const Packet& packet : every_kind()) {
    send_often(packet);
    const mstack_tuple own = tuple(packet.from, packet.from_port, packet.protocol);
    programs.unclaim(own);
    programs.claim(own, {.vport = 2, .slot = 2});
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_NOT_OWNER));
  }
}

TEST_F(VportTxFlow, AnothersExactClaimEndsThatOfAWildcardAtOnce) {
  Packet packet = udp4();
  packet.from_port = 8;
  programs.claim(tuple("0.0.0.0", 8, proto_udp));
  send_often(packet);
  programs.claim(tuple(packet.from, 8, proto_udp), {.vport = 2, .slot = 2});
  EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_NOT_OWNER));
}

TEST_F(VportTxFlow, AnAddressThatTheHostLosesEndsItAtOnce) {
  for (const Packet& packet : every_kind()) {
    send_often(packet);
    programs.foreign(packet.from);
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_NOT_LOCAL));
    programs.local(packet.from);
  }
}

TEST_F(VportTxFlow, IsOfItsOwnHostEnd) {
  for (const Packet& packet : every_kind()) {
    send_often(packet);
    const Outcome outcome = programs.run("vport_tx", packet.bytes(), Netns::ifindex("host1"));
    EXPECT_TRUE(did(outcome, XDP_DROP, MSTACK_TX_DROP_NOT_OWNER, 2));
  }
}

TEST_F(VportTxFlow, IsOfItsOwnTuples) {
  send_often(udp4());
  Packet other_source = udp4();
  other_source.from_port = 9;
  EXPECT_TRUE(dropped(other_source.bytes(), MSTACK_TX_DROP_UNCLAIMED));
  Packet other_destination = udp4();
  other_destination.to = "198.51.100.77";
  EXPECT_TRUE(dropped(other_destination.bytes(), MSTACK_TX_DROP_NO_ROUTE));
}

TEST_F(VportTxFlow, ALongerPacketIsMeasuredAnew) {
  for (Packet packet : every_kind()) {
    send_often(packet);
    packet.payload = zeros(1501);
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_TOO_BIG));
  }
}

TEST_F(VportTxFlow, ATypeOfServiceHasItsOwnRoute) {
  Netns::ip("rule add tos 0x10 prohibit");
  const Packet packet = udp4();
  send_often(packet);
  EXPECT_TRUE(dropped(patch_ip4(packet.bytes(), l3_at + 1, hex("10")), MSTACK_TX_DROP_NO_ROUTE));
}

TEST_F(VportTxFlow, AnUplinkThatIsDetachedEndsItAtOnce) {
  send_often(udp4());
  const std::uint32_t ifindex = Netns::ifindex("up0");
  ASSERT_EQ(bpf_map_delete_elem(programs.map("uplinks"), &ifindex), 0);
  ASSERT_EQ(bpf_map_delete_elem(programs.map("uplink_info"), &ifindex), 0);
  const Outcome outcome = transmit_through(udp4().bytes());
  EXPECT_EQ(outcome.counted, (std::map<std::string, std::uint64_t>{{"TX_DROP_NOT_UPLINK", 1}}));
}

// Bounded by a deadline that only says when to give up.
TEST_F(VportTxFlow, ANewRouteIsTakenSoon) {
  Netns::ip("neigh add 192.0.2.98 lladdr 02:00:00:00:00:98 nud permanent dev up0");
  const Packet packet = udp4();
  send_often(packet);
  Netns::ip("route add " + std::string(peer4) + "/32 via 192.0.2.98");
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!sent(transmit(packet.bytes()), packet.bytes(), hex("02 00 00 00 00 98")) &&
         std::chrono::steady_clock::now() < give_up) {
  }
  EXPECT_TRUE(sent(transmit(packet.bytes()), packet.bytes(), hex("02 00 00 00 00 98")));
}

}  // namespace
}  // namespace bpf_test
