// SPDX-License-Identifier: BSD-2-Clause
// A vport sends from tuples that it owns, and from no other.
#include <string>

#include "tx_fixture.hpp"

namespace bpf_test {
namespace {

using VportTxOwner = VportTx;

TEST_F(VportTxOwner, SendsFromAnOwnTuple) {
  for (const Packet& packet : every_kind()) {
    EXPECT_TRUE(sent(transmit(packet.bytes()), packet.bytes())) << packet.from << " " << int{packet.protocol};
  }
}

TEST_F(VportTxOwner, SendsALiteralFrame) {
  const Bytes frame =
      hex("02 4d 53 01 00 01  02 4d 53 00 00 01  08 00"
          "45 00 00 1d 00 01 00 00 40 11 f6 6a  c0 00 02 01  c0 00 02 63"
          "00 07 12 34 00 09 00 00 61");
  const Outcome outcome = transmit(frame);
  EXPECT_TRUE(did(outcome, XDP_REDIRECT, MSTACK_TX_SENT, own_slot));
  EXPECT_EQ(outcome.frame, hex("02 00 00 00 00 99  02 00 00 00 00 10  08 00"
                               "45 00 00 1d 00 01 00 00 40 11 f6 6a  c0 00 02 01  c0 00 02 63"
                               "00 07 12 34 00 09 00 00 61"));
}

// Layer 2 of the frame is made up by the stack and has no say in anything.
TEST_F(VportTxOwner, NoMacOfTheStackIsBelieved) {
  for (const char* from : {"02 00 00 00 00 10", "02 00 00 00 00 99", "ff ff ff ff ff ff", "00 00 00 00 00 00"}) {
    for (const char* to : {"ff ff ff ff ff ff", "01 00 5e 00 00 01", "33 33 00 00 00 01", "02 00 00 00 00 10"}) {
      for (Packet packet : every_kind()) {
        packet.from_mac = hex(from);
        packet.to_mac = hex(to);
        EXPECT_TRUE(sent(transmit(packet.bytes()), packet.bytes())) << from << " > " << to;
      }
    }
  }
}

TEST_F(VportTxOwner, AnUnclaimedTupleIsRefused) {
  for (const Packet& packet : every_kind()) {
    Packet other = packet;
    for (const std::uint16_t port : {0, 6, 8, 0x0700, 65535}) {
      other.from_port = port;
      EXPECT_TRUE(dropped(other.bytes(), MSTACK_TX_DROP_UNCLAIMED)) << port;
    }
    other = packet;
    const bool six = packet.from.contains(':');
    for (const char* address : six ? std::vector{"2001:db8::2", "2001:db8::99", "fe80::1", "2001:db8:a::1"}
                                   : std::vector{"192.0.2.2", "192.0.2.99", "198.51.100.1", "203.0.113.1"}) {
      other.from = address;
      EXPECT_TRUE(dropped(other.bytes(), MSTACK_TX_DROP_UNCLAIMED)) << address;
    }
  }
}

// A claim is for one transport and one family.
TEST_F(VportTxOwner, TheOtherTransportOrFamilyIsRefused) {
  for (const char* address : {"192.0.2.1", "2001:db8::1"}) programs.unclaim(tuple(address, 7, proto_tcp));
  EXPECT_TRUE(dropped(tcp4().bytes(), MSTACK_TX_DROP_UNCLAIMED));
  EXPECT_TRUE(dropped(tcp6().bytes(), MSTACK_TX_DROP_UNCLAIMED));
  programs.unclaim(tuple("192.0.2.1", 7, proto_udp));
  EXPECT_TRUE(dropped(udp4().bytes(), MSTACK_TX_DROP_UNCLAIMED));
  EXPECT_TRUE(sent(transmit(udp6().bytes()), udp6().bytes()));
}

TEST_F(VportTxOwner, AnothersTupleIsRefused) {
  for (const Packet& packet : every_kind()) {
    programs.claim(tuple(packet.from, 7, packet.protocol), {.vport = 2, .slot = 2});
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_NOT_OWNER));
  }
}

// The same slot in a later life: the id of the vport is what counts, and is never used twice.
TEST_F(VportTxOwner, AClaimOfAnEarlierVportInTheSlotIsRefused) {
  programs.claim(tuple("192.0.2.1", 7, proto_udp), {.vport = 99, .slot = 1});
  EXPECT_TRUE(dropped(udp4().bytes(), MSTACK_TX_DROP_NOT_OWNER));
}

TEST_F(VportTxOwner, EveryQueueOfTheVportMaySend) {
  programs.add_host_end(Netns::ifindex("host1"), own_vport, 2);
  for (const Packet& packet : every_kind()) {
    const Outcome outcome = programs.run("vport_tx", packet.bytes(), Netns::ifindex("host1"));
    EXPECT_TRUE(did(outcome, XDP_REDIRECT, MSTACK_TX_SENT, 2));
  }
}

TEST_F(VportTxOwner, APendingOrSuspendedClaimIsNotOwned) {
  for (const std::uint32_t state : {MSTACK_CLAIM_PENDING, MSTACK_CLAIM_SUSPENDED}) {
    for (const Packet& packet : every_kind()) {
      programs.claim(tuple(packet.from, 7, packet.protocol), {.state = state});
      EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_UNCLAIMED));
    }
  }
}

