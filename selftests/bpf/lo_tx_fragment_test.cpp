// SPDX-License-Identifier: BSD-2-Clause
// Fragments from the wire and those of this host to itself know nothing of each other: any user makes the latter.
#include <linux/pkt_cls.h>

#include "fragment_packets.hpp"
#include "uplink_rx_fixture.hpp"

namespace bpf_test {
namespace {

class LoTxFragment : public testing::Test {
 protected:
  LoTxFragment() {
    programs.local("192.0.2.1");
    programs.local("2001:db8::1");
    programs.add_slots(1, 4);
    for (const std::uint8_t protocol : {proto_udp, proto_tcp})
      for (const char* address : {"192.0.2.1", "2001:db8::1"}) programs.claim(tuple(address, 7, protocol));
  }
  testing::AssertionResult steered_from_wire(const Bytes& frame) {
    return did(programs.run("uplink_rx", frame), XDP_REDIRECT, MSTACK_RX_STEERED);
  }
  testing::AssertionResult steered_from_host(const Bytes& frame) {
    return did(programs.run("lo_tx", frame), TC_ACT_REDIRECT, MSTACK_RX_STEERED);
  }
  testing::AssertionResult passed_from_wire(const Bytes& frame, mstack_verdict reason = MSTACK_RX_PASS_FRAGMENT) {
    return did(programs.run("uplink_rx", frame), XDP_PASS, reason);
  }
  testing::AssertionResult passed_from_host(const Bytes& frame) {
    return did(programs.run("lo_tx", frame), static_cast<std::uint32_t>(TC_ACT_UNSPEC), MSTACK_LO_PASS);
  }

  Netns netns;
  Programs programs{netns.cookie(), {"uplink_rx", "lo_tx"}};
};

TEST_F(LoTxFragment, FollowTheFirstOfTheSameWay) {
  std::uint32_t id = 0x1000;
  for (const Packet& packet : every_kind()) {
    EXPECT_TRUE(steered_from_wire(first_of(packet, ++id)));
    EXPECT_TRUE(passed_from_host(later_of(packet, id)));
    EXPECT_TRUE(steered_from_wire(later_of(packet, id)));
    EXPECT_TRUE(steered_from_host(first_of(packet, ++id)));
    EXPECT_TRUE(passed_from_wire(later_of(packet, id)));
    EXPECT_TRUE(steered_from_host(later_of(packet, id)));
  }
}

TEST_F(LoTxFragment, AreNotEndedByTheOtherWay) {
  for (const Packet& packet : every_kind()) {
    Packet kernels = packet;
    kernels.to_port = 8;
    EXPECT_TRUE(steered_from_wire(first_of(packet)));
    EXPECT_TRUE(passed_from_host(first_of(kernels)));
    EXPECT_TRUE(steered_from_wire(later_of(packet)));
    EXPECT_TRUE(steered_from_host(first_of(packet)));
    EXPECT_TRUE(passed_from_wire(first_of(kernels), MSTACK_RX_PASS_UNCLAIMED));
    EXPECT_TRUE(steered_from_host(later_of(packet)));
  }
}

// A user who owns a claim, or does not, pushes nothing of the wire's out.
TEST_F(LoTxFragment, AFloodCostsTheWireNothing) {
  constexpr std::uint32_t datagrams = 64;
  for (std::uint32_t id = 0; id < datagrams; ++id) EXPECT_TRUE(steered_from_wire(first_of(ip6(proto_udp), id)));
  // In the wire's 16,384 places these would push out 20 of the 64; an emulated machine sends them before any has
  // expired.
  for (std::uint32_t id = 0; id < 6000; ++id)
    ASSERT_EQ(programs.run("lo_tx", first_of(ip6(proto_udp), 0x10000 + id)).action,
              static_cast<std::uint32_t>(TC_ACT_REDIRECT));
  std::uint32_t lost = 0;
  for (std::uint32_t id = 0; id < datagrams; ++id) lost += !steered_from_wire(later_of(ip6(proto_udp), id));
  // Those of the wire's that fell on a place of one another.
  EXPECT_LE(lost, 4U);
}

}  // namespace
}  // namespace bpf_test
