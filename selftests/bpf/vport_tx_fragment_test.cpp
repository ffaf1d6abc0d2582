// SPDX-License-Identifier: BSD-2-Clause
// A fragment leaves if it is the first of a datagram and has a source of this vport's, or if it follows one that left.
#include "fragment_packets.hpp"
#include "tx_fixture.hpp"

namespace bpf_test {
namespace {

class VportTxFragment : public VportTx {
 protected:
  testing::AssertionResult leaves(const Bytes& frame) { return sent(transmit(frame), frame); }
  testing::AssertionResult slow(const Bytes& frame) {
    Outcome outcome = transmit_through(frame);
    return did(outcome, TC_ACT_REDIRECT, MSTACK_TX_SENT_SLOW, own_slot);
  }
};

// As it is on the wire, with no help: 192.0.2.1:7 sends 3,000 bytes of UDP to 192.0.2.99:40000.
TEST_F(VportTxFragment, LiteralIpv4) {
  const Bytes first =
      hex("02 4d 53 01 00 01 02 4d 53 00 00 01 08 00"
          "45 00 00 2c be ef 20 00 40 11 17 6d c0 00 02 01 c0 00 02 63"
          "00 07 9c 40 0b b8 12 34 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f");
  const Bytes last =
      hex("02 4d 53 01 00 01 02 4d 53 00 00 01 08 00"
          "45 00 00 17 be ef 00 03 40 11 37 7f c0 00 02 01 c0 00 02 63"
          "10 11 12");
  EXPECT_TRUE(dropped(last, MSTACK_TX_DROP_FRAGMENT));
  EXPECT_TRUE(leaves(first));
  EXPECT_TRUE(leaves(last));
}

TEST_F(VportTxFragment, LiteralIpv6) {
  const Bytes first =
      hex("02 4d 53 01 00 01 02 4d 53 00 00 01 86 dd"
          "60 00 00 00 00 20 2c 40 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01"
          "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 99"
          "11 00 00 01 de ad be ef"
          "00 07 9c 40 0b b8 12 34 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f");
  const Bytes last =
      hex("02 4d 53 01 00 01 02 4d 53 00 00 01 86 dd"
          "60 00 00 00 00 0b 2c 40 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01"
          "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 99"
          "11 00 00 18 de ad be ef 10 11 12");
  EXPECT_TRUE(dropped(last, MSTACK_TX_DROP_FRAGMENT));
  EXPECT_TRUE(leaves(first));
  EXPECT_TRUE(leaves(last));
}

TEST_F(VportTxFragment, LaterOnesFollowTheFirstAlone) {
  std::uint32_t id = 0x1000;
  for (const Packet& packet : every_kind()) {
    id += 2;
    EXPECT_TRUE(dropped(later_of(packet, id), MSTACK_TX_DROP_FRAGMENT));
    EXPECT_TRUE(leaves(first_of(packet, id)));
    EXPECT_TRUE(leaves(later_of(packet, id)));
    EXPECT_TRUE(leaves(last_of(packet, id)));
    const bool six = packet.from.find(':') != std::string_view::npos;
    EXPECT_TRUE(dropped(later_of(packet, id + 1), MSTACK_TX_DROP_FRAGMENT)) << "id";
    Packet other = packet;
    other.from = six ? "2001:db8:a::1" : "203.0.113.1";
    EXPECT_TRUE(dropped(later_of(other, id), MSTACK_TX_DROP_FRAGMENT)) << "source";
    other = packet;
    other.to = six ? "2001:db8::98" : "192.0.2.98";
    EXPECT_TRUE(dropped(later_of(other, id), MSTACK_TX_DROP_FRAGMENT)) << "destination";
  }
  Packet other = udp4();
  EXPECT_TRUE(leaves(first_of(other)));
  other.protocol = proto_tcp;
  EXPECT_TRUE(dropped(later_of(other, 0x77), MSTACK_TX_DROP_FRAGMENT)) << "protocol";
}

TEST_F(VportTxFragment, AFirstNeedsASourceOfItsOwn) {
  for (Packet packet : every_kind()) {
    packet.from_port = 8;
    EXPECT_TRUE(dropped(first_of(packet), MSTACK_TX_DROP_UNCLAIMED));
    EXPECT_TRUE(dropped(later_of(packet), MSTACK_TX_DROP_FRAGMENT));
    programs.claim(tuple(packet.from, 8, packet.protocol), {.vport = 2, .slot = 2});
    EXPECT_TRUE(dropped(first_of(packet), MSTACK_TX_DROP_NOT_OWNER));
    EXPECT_TRUE(dropped(later_of(packet), MSTACK_TX_DROP_FRAGMENT));
    programs.unclaim(tuple(packet.from, 8, packet.protocol));
  }
}

// One first that is its own does not open the way for another that is not.
TEST_F(VportTxFragment, ASecondFirstIsCheckedAsTheFirst) {
  for (const Packet& packet : every_kind()) {
    Packet spoofed = packet;
    spoofed.from_port = 53;
    EXPECT_TRUE(leaves(first_of(packet)));
    EXPECT_TRUE(dropped(first_of(spoofed), MSTACK_TX_DROP_UNCLAIMED));
    EXPECT_TRUE(dropped(later_of(packet), MSTACK_TX_DROP_FRAGMENT)) << "the newest first was refused";
    EXPECT_TRUE(leaves(first_of(packet)));
    EXPECT_TRUE(dropped(fragment_of(packet, slice(head_of(packet), 0, 4) + zeros(0), {}), MSTACK_TX_DROP_MALFORMED));
    EXPECT_TRUE(dropped(later_of(packet), MSTACK_TX_DROP_FRAGMENT));
  }
}

TEST_F(VportTxFragment, OfAnotherVportFollowsNothing) {
  const std::uint32_t other_end = Netns::ifindex("host1");
  for (const Packet& packet : every_kind()) {
    EXPECT_TRUE(leaves(first_of(packet)));
    const Outcome stolen = programs.run("vport_tx", later_of(packet), other_end);
    EXPECT_TRUE(did(stolen, XDP_DROP, MSTACK_TX_DROP_FRAGMENT, 2));
    // And cannot take the place away.
    EXPECT_TRUE(did(programs.run("vport_tx", first_of(packet), other_end), XDP_DROP, MSTACK_TX_DROP_NOT_OWNER, 2));
    EXPECT_TRUE(leaves(later_of(packet)));
  }
}

// A second queue of the vport sends what the first began.
TEST_F(VportTxFragment, ByAnyQueueOfTheVport) {
  programs.add_host_end(Netns::ifindex("host1"), own_vport, 2);
  for (const Packet& packet : every_kind()) {
    EXPECT_TRUE(leaves(first_of(packet)));
    const Outcome outcome = programs.run("vport_tx", later_of(packet), Netns::ifindex("host1"));
    EXPECT_TRUE(did(outcome, XDP_REDIRECT, MSTACK_TX_SENT, 2));
  }
}

TEST_F(VportTxFragment, NoEntryOutlivesItsClaim) {
  for (const Packet& packet : every_kind()) {
    const mstack_tuple owned = tuple(packet.from, 7, packet.protocol);
    EXPECT_TRUE(leaves(first_of(packet)));
    programs.unclaim(owned);
    EXPECT_TRUE(dropped(later_of(packet), MSTACK_TX_DROP_UNCLAIMED));
    programs.claim(owned, {.vport = 1, .slot = 1, .cookie = 0xbeef});
    EXPECT_TRUE(dropped(later_of(packet), MSTACK_TX_DROP_FRAGMENT)) << "another socket";
    programs.claim(owned, {.vport = 2, .slot = 2});
    EXPECT_TRUE(dropped(later_of(packet), MSTACK_TX_DROP_NOT_OWNER)) << "another vport";
    programs.claim(owned);
    EXPECT_TRUE(leaves(later_of(packet)));
    programs.foreign(packet.from);
    EXPECT_TRUE(dropped(later_of(packet), MSTACK_TX_DROP_NOT_LOCAL));
    programs.local(packet.from);
  }
  // The slot's next vport inherits nothing.
  EXPECT_TRUE(leaves(first_of(udp4())));
  programs.add_host_end(host_end, 77, own_slot);
  EXPECT_TRUE(dropped(later_of(udp4()), MSTACK_TX_DROP_NOT_OWNER));
}

TEST_F(VportTxFragment, UnderAWildcardClaim) {
  for (Packet packet : every_kind()) {
    packet.from_port = 9;
    programs.claim(tuple("0.0.0.0", 9, packet.protocol));
    programs.claim(tuple("::", 9, packet.protocol));
    EXPECT_TRUE(leaves(first_of(packet)));
    EXPECT_TRUE(leaves(later_of(packet)));
    // Somebody else now has the address's own claim: it comes first.
    programs.claim(tuple(packet.from, 9, packet.protocol), {.vport = 2, .slot = 2});
    EXPECT_TRUE(dropped(first_of(packet), MSTACK_TX_DROP_NOT_OWNER));
    EXPECT_TRUE(dropped(later_of(packet), MSTACK_TX_DROP_FRAGMENT));
  }
}

TEST_F(VportTxFragment, NothingOverlapsTheFirst) {
  for (const Packet& packet : every_kind()) {
    EXPECT_TRUE(leaves(first_of(packet)));
    for (const std::uint32_t offset : {8U, 16U})
      EXPECT_TRUE(dropped(later_of(packet, 0x1234, offset), MSTACK_TX_DROP_OVERLAP)) << offset;
    EXPECT_TRUE(leaves(later_of(packet)));
  }
}

TEST_F(VportTxFragment, TinyFirstFragments) {
  for (const Packet& packet : every_kind()) {
    const std::size_t header = packet.protocol == proto_udp ? 8 : 20;
    for (std::size_t size = 0; size < header; ++size)
      EXPECT_TRUE(dropped(fragment_of(packet, slice(head_of(packet), 0, size), {}), MSTACK_TX_DROP_MALFORMED)) << size;
    EXPECT_TRUE(dropped(later_of(packet), MSTACK_TX_DROP_FRAGMENT));
  }
}

// The ports of a first one are in its first 8 bytes: no later fragment can begin before them.
TEST_F(VportTxFragment, NothingStandsBeforeThePorts) {
  for (const std::uint8_t protocol : {proto_udp, proto_tcp}) {
    Packet plain = udp6();
    plain.protocol = protocol;
    for (const std::uint8_t header : {0, 43, 51, 60}) {
      Packet outer = plain;
      outer.protocol = header;
      const Bytes data = Bytes{protocol} + hex("00 01 04 00 00 00 00") + head_of(plain);
      EXPECT_EQ(transmit(fragment_of(outer, data, {})).action, XDP_DROP) << int{header};
      EXPECT_TRUE(dropped(later_of(plain, 0x1234, 32), MSTACK_TX_DROP_FRAGMENT)) << int{header};
    }
    Packet outer = plain;
    outer.protocol = 44;
    EXPECT_EQ(transmit(fragment_of(outer, Bytes{protocol} + hex("00 00 01 00 00 00 09") + head_of(plain), {})).action,
              XDP_DROP);
    outer.protocol = 44;
    const Bytes atomic = Bytes{protocol} + hex("00 00 00 00 00 00 09") + head_of(plain);
    EXPECT_TRUE(dropped(fragment_of(outer, atomic, {}), MSTACK_TX_DROP_HEADERS));
    EXPECT_TRUE(dropped(later_of(plain, 0x1234, 32), MSTACK_TX_DROP_FRAGMENT));
  }
}

// A first fragment that dies on its way, and a later one that does not, would join another stack's datagram.
TEST_F(VportTxFragment, FragmentsLiveAsLongAsTheFirst) {
  const Packet four = udp4();
  const auto patched = [](const Bytes& frame, std::size_t offset, const char* with) {
    return frame[12] == 0x08 ? patch_ip4(frame, l3_at + offset, hex(with)) : patch(frame, l3_at + offset, hex(with));
  };
  struct Difference {
    Packet packet;
    std::size_t offset;
    const char* with;
    const char* what;
  };
  for (const Difference& one : {Difference{four, 8, "01", "time to live"},
                                {four, 1, "b8", "type of service"},
                                {udp6(), 7, "01", "hop limit"},
                                {udp6(), 0, "6b 80", "traffic class"},
                                {udp6(), 2, "00 07", "flow label"}}) {
    EXPECT_TRUE(leaves(patched(first_of(one.packet), one.offset, one.with))) << one.what;
    EXPECT_TRUE(dropped(later_of(one.packet), MSTACK_TX_DROP_FRAGMENT)) << one.what;
    EXPECT_TRUE(leaves(patched(later_of(one.packet), one.offset, one.with))) << one.what;
    EXPECT_TRUE(leaves(first_of(one.packet))) << one.what;
    EXPECT_TRUE(dropped(patched(later_of(one.packet), one.offset, one.with), MSTACK_TX_DROP_FRAGMENT)) << one.what;
    EXPECT_TRUE(leaves(later_of(one.packet))) << one.what;
  }
}

TEST_F(VportTxFragment, NothingEndsTheWayOfOneAlone) {
  const Packet four = udp4();
  for (const bool is_first : {true, false}) {
    const auto fragment = [&](const Packet& packet) { return is_first ? first_of(packet) : later_of(packet); };
    EXPECT_TRUE(leaves(first_of(four)));
    EXPECT_TRUE(dropped(patch(fragment(four), l3_at + 10, hex("12 34")), MSTACK_TX_DROP_MALFORMED)) << "checksum";
    for (const char* flags : {"60", "a0"}) {  // don't fragment, and the bit that nobody may set
      EXPECT_TRUE(leaves(first_of(four)));
      EXPECT_TRUE(dropped(patch_ip4(fragment(four), l3_at + 6, hex(flags)), MSTACK_TX_DROP_MALFORMED)) << flags;
    }
    Packet with_options = four;
    with_options.options = hex("94 04 00 00");
    EXPECT_TRUE(leaves(first_of(four)));
    EXPECT_TRUE(dropped(fragment(with_options), MSTACK_TX_DROP_HEADERS));
    for (const auto& [type, bytes] : {std::pair<std::uint8_t, const char*>{0, "00 00 01 04 00 00 00 00"},
                                      {43, "00 00 04 00 00 00 00 00"},
                                      {44, "00 00 00 00 00 00 00 09"},
                                      {51, "00 01 00 00 00 00 00 00 00 00 00 00"},
                                      {60, "00 00 1e 04 00 00 00 00"}}) {
      Packet with_header = udp6();
      with_header.extensions = {{type, hex(bytes)}};
      EXPECT_TRUE(leaves(with_header.bytes())) << int{type} << ": of a whole datagram nothing depends on it";
      EXPECT_TRUE(leaves(first_of(udp6())));
      EXPECT_TRUE(dropped(fragment(with_header), MSTACK_TX_DROP_HEADERS)) << int{type};
    }
  }
}

TEST_F(VportTxFragment, CutWrong) {
  for (const Packet& packet : every_kind()) {
    EXPECT_TRUE(leaves(first_of(packet)));
    EXPECT_TRUE(dropped(fragment_of(packet, zeros(17), {.offset = 24}), MSTACK_TX_DROP_MALFORMED));
    EXPECT_TRUE(dropped(fragment_of(packet, {}, {.offset = 24, .more = false}), MSTACK_TX_DROP_MALFORMED));
    EXPECT_TRUE(dropped(fragment_of(packet, zeros(8), {.offset = 65528, .more = false}), MSTACK_TX_DROP_MALFORMED));
    EXPECT_TRUE(leaves(later_of(packet)));
    EXPECT_TRUE(dropped(fragment_of(packet, head_of(packet, 25), {}), MSTACK_TX_DROP_MALFORMED));
    EXPECT_TRUE(dropped(later_of(packet), MSTACK_TX_DROP_FRAGMENT));
  }
}

TEST_F(VportTxFragment, AtomicFragmentsAreWholePackets) {
  for (Packet packet : {udp6(), tcp6()}) {
    packet.extensions = {{44, hex("00 00 00 00 00 00 12 34")}};
    EXPECT_TRUE(leaves(packet.bytes()));
    EXPECT_TRUE(dropped(later_of(udp6()), MSTACK_TX_DROP_FRAGMENT));
    packet.from_port = 8;
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_UNCLAIMED));
  }
}

