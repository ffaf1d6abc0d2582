// SPDX-License-Identifier: BSD-2-Clause
// What goes by a VLAN on the uplink. Its devices are stand-ins, since a kernel may have no real ones:
//
//   vlan0   of VLAN 100, 802.1Q: 203.0.113.1/26, 2001:db8:b::1/64
//   vlan1   of VLAN 300 in VLAN 200, 802.1Q in 802.1ad: 203.0.113.65/26, 2001:db8:c::1/64
#include <string>

#include "tx_fixture.hpp"

namespace bpf_test {
namespace {

struct Vlan {
  const char* device;
  const char* mac;
  const char* tags;
  std::string_view own4, own6, peer4, peer6;
};
constexpr Vlan all_vlans[] = {
    {"vlan0", "02:00:00:00:00:30", "81 00 00 64", "203.0.113.1", "2001:db8:b::1", "203.0.113.9", "2001:db8:b::9"},
    {"vlan1", "02:00:00:00:00:31", "88 a8 00 c8 81 00 01 2c", "203.0.113.65", "2001:db8:c::1", "203.0.113.73",
     "2001:db8:c::9"}};

class VportTxVlan : public VportTx {
 protected:
  VportTxVlan() {
    Netns::ip("addr del 203.0.113.1/24 dev away0");
    for (const Vlan& vlan : all_vlans) {
      const std::string dev = vlan.device;
      Netns::ip("link add " + dev + " address " + vlan.mac + " type veth peer name far-" + dev + "\nlink set " + dev +
                " addrgenmode none up\nlink set far-" + dev + " addrgenmode none up\naddr add " +
                std::string(vlan.own4) + "/26 dev " + dev + "\naddr add " + std::string(vlan.own6) + "/64 dev " + dev +
                " nodad\nneigh add " + std::string(vlan.peer4) + " lladdr 02:00:00:00:00:99 nud permanent dev " + dev +
                "\nneigh add " + std::string(vlan.peer6) + " lladdr 02:00:00:00:00:99 nud permanent dev " + dev);
      programs.local(vlan.own4);
      programs.local(vlan.own6);
      for (const std::uint8_t protocol : every_protocol) {
        programs.claim(tuple(vlan.own4, 7, protocol));
        programs.claim(tuple(vlan.own6, 7, protocol));
      }
      programs.add_vlan(Netns::ifindex(dev), Netns::ifindex("up0"), hex(vlan.tags));
    }
  }

  static std::vector<Packet> packets_of(const Vlan& vlan) {
    std::vector<Packet> packets = every_kind();
    for (Packet& packet : packets) {
      const bool six = packet.from.contains(':');
      packet.from = six ? vlan.own6 : vlan.own4;
      packet.to = six ? vlan.peer6 : vlan.peer4;
    }
    return packets;
  }
  static Bytes sent_by(const Vlan& vlan, const Bytes& frame) {
    return tagged(hex(vlan.tags), hex("02 00 00 00 00 99") + hex(vlan.mac) + slice(frame, 12, frame.size() - 12));
  }
  testing::AssertionResult sent_tagged(const Vlan& vlan, const Bytes& frame) {
    const Outcome outcome = transmit(frame);
    if (outcome.frame != sent_by(vlan, frame)) return testing::AssertionFailure() << "not the frame with its tags";
    if (outcome.tx_bytes != frame.size()) return testing::AssertionFailure() << outcome.tx_bytes << " bytes counted";
    return did(outcome, XDP_REDIRECT, MSTACK_TX_SENT, own_slot);
  }
  testing::AssertionResult left_to_kernel(const Bytes& frame) {
    const Outcome xdp = transmit(frame);
    if (xdp.action != XDP_PASS) return testing::AssertionFailure() << "XDP returned " << xdp.action;
    if (slice(xdp.frame, 12, xdp.frame.size() - 12) != slice(frame, 12, frame.size() - 12))
      return testing::AssertionFailure() << "XDP has changed it";
    return did(transmit_through(frame), TC_ACT_REDIRECT, MSTACK_TX_SENT_SLOW, own_slot);
  }
};

// Several times each: most of them find the flow known, and all must look alike.
TEST_F(VportTxVlan, TheTagsAreInFrontOfThePacket) {
  for (const Vlan& vlan : all_vlans) {
    for (const Packet& packet : packets_of(vlan)) {
      for (int i = 0; i < 20; ++i) EXPECT_TRUE(sent_tagged(vlan, packet.bytes())) << vlan.device;
    }
  }
  for (const Packet& packet : every_kind()) EXPECT_TRUE(sent(transmit(packet.bytes()), packet.bytes()));
}

TEST_F(VportTxVlan, ByARouteWithAGateway) {
  Netns::ip("route add 198.51.100.0/24 via 203.0.113.9\nroute add 2001:db8:f::/64 via 2001:db8:b::9");
  for (Packet packet : packets_of(all_vlans[0])) {
    packet.to = packet.from.contains(':') ? "2001:db8:f::1" : "198.51.100.1";
    EXPECT_TRUE(sent_tagged(all_vlans[0], packet.bytes()));
  }
}

TEST_F(VportTxVlan, TheShortestAndTheLongest) {
  for (const Vlan& vlan : all_vlans) {
    Packet packet = packets_of(vlan)[0];
    packet.payload = {};
    EXPECT_TRUE(sent_tagged(vlan, packet.bytes()));
    // With two tags the longest would not pass the uplink's devmap: the kernel's own VLAN devices send them.
    const std::size_t longest = 1500 - 28;
    packet.payload = zeros(vlan.device == all_vlans[0].device ? longest : longest - 4);
    for (int i = 0; i < 20; ++i) EXPECT_TRUE(sent_tagged(vlan, packet.bytes())) << vlan.device;
    packet.payload = zeros(longest);
    for (int i = 0; i < 20; ++i) {
      if (vlan.device == all_vlans[0].device)
        EXPECT_TRUE(sent_tagged(vlan, packet.bytes()));
      else
        EXPECT_TRUE(left_to_kernel(packet.bytes()));
    }
    packet.payload = zeros(longest + 1);
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_TOO_BIG));
  }
}

