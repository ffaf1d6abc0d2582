// SPDX-License-Identifier: BSD-2-Clause
// What is not a whole packet of a protocol with ports, or lies about it, is not sent: a receiver could read other ports
// out of it than those that were checked.
#include <string>

#include "tx_fixture.hpp"

namespace bpf_test {
namespace {

using VportTxMalformed = VportTx;

TEST_F(VportTxMalformed, EveryTruncation) {
  std::vector<Packet> packets = every_kind();
  packets.push_back(udp4());
  packets.back().options = hex("07 07 04 00 00 00 00 00");
  packets.push_back(tcp6());
  packets.back().extensions = {{0, hex("00 00 05 02 00 00 01 00")}, {60, hex("00 01 01 0c") + zeros(12)}};
  for (const Packet& packet : packets) {
    const Bytes whole = packet.bytes();
    for (std::size_t length = 14; length < whole.size(); ++length) {
      EXPECT_TRUE(dropped(cut(whole, length), MSTACK_TX_DROP_MALFORMED)) << packet.from << " " << length;
    }
    EXPECT_TRUE(sent(transmit(whole), whole));
  }
}

TEST_F(VportTxMalformed, LengthsOfIp) {
  for (const Packet& packet : {udp4(), tcp4()}) {
    const Bytes frame = packet.bytes();
    for (const std::uint16_t length : {0, 1, 19, 20, 27, 0xffff, static_cast<int>(frame.size() - l3_at + 1)}) {
      EXPECT_TRUE(dropped(patch_ip4(frame, l3_at + 2, be16(length)), MSTACK_TX_DROP_MALFORMED)) << length;
    }
    for (const std::uint8_t first : {0x40, 0x41, 0x44, 0x4f, 0x05, 0x65, 0xf5}) {
      EXPECT_TRUE(dropped(patch_ip4(frame, l3_at, {first}), MSTACK_TX_DROP_MALFORMED)) << int{first};
    }
    EXPECT_TRUE(dropped(patch(frame, 12, hex("86 dd")), MSTACK_TX_DROP_MALFORMED));
  }
  for (const Packet& packet : {udp6(), tcp6()}) {
    const Bytes frame = packet.bytes();
    for (const std::uint16_t length : {0, 1, 7, 0xffff, static_cast<int>(frame.size() - l4_at_ip6 + 1)}) {
      EXPECT_TRUE(dropped(patch(frame, l3_at + 4, be16(length)), MSTACK_TX_DROP_MALFORMED)) << length;
    }
    for (const std::uint8_t first : {0x00, 0x40, 0x70, 0xf0}) {
      EXPECT_TRUE(dropped(patch(frame, l3_at, {first}), MSTACK_TX_DROP_MALFORMED)) << int{first};
    }
    EXPECT_TRUE(dropped(patch(frame, 12, hex("08 00")), MSTACK_TX_DROP_MALFORMED));
  }
}

TEST_F(VportTxMalformed, LengthsOfUdpAndTcp) {
  for (const auto& [packet, at] : {std::pair{udp4(), l4_at_ip4}, std::pair{udp6(), l4_at_ip6}}) {
    for (const std::uint16_t length : {0, 1, 7, 13, 0xffff}) {
      EXPECT_TRUE(dropped(patch(packet.bytes(), at + 4, be16(length)), MSTACK_TX_DROP_MALFORMED)) << length;
    }
  }
  for (const auto& [packet, at] : {std::pair{tcp4(), l4_at_ip4}, std::pair{tcp6(), l4_at_ip6}}) {
    for (const std::uint8_t words : {0, 1, 4, 7, 15}) {
      const Bytes frame = patch(packet.bytes(), at + 12, {static_cast<std::uint8_t>(words << 4)});
      EXPECT_TRUE(dropped(frame, MSTACK_TX_DROP_MALFORMED)) << int{words};
    }
  }
}

TEST_F(VportTxMalformed, NotIp) {
  for (const char* type : {"81 00", "88 a8", "88 cc", "00 2e", "88 47", "88 64", "00 00", "ff ff", "00 08", "06 08"}) {
    const Bytes frame = patch(udp4().bytes(), 12, hex(type));
    EXPECT_TRUE(dropped(frame, MSTACK_TX_DROP_NOT_IP)) << type;
    EXPECT_TRUE(dropped(cut(frame, 14), MSTACK_TX_DROP_NOT_IP)) << type;
  }
  // A tag in front of a packet that would be sent without it.
  const Bytes inner = udp4().bytes();
  const Bytes tagged = slice(inner, 0, 12) + hex("81 00 00 07") + slice(inner, 12, inner.size() - 12);
  EXPECT_TRUE(dropped(tagged, MSTACK_TX_DROP_NOT_IP));
}

TEST_F(VportTxMalformed, OtherProtocols) {
  const Bytes message = hex("00 07 9c 40 00 0c 00 00 de ad be ef") + zeros(16);
  for (const std::uint8_t protocol : {1, 2, 4, 41, 47, 50, 58, 89, 255, 0, 43, 44, 60}) {
    Packet outer = udp4();
    outer.protocol = protocol;
    // ICMPv6 under IPv4 is nothing that is answered.
    EXPECT_TRUE(dropped(around(outer, message), MSTACK_TX_DROP_PROTOCOL)) << "IPv4 " << int{protocol};
  }
  for (const std::uint8_t protocol : {1, 4, 41, 47, 50, 59, 89, 135, 139, 253, 255}) {
    Packet outer = udp6();
    outer.protocol = protocol;
    EXPECT_TRUE(dropped(around(outer, message), MSTACK_TX_DROP_PROTOCOL)) << "IPv6 " << int{protocol};
  }
}

TEST_F(VportTxMalformed, OptionsOfIpv4) {
  const auto with = [](Packet packet, std::string_view options) {
    packet.options = hex(options);
    return packet.bytes();
  };
  for (const Packet& packet : {udp4(), tcp4()}) {
    for (const char* harmless : {"01 01 01 00", "94 04 00 00", "07 07 04 00 00 00 00 00", "44 04 05 00",
                                 "00 83 07 04"}) {  // what follows the end of options is not an option
      const Bytes frame = with(packet, harmless);
      EXPECT_TRUE(sent(transmit(frame), frame)) << harmless;
    }
    for (const char* routed : {"83 07 04 c0 00 02 63 00", "89 07 04 c0 00 02 63 00", "01 83 07 04 c0 00 02 63",
                               "01 01 01 89 07 04 c0 00 02 63 00 00", "94 04 00 00 83 03 04 00", "01 01 01 83"}) {
      EXPECT_TRUE(dropped(with(packet, routed), MSTACK_TX_DROP_SOURCE_ROUTE)) << routed;
    }
    // No length, one that does not count itself, and one beyond the header.
    for (const char* broken :
         {"01 01 01 44", "44 00 00 00", "44 01 00 00", "44 05 00 00", "07 ff 04 00", "94 04 00 00 07 05 04 00"}) {
      EXPECT_TRUE(dropped(with(packet, broken), MSTACK_TX_DROP_MALFORMED)) << broken;
    }
    EXPECT_TRUE(dropped(with(packet, "01 01 01 01 01 01 01 83 03 04 00 00"), MSTACK_TX_DROP_HEADERS));
  }
}

TEST_F(VportTxMalformed, ExtensionHeadersOfIpv6) {
  const Extension destination{60, hex("00 00 01 04 00 00 00 00")};
  for (Packet packet : {udp6(), tcp6()}) {
    packet.extensions = std::vector<Extension>(6, destination);
    EXPECT_TRUE(sent(transmit(packet.bytes()), packet.bytes()));
    packet.extensions = std::vector<Extension>(7, destination);
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_HEADERS));
    packet.extensions = {{60, hex("00 ff 01 04 00 00 00 00")}};
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_MALFORMED));
    // Whatever type it is: with a segment left it goes elsewhere, with none it is one more header to walk over.
    for (const std::uint8_t type : {0, 2, 3, 4, 253}) {
      for (const std::uint8_t left : {0, 1, 255}) {
        packet.extensions = {{43, Bytes{0, 2, type, left} + zeros(4) + ip("2001:db8:f::1")}};
        for (int i = 0; i < 2; ++i) {
          if (left == 0) {
            EXPECT_TRUE(sent(transmit(packet.bytes()), packet.bytes())) << int{type};
          } else {
            EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_SOURCE_ROUTE)) << int{type} << " left " << int{left};
          }
          packet.extensions.insert(packet.extensions.begin(), destination);
        }
      }
    }
    packet.extensions = {{51, hex("00 04 00 00  00 00 01 00  00 00 00 01") + zeros(12)}};
    EXPECT_TRUE(sent(transmit(packet.bytes()), packet.bytes())) << "AH";
    packet.extensions = std::vector<Extension>(7, packet.extensions.front());
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_HEADERS)) << "AH";
  }
}