TEST_F(VportTxFragment, SourceRoutesInFragments) {
  Packet packet = udp4();
  EXPECT_TRUE(leaves(first_of(packet)));
  packet.options = hex("83 07 04 c0 00 02 63 00");
  EXPECT_TRUE(dropped(later_of(packet), MSTACK_TX_DROP_SOURCE_ROUTE));
  EXPECT_TRUE(dropped(first_of(packet), MSTACK_TX_DROP_SOURCE_ROUTE));
  EXPECT_TRUE(dropped(later_of(udp4()), MSTACK_TX_DROP_FRAGMENT));
}

TEST_F(VportTxFragment, OtherProtocolsAndDestinations) {
  for (const std::uint8_t protocol : {1, 47, 50}) {
    Packet packet = udp4();
    packet.protocol = protocol;
    EXPECT_TRUE(dropped(fragment_of(packet, zeros(24), {}), MSTACK_TX_DROP_PROTOCOL));
    EXPECT_TRUE(dropped(later_of(packet), MSTACK_TX_DROP_FRAGMENT));
  }
  Packet nowhere = udp4();
  nowhere.to = "127.0.0.1";
  EXPECT_TRUE(dropped(first_of(nowhere), MSTACK_TX_DROP_DESTINATION));
  EXPECT_TRUE(dropped(later_of(nowhere), MSTACK_TX_DROP_FRAGMENT)) << "the first did not leave";
  nowhere.to = "100.64.0.1";  // no route leads there
  EXPECT_TRUE(dropped(first_of(nowhere), MSTACK_TX_DROP_NO_ROUTE));
  EXPECT_TRUE(dropped(later_of(nowhere), MSTACK_TX_DROP_FRAGMENT)) << "the first did not leave";
}