TEST_F(VportTxVlan, TheMtuOfTheVlanDeviceCounts) {
  Netns::ip("link set vlan0 mtu 1300");
  Packet packet = packets_of(all_vlans[0])[0];
  packet.payload = zeros(1300 - 28);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(sent_tagged(all_vlans[0], packet.bytes()));
  packet.payload = zeros(1300 - 27);
  EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_TOO_BIG));
}

TEST_F(VportTxVlan, UnknownNeighboursAreTheKernels) {
  for (Packet packet : packets_of(all_vlans[0])) {
    packet.to = packet.from.contains(':') ? "2001:db8:b::77" : "203.0.113.7";
    EXPECT_TRUE(left_to_kernel(packet.bytes()));
  }
}

TEST_F(VportTxVlan, AnUplinkThatTakesNoXdpFramesIsServed) {
  Netns::ip("link add up1 type veth peer name wire1\nlink set up1 up");
  programs.add_uplink("up1", false);
  for (const Vlan& vlan : all_vlans) {
    programs.add_vlan(Netns::ifindex(vlan.device), Netns::ifindex("up1"), hex(vlan.tags));
    for (const Packet& packet : packets_of(vlan)) EXPECT_TRUE(left_to_kernel(packet.bytes()));
  }
}

// A VLAN device that is none of an uplink's (down, in a bridge, of another namespace) is in no map.
TEST_F(VportTxVlan, ADeviceOfNoUplinkIsNoWayOut) {
  for (const Vlan& vlan : all_vlans) {
    const Packet packet = packets_of(vlan)[0];
    EXPECT_TRUE(sent_tagged(vlan, packet.bytes()));
    programs.add_vlan(Netns::ifindex(vlan.device), Netns::ifindex("away0"), hex(vlan.tags));
    // Another flow: what is known of one may stand until the next tick.
    Packet other = packet;
    other.to_port = 40001;
    EXPECT_TRUE(did(transmit_through(other.bytes()), TC_ACT_SHOT, MSTACK_TX_DROP_NOT_UPLINK, own_slot));
    programs.remove_vlan(Netns::ifindex("away0"), hex(vlan.tags));
    other.to_port = 40002;
    EXPECT_TRUE(did(transmit_through(other.bytes()), TC_ACT_SHOT, MSTACK_TX_DROP_NOT_UPLINK, own_slot));
  }
}

TEST_F(VportTxVlan, WhoMaySendIsCheckedAsEver) {
  for (const Vlan& vlan : all_vlans) {
    Packet packet = packets_of(vlan)[0];
    for (int i = 0; i < 20; ++i) EXPECT_TRUE(sent_tagged(vlan, packet.bytes()));
    programs.unclaim(tuple(vlan.own4, 7, proto_udp));
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_UNCLAIMED));
    packet.from_port = 8;
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_UNCLAIMED));
  }
}

// The attack: a stack that names a VLAN itself, its own included, or another behind the host's tag.
TEST_F(VportTxVlan, AStackSendsNoTags) {
  for (const char* tags : {"81 00 00 64", "88 a8 00 64", "81 00 00 65", "81 00 00 00", "88 a8 00 c8 81 00 01 2c",
                           "81 00 00 64 81 00 00 64 81 00 00 64"}) {
    for (const Vlan& vlan : all_vlans) {
      for (const Packet& packet : packets_of(vlan)) {
        const Bytes frame = tagged(hex(tags), packet.bytes());
        EXPECT_TRUE(dropped(frame, MSTACK_TX_DROP_NOT_IP)) << tags;
        EXPECT_TRUE(
            did(programs.run("vport_tx_slow", frame, host_end), TC_ACT_SHOT, MSTACK_TX_DROP_MALFORMED, own_slot))
            << tags;
      }
    }
  }
}

}  // namespace
}  // namespace bpf_test
