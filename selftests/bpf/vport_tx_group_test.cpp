// SPDX-License-Identifier: BSD-2-Clause
// To many at once: multicast groups and broadcast addresses, from a source that is checked like any other.
#include <algorithm>
#include <string>

#include "icmp_packets.hpp"
#include "tx_fixture.hpp"

namespace bpf_test {
namespace {

struct Group {
  std::string_view address;
  std::string_view mac;
};
// The MACs of RFC 1112 and RFC 2464: of IPv4 23 bits, of IPv6 32.
constexpr Group groups4[] = {{"224.0.0.251", "01 00 5e 00 00 fb"},
                             {"239.255.1.2", "01 00 5e 7f 01 02"},
                             {"239.129.2.3", "01 00 5e 01 02 03"},
                             {"255.255.255.255", "ff ff ff ff ff ff"}};
constexpr Group groups6[] = {{"ff02::fb", "33 33 00 00 00 fb"},
                             {"ff05::1:3", "33 33 00 01 00 03"},
                             {"ff0e::8123:4567", "33 33 81 23 45 67"},
                             {"ff3e:30:2001:db8::1", "33 33 00 00 00 01"}};

class VportTxGroup : public VportTx {
 protected:
  VportTxGroup() {
    for (const char* address : {"192.0.2.1", "2001:db8::1"}) programs.local(address, on("up0"));
    for (const char* address : {"203.0.113.1", "2001:db8:a::1"}) programs.local(address, on("away0"));
    programs.local("192.0.2.255", on("up0", true));
    programs.local("203.0.113.255", on("away0", true));
  }

  static mstack_local on(const std::string& device, bool broadcast = false) {
    mstack_local where{};
    where.ifindex = Netns::ifindex(device);
    std::ranges::copy(Netns::mac(device), where.mac);
    where.broadcast = broadcast ? 1 : 0;
    return where;
  }

  static std::vector<Packet> datagrams() {
    std::vector<Packet> all;
    for (Packet packet : {udp4(), udp6()}) {
      for (const std::uint8_t protocol : {proto_udp, proto_udplite}) {
        packet.protocol = protocol;
        all.push_back(packet);
      }
    }
    return all;
  }
  static std::vector<Group> groups_of(const Packet& packet) {
    if (is_six(packet)) return {std::begin(groups6), std::end(groups6)};
    return {std::begin(groups4), std::end(groups4)};
  }

  Outcome slow(const Bytes& frame) { return programs.run("vport_tx_slow", frame, host_end); }
};

TEST_F(VportTxGroup, LeaveByTheDeviceOfTheSource) {
  for (Packet packet : datagrams()) {
    for (const Group& group : groups_of(packet)) {
      packet.to = group.address;
      EXPECT_TRUE(sent(transmit(packet.bytes()), packet.bytes(), hex(group.mac))) << group.address;
    }
  }
}

TEST_F(VportTxGroup, NeedNoRoute) {
  Netns::ip("route add unreachable 224.0.0.0/4\nroute add unreachable ff00::/8 metric 1");
  for (Packet packet : datagrams()) {
    const Group group = groups_of(packet).front();
    packet.to = group.address;
    EXPECT_TRUE(sent(transmit(packet.bytes()), packet.bytes(), hex(group.mac)));
  }
}

TEST_F(VportTxGroup, ASubnetsBroadcastLeavesByTheSubnetsDevice) {
  programs.claim(tuple("203.0.113.1", 7, proto_udp));
  for (const char* from : {"192.0.2.1", "203.0.113.1"}) {
    Packet packet = udp4();
    packet.from = from;
    packet.to = "192.0.2.255";
    EXPECT_TRUE(sent(transmit(packet.bytes()), packet.bytes(), hex("ff ff ff ff ff ff"))) << from;
  }
}

TEST_F(VportTxGroup, OnlyDatagramsAreForMany) {
  for (Packet packet : every_kind()) {
    if (packet.protocol == proto_udp) continue;
    for (const Group& group : groups_of(packet)) {
      packet.to = group.address;
      EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_DESTINATION)) << group.address;
      EXPECT_TRUE(did(slow(packet.bytes()), TC_ACT_SHOT, MSTACK_TX_DROP_DESTINATION, own_slot)) << group.address;
    }
  }
  Packet packet = tcp4();
  packet.to = "192.0.2.255";
  EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_DESTINATION));
  EXPECT_TRUE(did(slow(packet.bytes()), TC_ACT_SHOT, MSTACK_TX_DROP_DESTINATION, own_slot));
}