// Neighbour unknown: the slow path holds by itself, and by the same rules.
TEST_F(VportTxFragment, BySlowPath) {
  for (Packet packet : every_kind()) {
    packet.to = packet.from.find(':') != std::string_view::npos ? "2001:db8::77" : "192.0.2.77";
    EXPECT_TRUE(dropped(later_of(packet), MSTACK_TX_DROP_FRAGMENT));
    const Outcome alone = programs.run("vport_tx_slow", later_of(packet), host_end);
    EXPECT_TRUE(did(alone, TC_ACT_SHOT, MSTACK_TX_DROP_FRAGMENT, own_slot));
    EXPECT_TRUE(slow(first_of(packet)));
    EXPECT_TRUE(slow(later_of(packet)));
    EXPECT_TRUE(slow(last_of(packet)));
    Packet spoofed = packet;
    spoofed.from_port = 53;
    const Outcome bad = programs.run("vport_tx_slow", first_of(spoofed), host_end);
    EXPECT_TRUE(did(bad, TC_ACT_SHOT, MSTACK_TX_DROP_UNCLAIMED, own_slot));
    EXPECT_TRUE(dropped(later_of(packet), MSTACK_TX_DROP_FRAGMENT));
  }
  // To this host's own stack.
  Packet home = udp4();
  home.to = "203.0.113.1";
  EXPECT_TRUE(did(transmit_through(first_of(home)), TC_ACT_OK, MSTACK_TX_TO_HOST, own_slot));
  EXPECT_TRUE(did(transmit_through(later_of(home)), TC_ACT_OK, MSTACK_TX_TO_HOST, own_slot));
}

