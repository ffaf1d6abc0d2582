// SPDX-License-Identifier: BSD-2-Clause
// UDP-Lite, SCTP and DCCP leave from a claimed tuple of theirs, and from no other.
#include <string>

#include "tx_fixture.hpp"

namespace bpf_test {
namespace {

using VportTxProtocols = VportTx;

std::vector<Packet> kinds(const Packet& four, const Packet& six) {
  std::vector<Packet> all;
  for (const std::uint8_t protocol : {proto_udplite, proto_sctp, proto_dccp}) {
    all.push_back(four);
    all.back().protocol = protocol;
    all.push_back(six);
    all.back().protocol = protocol;
  }
  return all;
}

TEST_F(VportTxProtocols, SendFromAClaimedTuple) {
  for (const Packet& packet : kinds(udp4(), udp6())) {
    const Bytes frame = packet.bytes();
    EXPECT_TRUE(sent(transmit(frame), frame)) << int{packet.protocol};
    EXPECT_TRUE(sent(transmit(frame), frame)) << "by the memory of flows";
  }
}

TEST_F(VportTxProtocols, FromNoOtherPortAddressOrProtocol) {
  for (Packet packet : kinds(udp4(), udp6())) {
    EXPECT_TRUE(sent(transmit(packet.bytes()), packet.bytes()));
    packet.from_port = 8;
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_UNCLAIMED));
    packet.from_port = 7;
    packet.from = packet.from.contains(':') ? "2001:db8::2" : "192.0.2.2";
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_UNCLAIMED));
  }
  // A claim of one protocol lets nothing of another pass.
  for (const std::uint8_t only : every_protocol) {
    for (const std::uint8_t other : every_protocol) programs.unclaim(tuple("192.0.2.1", 7, other));
    programs.claim(tuple("192.0.2.1", 7, only));
    for (const std::uint8_t protocol : every_protocol) {
      Packet packet = udp4();
      packet.protocol = protocol;
      if (protocol == only) {
        EXPECT_TRUE(sent(transmit(packet.bytes()), packet.bytes())) << int{only};
      } else {
        EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_UNCLAIMED)) << int{only} << " " << int{protocol};
      }
    }
    for (const std::uint8_t other : every_protocol)
      if (other != only) programs.claim(tuple("192.0.2.1", 7, other));
  }
  programs.claim(tuple("192.0.2.1", 9, proto_sctp), {.vport = 2, .slot = 2, .cookie = 2});
  Packet others = udp4();
  others.protocol = proto_sctp;
  others.from_port = 9;
  EXPECT_TRUE(dropped(others.bytes(), MSTACK_TX_DROP_NOT_OWNER));
}

TEST_F(VportTxProtocols, NothingThatIsCutOffOrLies) {
  for (const Packet& packet : kinds(udp4(), udp6())) {
    const Bytes whole = packet.bytes();
    const std::size_t at = packet.from.contains(':') ? l4_at_ip6 : l4_at_ip4;
    for (std::size_t length = 14; length < whole.size(); ++length) {
      EXPECT_TRUE(dropped(cut(whole, length), MSTACK_TX_DROP_MALFORMED)) << int{packet.protocol} << " " << length;
    }
    const Bytes message = slice(whole, at, whole.size() - at);
    for (std::size_t length = 0; length < 8; ++length) {
      EXPECT_TRUE(dropped(around(packet, cut(message, length)), MSTACK_TX_DROP_MALFORMED)) << length;
    }
    if (packet.protocol == proto_udplite) {
      for (const std::uint16_t coverage : {1, 7, 13, 0xffff}) {
        EXPECT_TRUE(dropped(patch(whole, at + 4, be16(coverage)), MSTACK_TX_DROP_MALFORMED)) << coverage;
      }
    }
    if (packet.protocol == proto_dccp) {
      for (const std::uint8_t words : {0, 3, 6, 255}) {
        EXPECT_TRUE(dropped(patch(whole, at + 4, {words}), MSTACK_TX_DROP_MALFORMED)) << int{words};
      }
    }
    if (packet.protocol == proto_sctp) {
      for (const std::size_t length : {12, 15}) {
        EXPECT_TRUE(dropped(around(packet, cut(message, length)), MSTACK_TX_DROP_MALFORMED)) << length;
      }
    }
  }
}

// To an unknown neighbour, by the slow path, which looks at it all again.
TEST_F(VportTxProtocols, BySlowPath) {
  for (Packet packet : kinds(udp4(), udp6())) {
    packet.to = packet.from.contains(':') ? "2001:db8::77" : "192.0.2.77";
    const Outcome outcome = transmit_through(packet.bytes());
    EXPECT_TRUE(did(outcome, TC_ACT_REDIRECT, MSTACK_TX_SENT_SLOW, own_slot)) << int{packet.protocol};
  }
}

}  // namespace
}  // namespace bpf_test
