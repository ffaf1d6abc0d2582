// SPDX-License-Identifier: BSD-2-Clause
// What has no ports, and the headers on the way to those that have.
#include <string>

#include "uplink_rx_fixture.hpp"

namespace bpf_test {
namespace {

class UplinkRxKinds : public UplinkRx {
 protected:
  UplinkRxKinds() { claim_everything(); }
};

TEST_F(UplinkRxKinds, NotIp) {
  const Bytes arp =
      hex("ff ff ff ff ff ff  02 00 00 00 00 02  08 06"
          "00 01 08 00 06 04 00 01  02 00 00 00 00 02  c6 33 64 02  00 00 00 00 00 00  c0 00 02 01");
  EXPECT_TRUE(passed(receive(arp), arp, MSTACK_RX_PASS_NOT_IP));
  for (const char* type : {"88 cc", "00 2e", "88 47", "88 64", "00 08", "dd 86", "ff ff", "00 00"}) {
    const Bytes frame = patch(Packet().bytes(), 12, hex(type));
    EXPECT_TRUE(passed(receive(frame), frame, MSTACK_RX_PASS_NOT_IP)) << type;
    EXPECT_TRUE(passed(receive(cut(frame, 14)), cut(frame, 14), MSTACK_RX_PASS_NOT_IP)) << type;
  }
}

TEST_F(UplinkRxKinds, OtherProtocols) {
  // ICMP, IGMP, IP in IP, IPv6 in IP, GRE, ESP, OSPF, nothing; and what is an extension header in IPv6 alone.
  for (const std::uint8_t protocol : {1, 2, 4, 41, 47, 50, 58, 89, 255, 0, 43, 44, 60}) {
    Packet outer = ip4(protocol);
    const Bytes frame = around(outer, hex("9c 40 00 07 00 0c 00 00 de ad be ef 00 00 00 00 00 00 00 00"));
    EXPECT_TRUE(passed(receive(frame), frame, MSTACK_RX_PASS_PROTOCOL)) << int{protocol};
  }
  for (const std::uint8_t protocol : {58, 1, 4, 41, 47, 50, 59, 89, 135, 139, 140, 253, 255}) {
    Packet outer = ip6(protocol);
    const Bytes frame = around(outer, hex("11 00 00 07 00 0c 00 00 de ad be ef 00 00 00 00 00 00 00 00"));
    EXPECT_TRUE(passed(receive(frame), frame, MSTACK_RX_PASS_PROTOCOL)) << int{protocol};
  }
}

// An authentication header (RFC 4302): its length is in words of 4 bytes, less 2, and 24 bytes are common.
const Extension ah{51, hex("00 04 00 00  00 00 01 00  00 00 00 01") + zeros(12)};

TEST_F(UplinkRxKinds, AhIsWalkedOver) {
  const Extension destination{60, hex("00 00 01 04 00 00 00 00")};
  const Extension twelve{51, hex("00 01 00 00 00 00 01 00 00 00 00 01")};  // not a multiple of 8: a receiver may mind
  for (const std::uint8_t protocol : every_protocol) {
    Packet packet = ip6(protocol);
    for (const auto& chain :
         {std::vector{ah}, {destination, ah}, {ah, destination, ah}, {twelve}, std::vector<Extension>(6, ah)}) {
      packet.extensions = chain;
      EXPECT_TRUE(steered(receive(packet.bytes()), packet.bytes(), 1)) << int{protocol} << " " << chain.size();
    }
    packet.extensions = std::vector<Extension>(7, ah);
    EXPECT_TRUE(passed(receive(packet.bytes()), packet.bytes(), MSTACK_RX_PASS_HEADERS)) << int{protocol};
  }
}

// In IPv4 it stands where the transport header would.
Bytes behind_ah(Packet packet, std::size_t count, const Bytes& header) {
  const Bytes whole = packet.bytes();
  const std::size_t start = 20 + packet.options.size();
  Bytes message = slice(whole, l3_at + start, whole.size() - l3_at - start);
  std::uint8_t next = packet.protocol;
  for (std::size_t i = 0; i < count; ++i) {
    message = patch(header, 0, {next}) + message;
    next = proto_ah;
  }
  packet.protocol = proto_ah;
  return around(packet, message);
}

TEST_F(UplinkRxKinds, AhOfIpv4IsWalkedOver) {
  for (const std::uint8_t protocol : every_protocol) {
    Packet packet = ip4(protocol);
    for (const std::size_t count : {1, 2, 6}) {
      const Bytes frame = behind_ah(packet, count, ah.bytes);
      EXPECT_TRUE(steered(receive(frame), frame, 1)) << int{protocol} << " " << count;
    }
    packet.options = hex("94 04 00 00");
    const Bytes frame = behind_ah(packet, 1, ah.bytes);
    EXPECT_TRUE(steered(receive(frame), frame, 1)) << "behind options";
    const Bytes seven = behind_ah(packet, 7, ah.bytes);
    EXPECT_TRUE(passed(receive(seven), seven, MSTACK_RX_PASS_HEADERS)) << int{protocol};
  }
}

// A tunnel's packet has no ports of ours, and what is shorter than its own fields is no AH.
TEST_F(UplinkRxKinds, WhatAhHoldsThatIsNotWalkedOver) {
  for (const std::uint8_t inner : {4, 41, 50, 0, 43, 44, 60, 59}) {
    const Bytes frame = patch(behind_ah(ip4(proto_udp), 1, ah.bytes), l4_at_ip4, {inner});
    EXPECT_TRUE(passed(receive(frame), frame, MSTACK_RX_PASS_PROTOCOL)) << int{inner};
  }
  for (const std::uint8_t words : {0, 7, 8, 255}) {  // 8 bytes; two bytes more than there are, and on
    const Bytes four = patch(behind_ah(ip4(proto_udp), 1, ah.bytes), l4_at_ip4 + 1, {words});
    EXPECT_TRUE(passed(receive(four), four, MSTACK_RX_PASS_MALFORMED)) << int{words};
    Packet packet = ip6(proto_udp);
    packet.extensions = {ah};
    const Bytes six = patch(packet.bytes(), l4_at_ip6 + 1, {words});
    EXPECT_TRUE(passed(receive(six), six, MSTACK_RX_PASS_MALFORMED)) << int{words};
  }
  const Bytes whole = behind_ah(ip4(proto_udp), 1, ah.bytes);
  for (std::size_t length = 0; length < 24 + 8; ++length) {
    const Bytes shorter = patch_ip4(whole, l3_at + 2, be16(static_cast<std::uint16_t>(20 + length)));
    EXPECT_TRUE(passed(receive(shorter), shorter, MSTACK_RX_PASS_MALFORMED)) << length;
  }
}

// Don't fragment and the reserved bit make no fragment.
TEST_F(UplinkRxKinds, WholeDatagramsOfIpv4) {
  for (const std::uint8_t protocol : {proto_udp, proto_tcp}) {
    for (const char* flags : {"00 00", "40 00", "80 00", "c0 00"}) {
      const Bytes whole = patch_ip4(ip4(protocol).bytes(), l3_at + 6, hex(flags));
      EXPECT_TRUE(steered(receive(whole), whole, 1)) << flags;
    }
  }
}

TEST_F(UplinkRxKinds, OptionsOfIpv4AreWalkedOver) {
  // No operation and the end; router alert; record route of 39 bytes; a timestamp; one nobody knows.
  for (const Bytes& options : {hex("01 01 01 00"), hex("94 04 00 00"), hex("07 27 04") + zeros(37),
                               hex("44 0c 05 00") + zeros(8), hex("de 08 01 02 03 04 05 06")}) {
    for (const std::uint8_t protocol : {proto_udp, proto_tcp}) {
      Packet packet = ip4(protocol);
      packet.options = options;
      EXPECT_TRUE(steered(receive(packet.bytes()), packet.bytes(), 1)) << "option " << int{options.at(0)};
    }
  }
  // Every length of header: one option that nobody knows.
  for (std::size_t words = 1; words <= 10; ++words) {
    Packet packet;
    packet.options = Bytes{0xde, static_cast<std::uint8_t>(words * 4)} + zeros(words * 4 - 2);
    EXPECT_TRUE(steered(receive(packet.bytes()), packet.bytes(), 1)) << words;
  }
}

// As many options as IPv6 headers are walked, and no more; a source route behind them is not missed.
TEST_F(UplinkRxKinds, MoreOptionsThanAreWalked) {
  Packet packet;
  for (const char* options : {"01 01 01 01 01 01 01 01", "01 01 01 01 01 01 01 83 07 04 c0 00 02 09 00 00"}) {
    packet.options = hex(options);
    EXPECT_TRUE(passed(receive(packet.bytes()), packet.bytes(), MSTACK_RX_PASS_HEADERS)) << options;
  }
}

// A source route's packet may be for another host yet, and an option that cannot be walked may hide one.
TEST_F(UplinkRxKinds, SourceRoutesAndBrokenOptionsOfIpv4AreTheKernels) {
  for (const char* options :
       {"83 07 04 c0 00 02 09 00", "89 07 04 c0 00 02 09 00", "01 01 01 83 07 04 c0 00 02 09 00 00", "44 00 00 00",
        "44 01 00 00", "44 05 00 00", "01 01 01 44"}) {
    Packet packet;
    packet.options = hex(options);
    const Outcome outcome = receive(packet.bytes());
    EXPECT_EQ(outcome.action, XDP_PASS) << options;
    EXPECT_EQ(outcome.frame, packet.bytes()) << options;
    EXPECT_EQ(outcome.counted.size(), 1U) << options;
  }
}

TEST_F(UplinkRxKinds, ExtensionHeadersAreWalkedOver) {
  const Extension hop_by_hop{0, hex("00 00 05 02 00 00 01 00")};
  const Extension destination{60, hex("00 00 01 04 00 00 00 00")};
  const Extension long_one{60, hex("00 03 01 1c") + zeros(28)};
  const Extension routing{43, hex("00 02 02 00 00 00 00 00") + ip("2001:db8::1")};  // no segment is left
  const std::vector<std::vector<Extension>> chains{
      {hop_by_hop},
      {destination},
      {long_one},
      {routing},
      {hop_by_hop, destination, routing, long_one},
      std::vector<Extension>(6, destination),
  };
  for (const auto& chain : chains) {
    for (const std::uint8_t protocol : {proto_udp, proto_tcp}) {
      Packet packet = ip6(protocol);
      packet.extensions = chain;
      EXPECT_TRUE(steered(receive(packet.bytes()), packet.bytes(), 1)) << chain.size() << " headers";
    }
  }
}

TEST_F(UplinkRxKinds, MoreExtensionHeadersThanAreWalked) {
  for (const std::size_t count : {7, 8, 20, 60}) {
    for (const std::uint8_t protocol : {proto_udp, proto_tcp}) {
      Packet packet = ip6(protocol);
      packet.extensions = std::vector<Extension>(count, {60, hex("00 00 01 04 00 00 00 00")});
      EXPECT_TRUE(passed(receive(packet.bytes()), packet.bytes(), MSTACK_RX_PASS_HEADERS)) << count;
    }
  }
}

// The seventh header is not read at all, so it cannot be malformed, a fragment or another protocol.
TEST_F(UplinkRxKinds, SixHeadersMayEndInAnotherProtocol) {
  Packet packet = ip6(proto_icmp6);
  packet.extensions = std::vector<Extension>(6, {60, hex("00 00 01 04 00 00 00 00")});
  const Bytes frame = around(packet, zeros(8));
  EXPECT_TRUE(passed(receive(frame), frame, MSTACK_RX_PASS_PROTOCOL));
}

// Segments left: this host is a stop on the way, not the end of it, and the ports are not for us to read.
TEST_F(UplinkRxKinds, ARoutingHeaderWithSegmentsLeftIsTheKernels) {
  for (const std::uint8_t type : {0, 2, 3, 4}) {
    Packet packet = ip6(proto_udp);
    packet.extensions = {{43, Bytes{0, 2, type, 1} + zeros(4) + ip("2001:db8::9")}};
    const Outcome outcome = receive(packet.bytes());
    EXPECT_EQ(outcome.action, XDP_PASS) << "routing type " << int{type};
    EXPECT_EQ(outcome.frame, packet.bytes());
    EXPECT_EQ(outcome.counted.size(), 1U);
  }
}

}  // namespace
}  // namespace bpf_test