// A home address (RFC 6275) is what a correspondent takes for the source: it would be one that nobody has checked.
TEST_F(VportTxMalformed, HomeAddresses) {
  const Bytes home = hex("c9 10") + ip("2001:db8::10");
  Packet packet = udp6();
  for (const Bytes& options : {home + hex("01 02 00 00"), hex("01 02 00 00") + home, hex("00 00 01 00") + home,
                               hex("00 00 00 00") + home, hex("1e 02 00 00") + home}) {
    packet.extensions = {{60, hex("00 02") + options}};
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_SOURCE_ROUTE));
    packet.extensions.insert(packet.extensions.begin(), {0, hex("00 00 05 02 00 00 01 00")});
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_SOURCE_ROUTE));
  }
  // Behind more than are read, or behind one that leads past it.
  packet.extensions = {{60, hex("00 03 00 00 00 00 00 00") + home + zeros(8)}};
  EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_HEADERS));
  for (const char* broken : {"00 00 01 05 00 00 00 00", "00 00 01 03 00 00 00 1e", "00 00 1e ff 00 00 00 00"}) {
    packet.extensions = {{60, hex(broken)}};
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_MALFORMED)) << broken;
  }
  // What only looks like one is the content of an option, or of another header.
  for (const std::uint8_t type : {60, 0}) {
    packet.extensions = {{type, hex("00 00 1e 04 c9 10 20 01")}};
    EXPECT_TRUE(sent(transmit(packet.bytes()), packet.bytes())) << int{type};
  }
}