TEST_F(VportTxGroup, TheSourceIsCheckedAsEver) {
  for (const Packet& packet : datagrams()) {
    for (const Group& group : groups_of(packet)) {
      Packet spoofed = packet;
      spoofed.to = group.address;
      spoofed.from_port = 8;
      EXPECT_TRUE(dropped(spoofed.bytes(), MSTACK_TX_DROP_UNCLAIMED));
      EXPECT_TRUE(did(slow(spoofed.bytes()), TC_ACT_SHOT, MSTACK_TX_DROP_UNCLAIMED, own_slot));
      programs.claim(tuple(packet.from, 9, packet.protocol), {.vport = 2, .slot = 2});
      spoofed.from_port = 9;
      EXPECT_TRUE(dropped(spoofed.bytes(), MSTACK_TX_DROP_NOT_OWNER));
      // Who claimed the group, or a subnet's broadcast address, receives by it; nobody sends from it.
      programs.claim(tuple(group.address, 7, packet.protocol));
      Packet from_group = packet;
      from_group.from = group.address;
      EXPECT_TRUE(dropped(from_group.bytes(), MSTACK_TX_DROP_NOT_LOCAL)) << group.address;
    }
  }
  programs.claim(tuple("192.0.2.255", 7, proto_udp));
  Packet packet = udp4();
  packet.from = "192.0.2.255";
  EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_NOT_LOCAL));
}

TEST_F(VportTxGroup, NotByWhatIsNoUplink) {
  for (Packet packet : datagrams()) {
    packet.from = is_six(packet) ? "2001:db8:a::1" : "203.0.113.1";
    programs.claim(tuple(packet.from, 7, packet.protocol));
    packet.to = groups_of(packet).front().address;
    const Outcome outcome = transmit_through(packet.bytes());
    EXPECT_TRUE(did(outcome, TC_ACT_SHOT, MSTACK_TX_DROP_NOT_UPLINK, own_slot));
  }
  Packet packet = udp4();
  packet.to = "203.0.113.255";
  EXPECT_TRUE(did(transmit_through(packet.bytes()), TC_ACT_SHOT, MSTACK_TX_DROP_NOT_UPLINK, own_slot));
}

TEST_F(VportTxGroup, AnUplinkThatTakesNoXdpFramesIsServed) {
  programs.add_uplink("away0", false);
  for (Packet packet : datagrams()) {
    packet.from = is_six(packet) ? "2001:db8:a::1" : "203.0.113.1";
    programs.claim(tuple(packet.from, 7, packet.protocol));
    for (const Group& group : groups_of(packet)) {
      packet.to = group.address;
      const Bytes frame = packet.bytes();
      const Outcome outcome = transmit_through(frame);
      EXPECT_TRUE(did(outcome, TC_ACT_REDIRECT, MSTACK_TX_SENT_SLOW, own_slot)) << group.address;
      EXPECT_EQ(outcome.frame, hex(group.mac) + Netns::mac("away0") + slice(frame, 12, frame.size() - 12));
      EXPECT_EQ(outcome.tx_bytes, frame.size());
    }
  }
}

TEST_F(VportTxGroup, LargerThanTheDevicesMtu) {
  for (Packet packet : datagrams()) {
    packet.to = groups_of(packet).front().address;
    const std::size_t headers = packet.bytes().size() - 14;
    packet.padding = zeros(1500 - headers);
    EXPECT_TRUE(sent(transmit(packet.bytes()), packet.bytes(), hex(groups_of(packet).front().mac)));
    packet.padding = zeros(1501 - headers);
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_TOO_BIG));
    EXPECT_TRUE(did(slow(packet.bytes()), TC_ACT_SHOT, MSTACK_TX_DROP_TOO_BIG, own_slot));
  }
}

}  // namespace
}  // namespace bpf_test
