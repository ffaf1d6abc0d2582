// SPDX-License-Identifier: BSD-2-Clause
// Whatever is wrong with a frame, it goes to the kernel as it came, and never to a claim.
// Frames of 0 to 13 bytes are refused by BPF_PROG_TEST_RUN, packet sockets and veths alike, so that none comes so far:
// a stack's are in stress/spoof_test.cpp.
#include <string>

#include "uplink_rx_fixture.hpp"

namespace bpf_test {
namespace {

class UplinkRxMalformed : public UplinkRx {
 protected:
  UplinkRxMalformed() { claim_everything(); }

  void malformed(const Bytes& frame, const std::string& what) {
    EXPECT_TRUE(passed(receive(frame), frame, MSTACK_RX_PASS_MALFORMED)) << what;
  }
};

TEST_F(UplinkRxMalformed, EveryTruncation) {
  std::vector<Packet> packets = every_kind();
  packets.push_back(ip4(proto_udp));
  packets.back().options = hex("07 07 04 00 00 00 00 00");  // record route, then the end
  packets.push_back(ip6(proto_tcp));
  packets.back().extensions = {{0, hex("00 00 05 02 00 00 01 00")}, {60, hex("00 01 01 0c") + zeros(12)}};
  for (const Packet& packet : packets) {
    const Bytes whole = packet.bytes();
    for (std::size_t length = 14; length < whole.size(); ++length) {
      malformed(cut(whole, length), std::string(packet.to) + " of " + std::to_string(length) + " bytes");
    }
    EXPECT_TRUE(steered(receive(whole), whole, 1));
  }
}

// As long as the frame says, but for a header that does not fit into what the IP header calls the packet.
TEST_F(UplinkRxMalformed, LengthsThatCutTheUpperHeader) {
  for (const std::uint8_t protocol : {proto_udp, proto_tcp}) {
    const std::uint16_t header = protocol == proto_udp ? 8 : 20;
    for (std::uint16_t room = 0; room < header; ++room) {
      const auto total = static_cast<std::uint16_t>(20 + room);
      malformed(patch_ip4(ip4(protocol).bytes(), l3_at + 2, be16(total)), "IPv4 room " + std::to_string(room));
      malformed(patch(ip6(protocol).bytes(), l3_at + 4, be16(room)), "IPv6 room " + std::to_string(room));
    }
  }
}

TEST_F(UplinkRxMalformed, HeaderLengthOfIpv4) {
  for (std::uint8_t words = 0; words < 5; ++words) {
    malformed(patch_ip4(Packet().bytes(), l3_at, {static_cast<std::uint8_t>(0x40 | words)}), std::to_string(words));
  }
  // 15 words are 60 bytes, and the packet has 32.
  malformed(patch_ip4(Packet().bytes(), l3_at, {0x4f}), "beyond the frame");
  // Inside the frame, but beyond the packet: what follows is padding.
  Packet padded;
  padded.padding = zeros(64);
  malformed(patch_ip4(padded.bytes(), l3_at, {0x4f}), "beyond the packet");
  // The header is the whole packet.
  malformed(patch_ip4(patch_ip4(padded.bytes(), l3_at, {0x48}), l3_at + 2, be16(32)), "nothing after it");
}

// Four words would put the ports where the destination address is, and the length where the source port is. Here these
// read as a whole datagram to a claimed tuple.
TEST_F(UplinkRxMalformed, NoPortsAreReadOutOfTheAddresses) {
  programs.local("192.0.0.7");
  programs.claim(tuple("192.0.0.7", 7, proto_udp));
  Packet packet;
  packet.to = "192.0.0.7";
  packet.from_port = 8;
  EXPECT_TRUE(steered(receive(packet.bytes()), packet.bytes(), 1));
  malformed(patch_ip4(packet.bytes(), l3_at, {0x44}), "four words");
}

// Lengths are looked at before the protocol is.
TEST_F(UplinkRxMalformed, LengthsOfAnyProtocol) {
  const Bytes icmp = around(ip4(proto_icmp), hex("08 00 00 00 00 00 00 00"));
  for (const std::uint16_t length : {0, 19, 29}) malformed(patch_ip4(icmp, l3_at + 2, be16(length)), "IPv4");
  malformed(patch_ip4(icmp, l3_at, {0x4f}), "IPv4 header of 15 words");
  malformed(patch(around(ip6(proto_icmp6), zeros(8)), l3_at + 4, be16(9)), "IPv6");
}

TEST_F(UplinkRxMalformed, TotalLengthOfIpv4) {
  for (const Packet& packet : {ip4(proto_udp), ip4(proto_tcp)}) {
    const Bytes frame = packet.bytes();
    const auto right = static_cast<std::uint16_t>(frame.size() - l3_at);
    for (std::uint16_t length = 0; length < 20; ++length) {
      malformed(patch_ip4(frame, l3_at + 2, be16(length)), "total length " + std::to_string(length));
    }
    malformed(patch_ip4(frame, l3_at + 2, be16(static_cast<std::uint16_t>(right + 1))), "one too many");
    malformed(patch_ip4(frame, l3_at + 2, be16(0xffff)), "65535");
    // Right, with its bytes swapped.
    malformed(patch_ip4(frame, l3_at + 2, {static_cast<std::uint8_t>(right), static_cast<std::uint8_t>(right >> 8)}),
              "");
  }
}

TEST_F(UplinkRxMalformed, PayloadLengthOfIpv6) {
  for (const Packet& packet : {ip6(proto_udp), ip6(proto_tcp)}) {
    const Bytes frame = packet.bytes();
    const auto right = static_cast<std::uint16_t>(frame.size() - l4_at_ip6);
    malformed(patch(frame, l3_at + 4, be16(static_cast<std::uint16_t>(right + 1))), "one too many");
    malformed(patch(frame, l3_at + 4, be16(0xffff)), "65535");
    malformed(patch(frame, l3_at + 4, be16(0)), "zero: a jumbogram, which no uplink of ours carries");
  }
}

// Whatever it says comes next is not in the packet, though it may be in the frame.
TEST_F(UplinkRxMalformed, AnExtensionHeaderBeyondThePacket) {
  for (const std::uint8_t next : {proto_udp, proto_tcp, proto_icmp6, std::uint8_t{44}, std::uint8_t{60}}) {
    Packet packet = ip6(next);
    packet.extensions = {{60, hex("00 02 01 04 00 00 00 00")}};  // says 24 bytes
    const Bytes frame = around(packet, zeros(8)) + zeros(64);
    malformed(frame, "next header " + std::to_string(next));
  }
}

TEST_F(UplinkRxMalformed, AnIcmpv6MessageBeyondThePacket) {
  for (std::size_t length = 0; length < 8; ++length) {
    malformed(around(ip6(proto_icmp6), zeros(length)) + zeros(64), std::to_string(length));
  }
}

TEST_F(UplinkRxMalformed, VersionThatIsNotTheEthertypes) {
  for (const std::uint8_t version : {0, 1, 3, 5, 6, 7, 15}) {
    malformed(patch_ip4(Packet().bytes(), l3_at, {static_cast<std::uint8_t>(version << 4 | 5)}), "IPv4");
  }
  for (const std::uint8_t version : {0, 4, 5, 7, 15}) {
    malformed(patch(ip6(proto_udp).bytes(), l3_at, {static_cast<std::uint8_t>(version << 4)}), "IPv6");
  }
  // An IPv6 packet under IPv4's type, and the other way round.
  malformed(patch(ip6(proto_udp).bytes(), 12, hex("08 00")), "IPv6 as IPv4");
  malformed(patch(Packet().bytes(), 12, hex("86 dd")), "IPv4 as IPv6");
}

TEST_F(UplinkRxMalformed, LengthOfUdp) {
  for (const auto& [packet, at] : {std::pair{ip4(proto_udp), l4_at_ip4}, std::pair{ip6(proto_udp), l4_at_ip6}}) {
    const Bytes frame = packet.bytes();  // 8 + 4 bytes of UDP
    for (std::uint16_t length = 0; length < 8; ++length) {
      malformed(patch(frame, at + 4, be16(length)), "UDP length " + std::to_string(length));
    }
    malformed(patch(frame, at + 4, be16(13)), "one too many");
    malformed(patch(frame, at + 4, be16(0xffff)), "65535");
    // Shorter than what IP carries is no error: the kernel's UDP trims it as well.
    EXPECT_TRUE(steered(receive(patch(frame, at + 4, be16(8))), patch(frame, at + 4, be16(8)), 1));
  }
  // Into the padding is beyond the packet.
  Packet padded;
  padded.padding = zeros(6);
  malformed(patch(padded.bytes(), l4_at_ip4 + 4, be16(18)), "into the padding");
}

TEST_F(UplinkRxMalformed, DataOffsetOfTcp) {
  for (const auto& [packet, at] : {std::pair{ip4(proto_tcp), l4_at_ip4}, std::pair{ip6(proto_tcp), l4_at_ip6}}) {
    const Bytes frame = packet.bytes();  // 20 + 4 bytes of TCP
    for (std::uint8_t words = 0; words < 5; ++words) {
      malformed(patch(frame, at + 12, {static_cast<std::uint8_t>(words << 4)}), "words " + std::to_string(words));
    }
    EXPECT_TRUE(steered(receive(patch(frame, at + 12, {0x60})), patch(frame, at + 12, {0x60}), 1)) << "four of options";
    malformed(patch(frame, at + 12, {0x70}), "beyond the segment");
    malformed(patch(frame, at + 12, {0xf0}), "15 words");
  }
  Packet padded = ip4(proto_tcp);
  padded.padding = zeros(40);
  malformed(patch(padded.bytes(), l4_at_ip4 + 12, {0xf0}), "into the padding");
}

TEST_F(UplinkRxMalformed, ExtensionHeaderBeyondThePacket) {
  for (const std::uint8_t type : {0, 43, 60}) {
    Packet packet = ip6(proto_udp);
    packet.extensions = {{type, hex("00 00 01 00 01 00 01 00")}};  // as a routing header: no segment left
    const Bytes frame = packet.bytes();
    for (const std::uint8_t units : {2, 3, 16, 255}) {  // of 8 bytes, after the first 8; the packet has 12 left
      malformed(patch(frame, l4_at_ip6 + 1, {units}),
                "extension " + std::to_string(type) + ": " + std::to_string(units));
    }
    // A header of which only the first bytes are there.
    Packet bare = ip6(type);
    for (std::size_t room = 0; room < 8; ++room) {
      malformed(around(bare, cut(hex("11 00 01 04 00 00 00 00"), room)), "room " + std::to_string(room));
    }
  }
}

// A frame shorter than 60 bytes is padded on the wire; XDP sees the padding.
TEST_F(UplinkRxMalformed, PaddingIsNoFault) {
  for (Packet packet : every_kind()) {
    for (const std::size_t padding : {1, 6, 18, 46}) {
      packet.padding = Bytes(padding, 0xa5);
      EXPECT_TRUE(steered(receive(packet.bytes()), packet.bytes(), 1)) << padding;
    }
  }
}

TEST_F(UplinkRxMalformed, AnEmptyPayloadIsNoFault) {
  for (Packet packet : every_kind()) {
    packet.payload = {};
    EXPECT_TRUE(steered(receive(packet.bytes()), packet.bytes(), 1));
  }
}

TEST_F(UplinkRxMalformed, AFullSizedPacketIsNoFault) {
  for (Packet packet : every_kind()) {
    packet.payload = zeros(1500 - 40 - 20);
    EXPECT_TRUE(steered(receive(packet.bytes()), packet.bytes(), 1));
  }
}

}  // namespace
}  // namespace bpf_test