TEST_F(VportTxFragment, EveryTruncation) {
  for (const Packet& packet : every_kind()) {
    const Bytes first = first_of(packet), later = later_of(packet);
    for (std::size_t length = 14; length < first.size(); ++length)
      EXPECT_TRUE(dropped(cut(first, length), MSTACK_TX_DROP_MALFORMED)) << length;
    EXPECT_TRUE(leaves(first));
    for (std::size_t length = 14; length < later.size(); ++length)
      EXPECT_TRUE(dropped(cut(later, length), MSTACK_TX_DROP_MALFORMED)) << length;
    EXPECT_TRUE(leaves(later));
  }
}

// As mstackd has it unless --send-fragments is given.
class VportTxNoFragment : public VportTx {
 protected:
  VportTxNoFragment() : VportTx({.send_fragments = false}) {}
  testing::AssertionResult refused(const Bytes& frame) {
    const auto fast = dropped(frame, MSTACK_TX_DROP_FRAGMENT);
    if (!fast) return fast;
    const Outcome outcome = programs.run("vport_tx_slow", frame, host_end);
    return did(outcome, TC_ACT_SHOT, MSTACK_TX_DROP_FRAGMENT, own_slot);
  }
};

TEST_F(VportTxNoFragment, LiteralIpv4) {
  EXPECT_TRUE(
      refused(hex("02 4d 53 01 00 01 02 4d 53 00 00 01 08 00"
                  "45 00 00 2c be ef 20 00 40 11 17 6d c0 00 02 01 c0 00 02 63"
                  "00 07 9c 40 0b b8 12 34 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f")));
  EXPECT_TRUE(
      refused(hex("02 4d 53 01 00 01 02 4d 53 00 00 01 08 00"
                  "45 00 00 17 be ef 00 03 40 11 37 7f c0 00 02 01 c0 00 02 63"
                  "10 11 12")));
}