// The host has lost the address after it was claimed: nothing may be sent in its name any more.
TEST_F(VportTxOwner, AnAddressThatTheHostHasLostIsRefused) {
  for (const std::uint8_t protocol : {proto_udp, proto_tcp}) {
    programs.claim(tuple("192.0.2.9", 7, protocol));
    programs.claim(tuple("2001:db8::9", 7, protocol));
  }
  for (Packet packet : every_kind()) {
    packet.from = packet.from.contains(':') ? "2001:db8::9" : "192.0.2.9";
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_NOT_LOCAL));
  }
}

// The first drop of a reason on a slot and CPU is told, then one in 4,096.
TEST_F(VportTxOwner, ADropIsSampled) {
  Packet packet = udp4();
  packet.from_port = 8;
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_UNCLAIMED));
  const std::vector<mstack_event> events = programs.events();
  ASSERT_GE(events.size(), 1U);
  EXPECT_LE(events.size(), 16U) << "one a CPU that the test ran on";
  for (const mstack_event& event : events) {
    EXPECT_EQ(event.type, MSTACK_EVENT_TX_DROP);
    EXPECT_EQ(event.vport, own_vport);
    EXPECT_EQ(event.slot, own_slot);
    EXPECT_EQ(event.verdict, MSTACK_TX_DROP_UNCLAIMED);
    EXPECT_TRUE(same(event.tuple, tuple("192.0.2.1", 8, proto_udp)));
  }
}

class VportTxWildcard : public VportTx {
 protected:
  VportTxWildcard() {
    for (const std::uint8_t protocol : {proto_udp, proto_tcp}) {
      for (const char* address : {"192.0.2.1", "2001:db8::1"}) programs.unclaim(tuple(address, 7, protocol));
      for (const char* any : {"0.0.0.0", "::"}) programs.claim(tuple(any, 7, protocol));
    }
  }
};

TEST_F(VportTxWildcard, SendsFromThisHostsAddressesAlone) {
  for (Packet packet : every_kind()) {
    EXPECT_TRUE(sent(transmit(packet.bytes()), packet.bytes()));
    const bool six = packet.from.contains(':');
    packet.from = six ? "2001:db8:a::1" : "203.0.113.1";  // this host's too, if of another interface
    EXPECT_TRUE(sent(transmit(packet.bytes()), packet.bytes()));
    for (const char* address : six ? std::vector{"2001:db8::2", "ff02::1", "::1", "fe80::1"}
                                   : std::vector{"192.0.2.2", "224.0.0.1", "127.0.0.1", "255.255.255.255"}) {
      packet.from = address;
      EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_NOT_LOCAL)) << address;
    }
  }
}

// The wildcard's key is the unspecified address: as a source it must not match as if it were claimed exactly.
TEST_F(VportTxWildcard, TheUnspecifiedAddressIsNoSource) {
  for (Packet packet : every_kind()) {
    packet.from = packet.from.contains(':') ? "::" : "0.0.0.0";
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_NOT_LOCAL)) << packet.from;
  }
}

TEST_F(VportTxWildcard, AnExactClaimOfAnotherVportComesFirst) {
  for (const Packet& packet : every_kind()) {
    programs.claim(tuple(packet.from, 7, packet.protocol), {.vport = 2, .slot = 2});
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_NOT_OWNER));
  }
}

TEST_F(VportTxWildcard, OfAnotherVportIsRefused) {
  for (const Packet& packet : every_kind()) {
    programs.claim(tuple(packet.from.contains(':') ? "::" : "0.0.0.0", 7, packet.protocol), {.vport = 2, .slot = 2});
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_NOT_OWNER));
  }
}

// An IPv4-mapped address in an IPv6 header shares its key with the IPv4 tuple, and is not it.
TEST_F(VportTxOwner, AMappedAddressOnTheWireIsRefused) {
  programs.claim(tuple("0.0.0.0", 7, proto_udp));
  for (const auto& [from, to] : {std::pair{"::ffff:192.0.2.1", "2001:db8::99"},
                                 {"::ffff:0.0.0.0", "2001:db8::99"},
                                 {"2001:db8::1", "::ffff:192.0.2.99"},
                                 {"::ffff:192.0.2.1", "::ffff:192.0.2.99"}}) {
    Packet packet = udp6();
    packet.from = from;
    packet.to = to;
    const Outcome outcome = transmit(packet.bytes());
    EXPECT_EQ(outcome.action, XDP_DROP) << from << " > " << to;
    EXPECT_EQ(outcome.counted.size(), 1U);
    EXPECT_EQ(outcome.counted_by_slot.at(own_slot), outcome.counted);
  }
}

TEST_F(VportTxOwner, AnInterfaceThatIsNoHostEndSendsNothing) {
  const Outcome outcome = programs.run("vport_tx", udp4().bytes(), Netns::ifindex("away0"));
  EXPECT_TRUE(did(outcome, XDP_DROP, MSTACK_TX_DROP_NO_VPORT));
}

}  // namespace
}  // namespace bpf_test
