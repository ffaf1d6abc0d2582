// SPDX-License-Identifier: BSD-2-Clause
// What XDP cannot finish: vport_tx leaves it to vport_tx_slow, and the two of them count it once.
#include <string>

#include "tx_fixture.hpp"

namespace bpf_test {
namespace {

using Counts = std::map<std::string, std::uint64_t>;

class VportTxSlow : public VportTx {
 protected:
  Outcome slow(const Bytes& frame) { return programs.run("vport_tx_slow", frame, host_end); }

  testing::AssertionResult counted_once(const Outcome& outcome, int action, mstack_verdict verdict,
                                        const Bytes& frame) {
    const auto counted = did(outcome, static_cast<std::uint32_t>(action), verdict, own_slot);
    if (!counted) return counted;
    if (outcome.tx_bytes != frame.size())
      return testing::AssertionFailure() << outcome.tx_bytes << " bytes were counted";
    return testing::AssertionSuccess();
  }
};

TEST_F(VportTxSlow, AnUnknownNeighbourIsLeftToTheKernel) {
  for (Packet packet : every_kind()) {
    packet.to = packet.from.contains(':') ? "2001:db8::77" : "192.0.2.77";
    const Bytes frame = packet.bytes();
    const Outcome xdp = transmit(frame);
    EXPECT_EQ(xdp.action, XDP_PASS);
    EXPECT_EQ(slice(xdp.frame, 12, frame.size() - 12), slice(frame, 12, frame.size() - 12));
    EXPECT_TRUE(counted_once(transmit_through(frame), TC_ACT_REDIRECT, MSTACK_TX_SENT_SLOW, frame));
  }
}

TEST_F(VportTxSlow, AnUnknownGatewayIsLeftToTheKernel) {
  Netns::ip("route add default via 192.0.2.254\nroute add default via 2001:db8::fe");
  for (Packet packet : every_kind()) {
    packet.to = packet.from.contains(':') ? "2001:db8:f::1" : "198.51.100.1";
    EXPECT_TRUE(counted_once(transmit_through(packet.bytes()), TC_ACT_REDIRECT, MSTACK_TX_SENT_SLOW, packet.bytes()));
  }
}

// A driver without ndo_xdp_xmit: it is in uplink_info, and not in uplinks.
TEST_F(VportTxSlow, AnUplinkThatTakesNoXdpFramesIsServed) {
  Netns::ip(
      "neigh add 203.0.113.98 lladdr 02:00:00:00:00:98 nud permanent dev away0\n"
      "neigh add 2001:db8:a::98 lladdr 02:00:00:00:00:98 nud permanent dev away0");
  programs.add_uplink("away0", false);
  for (Packet packet : every_kind()) {
    packet.to = packet.from.contains(':') ? "2001:db8:a::98" : "203.0.113.98";
    EXPECT_EQ(transmit(packet.bytes()).action, XDP_PASS);
    EXPECT_TRUE(counted_once(transmit_through(packet.bytes()), TC_ACT_REDIRECT, MSTACK_TX_SENT_SLOW, packet.bytes()));
  }
}

TEST_F(VportTxSlow, ThisHostsOwnStackGetsWhatIsForIt) {
  for (Packet packet : every_kind()) {
    for (const char* to : packet.from.contains(':') ? std::vector{"2001:db8::1", "2001:db8:a::1"}
                                                    : std::vector{"192.0.2.1", "203.0.113.1"}) {
      packet.to = to;
      EXPECT_EQ(transmit(packet.bytes()).action, XDP_PASS) << to;
      const Outcome outcome = transmit_through(packet.bytes());
      EXPECT_EQ(outcome.counted, (Counts{{"TX_TO_HOST", 1}})) << to;
      EXPECT_EQ(outcome.counted_by_slot.at(own_slot), outcome.counted);
      EXPECT_EQ(outcome.tx_bytes, packet.bytes().size());
      // On to the next filter or the stack; either way it is not dropped and not redirected.
      EXPECT_TRUE(outcome.action == TC_ACT_OK || outcome.action == static_cast<std::uint32_t>(TC_ACT_UNSPEC) ||
                  outcome.action == TC_ACT_PIPE)
          << outcome.action;
      // The kernel takes a frame only by the MAC of the interface it came in by.
      EXPECT_EQ(slice(outcome.frame, 0, 6), hex("02 4d 53 01 00 01"));
    }
  }
}

// Whatever MAC the stack wrote: the kernel would drop a frame for another, and take one for everybody.
TEST_F(VportTxSlow, ThisHostsOwnStackGetsItWhateverTheMac) {
  for (const char* mac : {"ff ff ff ff ff ff", "01 00 5e 00 00 01", "02 00 00 00 00 10"}) {
    Packet packet = udp4();
    packet.to = "192.0.2.1";
    packet.to_mac = hex(mac);
    const Outcome outcome = transmit_through(packet.bytes());
    EXPECT_EQ(outcome.counted, (Counts{{"TX_TO_HOST", 1}})) << mac;
    EXPECT_EQ(slice(outcome.frame, 0, 6), hex("02 4d 53 01 00 01")) << mac;
  }
}

// An address of the host that mstackd has not heard of yet: not handed on. A route makes it the host's, since the
// kernel takes its time to do so with an IPv6 address.
TEST_F(VportTxSlow, AHostAddressThatIsNotKnownIsNotServed) {
  Netns::ip(
      "route add local 192.0.2.5/32 dev up0 table local\n"
      "route add local 2001:db8::5/128 dev up0 table local");
  for (Packet packet : every_kind()) {
    packet.to = packet.from.contains(':') ? "2001:db8::5" : "192.0.2.5";
    const Outcome outcome = transmit_through(packet.bytes());
    EXPECT_EQ(outcome.counted.size(), 1U);
    EXPECT_FALSE(outcome.counted.contains("TX_TO_HOST"));
    EXPECT_FALSE(outcome.counted.contains("TX_SENT_SLOW"));
  }
}

// It stands alone too: a frame that XDP has not seen is judged all the same.
TEST_F(VportTxSlow, JudgesByItself) {
  const auto refuses = [&](const Bytes& frame, mstack_verdict verdict) {
    const Outcome outcome = slow(frame);
    EXPECT_TRUE(did(outcome, TC_ACT_SHOT, verdict, own_slot));
    EXPECT_EQ(outcome.tx_bytes, 0U);
  };
  for (const Packet& packet : every_kind()) {
    Packet other = packet;
    other.from_port = 8;
    refuses(other.bytes(), MSTACK_TX_DROP_UNCLAIMED);
    refuses(cut(packet.bytes(), packet.bytes().size() - 1), MSTACK_TX_DROP_MALFORMED);
    programs.claim(tuple(packet.from, 9, packet.protocol), {.vport = 2, .slot = 2});
    other.from_port = 9;
    refuses(other.bytes(), MSTACK_TX_DROP_NOT_OWNER);
    other = packet;
    other.to = packet.from.contains(':') ? "2001:db8:f::1" : "198.51.100.1";
    refuses(other.bytes(), MSTACK_TX_DROP_NO_ROUTE);
    other.to = packet.from.contains(':') ? "2001:db8:a::99" : "203.0.113.99";
    refuses(other.bytes(), MSTACK_TX_DROP_NOT_UPLINK);
    other.to = packet.from.contains(':') ? "ff01::1" : "240.0.0.1";
    refuses(other.bytes(), MSTACK_TX_DROP_DESTINATION);
  }
}

TEST_F(VportTxSlow, AnInterfaceThatIsNoHostEndSendsNothing) {
  const Outcome outcome = programs.run("vport_tx_slow", udp4().bytes(), Netns::ifindex("away0"));
  EXPECT_TRUE(did(outcome, TC_ACT_SHOT, MSTACK_TX_DROP_NO_VPORT));
}

}  // namespace
}  // namespace bpf_test
