// SPDX-License-Identifier: BSD-2-Clause
// What is not a whole TCP segment or UDP datagram, and the headers on the way to one.
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
  // A VLAN's packets belong to the VLAN's interface, be the tag in the frame or not.
  for (const char* tag : {"81 00", "88 a8"}) {
    const Bytes inner = Packet().bytes();
    const Bytes tagged = slice(inner, 0, 12) + hex(tag) + hex("00 07") + slice(inner, 12, inner.size() - 12);
    EXPECT_TRUE(passed(receive(tagged), tagged, MSTACK_RX_PASS_NOT_IP)) << tag;
  }
  for (const char* type : {"88 cc", "00 2e", "88 47", "88 64", "00 08", "dd 86", "ff ff", "00 00"}) {
    const Bytes frame = patch(Packet().bytes(), 12, hex(type));
    EXPECT_TRUE(passed(receive(frame), frame, MSTACK_RX_PASS_NOT_IP)) << type;
    EXPECT_TRUE(passed(receive(cut(frame, 14)), cut(frame, 14), MSTACK_RX_PASS_NOT_IP)) << type;
  }
}

TEST_F(UplinkRxKinds, OtherProtocols) {
  // ICMP, IGMP, IP in IP, IPv6 in IP, GRE, ESP, AH, OSPF, SCTP, UDP-Lite, nothing.
  for (const std::uint8_t protocol : {1, 2, 4, 41, 47, 50, 51, 89, 132, 136, 255}) {
    Packet outer = ip4(protocol);
    const Bytes frame = around(outer, hex("9c 40 00 07 00 0c 00 00 de ad be ef 00 00 00 00 00 00 00 00"));
    EXPECT_TRUE(passed(receive(frame), frame, MSTACK_RX_PASS_PROTOCOL)) << int{protocol};
  }
  for (const std::uint8_t protocol : {58, 4, 41, 47, 50, 51, 59, 89, 132, 135, 136, 139, 140, 253, 255}) {
    Packet outer = ip6(protocol);
    const Bytes frame = around(outer, hex("11 00 00 07 00 0c 00 00 de ad be ef 00 00 00 00 00 00 00 00"));
    EXPECT_TRUE(passed(receive(frame), frame, MSTACK_RX_PASS_PROTOCOL)) << int{protocol};
  }
}

// TCP or UDP behind an authentication header is the kernel's to check.
TEST_F(UplinkRxKinds, NothingIsLookedForBehindAh) {
  Packet packet = ip6(proto_udp);
  packet.extensions = {{51, hex("00 04 00 00") + zeros(20)}};
  EXPECT_TRUE(passed(receive(packet.bytes()), packet.bytes(), MSTACK_RX_PASS_PROTOCOL));
}

TEST_F(UplinkRxKinds, FragmentsOfIpv4) {
  for (const std::uint8_t protocol : {proto_udp, proto_tcp}) {
    const Bytes frame = ip4(protocol).bytes();
    for (const char* flags : {"20 00", "20 01", "00 01", "1f ff", "00 b9", "01 00", "60 00", "3f ff"}) {
      const Bytes fragment = patch_ip4(frame, l3_at + 6, hex(flags));
      EXPECT_TRUE(passed(receive(fragment), fragment, MSTACK_RX_PASS_FRAGMENT)) << flags;
    }
    for (const char* flags : {"00 00", "40 00", "80 00", "c0 00"}) {  // none, don't fragment, and the reserved bit
      const Bytes whole = patch_ip4(frame, l3_at + 6, hex(flags));
      EXPECT_TRUE(steered(receive(whole), whole, 1)) << flags;
    }
  }
}

TEST_F(UplinkRxKinds, FragmentsOfIpv6) {
  // First, middle, last, and the whole packet in one (an atomic fragment, RFC 6946).
  for (const char* header :
       {"00 00 00 01 12 34 56 78", "00 00 05 b1 12 34 56 78", "00 00 05 b0 12 34 56 78", "00 00 00 00 12 34 56 78"}) {
    for (const std::uint8_t protocol : {proto_udp, proto_tcp}) {
      Packet packet = ip6(protocol);
      packet.extensions = {{44, hex(header)}};
      EXPECT_TRUE(passed(receive(packet.bytes()), packet.bytes(), MSTACK_RX_PASS_FRAGMENT)) << header;
      packet.extensions.insert(packet.extensions.begin(), {60, hex("00 00 01 04 00 00 00 00")});
      EXPECT_TRUE(passed(receive(packet.bytes()), packet.bytes(), MSTACK_RX_PASS_FRAGMENT)) << header;
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