TEST_F(VportTxNoFragment, LiteralIpv6) {
  EXPECT_TRUE(
      refused(hex("02 4d 53 01 00 01 02 4d 53 00 00 01 86 dd"
                  "60 00 00 00 00 20 2c 40 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01"
                  "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 99"
                  "11 00 00 01 de ad be ef"
                  "00 07 9c 40 0b b8 12 34 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f")));
  EXPECT_TRUE(
      refused(hex("02 4d 53 01 00 01 02 4d 53 00 00 01 86 dd"
                  "60 00 00 00 00 0b 2c 40 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01"
                  "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 99"
                  "11 00 00 18 de ad be ef 10 11 12")));
}

TEST_F(VportTxNoFragment, NoneLeaves) {
  for (const Packet& packet : every_kind()) {
    EXPECT_TRUE(refused(first_of(packet)));
    EXPECT_TRUE(refused(later_of(packet)));
    EXPECT_TRUE(refused(last_of(packet)));
    EXPECT_TRUE(sent(transmit(packet.bytes()), packet.bytes())) << "what is whole is none of it";
  }
  for (Packet packet : {udp6(), tcp6()}) {
    packet.extensions = {{44, hex("00 00 00 00 00 00 12 34")}};
    EXPECT_TRUE(sent(transmit(packet.bytes()), packet.bytes())) << "a fragment header around a whole packet";
  }
}

}  // namespace
}  // namespace bpf_test