// As many words behind a header of AH's length in IPv4 as in IPv6.
TEST_F(VportTxMalformed, AhOfIpv4) {
  const Bytes inner = udp4().bytes();
  Packet outer = udp4();
  outer.protocol = proto_ah;
  const Bytes ah = hex("11 04 00 00  00 00 01 00  00 00 00 01") + zeros(12);
  const Bytes message = slice(inner, l4_at_ip4, inner.size() - l4_at_ip4);
  EXPECT_TRUE(sent(transmit(around(outer, ah + message)), around(outer, ah + message)));
  // One tuple where AH ends, another where its length says that it does.
  const Bytes lying = patch(ah, 1, {2}) + message;
  EXPECT_TRUE(dropped(around(outer, lying), MSTACK_TX_DROP_MALFORMED));
  for (const std::uint8_t words : {0, 20, 255}) {
    EXPECT_TRUE(dropped(around(outer, patch(ah, 1, {words}) + message), MSTACK_TX_DROP_MALFORMED)) << int{words};
  }
  EXPECT_TRUE(dropped(around(outer, patch(ah, 0, {4}) + message), MSTACK_TX_DROP_PROTOCOL)) << "a tunnel";
}

// TTL, type of service, checksums and payload are the stack's own: not a byte of them is changed.
TEST_F(VportTxMalformed, TheRestOfThePacketIsTheStacks) {
  const Bytes four = patch_ip4(patch_ip4(udp4().bytes(), l3_at + 8, {1}), l3_at + 4, hex("be ef"));
  EXPECT_TRUE(sent(transmit(four), four)) << "TTL of 1";
  const Bytes sums = patch(patch(udp4().bytes(), l3_at + 10, hex("ff ff")), l4_at_ip4 + 6, hex("00 00"));
  EXPECT_TRUE(sent(transmit(sums), sums)) << "checksums";
  const Bytes six = patch(patch(udp6().bytes(), l3_at + 7, {1}), l3_at + 1, hex("0a bc de"));
  EXPECT_TRUE(sent(transmit(six), six)) << "hop limit of 1, flow label";
  Packet padded = tcp4();
  padded.padding = zeros(6);
  EXPECT_TRUE(sent(transmit(padded.bytes()), padded.bytes())) << "padding";
}

}  // namespace
}  // namespace bpf_test
