// SPDX-License-Identifier: BSD-2-Clause
// ICMP errors go to whoever owns the source of the packet that they quote, and all other ICMP to the kernel.
#include <map>
#include <string>

#include "icmp_packets.hpp"
#include "uplink_rx_fixture.hpp"

namespace bpf_test {
namespace {

// What the stack with port 7 has sent to port 40000 of a peer.
Packet sent4(std::uint8_t protocol = proto_udp) {
  Packet packet;
  packet.from = "192.0.2.1";
  packet.from_port = 7;
  packet.to = "198.51.100.2";
  packet.to_port = 40000;
  packet.protocol = protocol;
  return packet;
}

Packet sent6(std::uint8_t protocol = proto_udp) {
  Packet packet = sent4(protocol);
  packet.from = "2001:db8::1";
  packet.to = "2001:db8:f::2";
  return packet;
}

// From a router on the way to the host.
Packet router_to(std::string_view host) {
  Packet outer;
  outer.from = host.contains(':') ? "2001:db8:e::1" : "203.0.113.1";
  outer.to = host;
  return outer;
}

Bytes error_about(const Packet& packet, const Bytes& quote) {
  return icmp_error(router_to(packet.from), is_six(packet) ? errors6.front() : errors4.front(), quote);
}

Bytes error_about(const Packet& packet) {
  return error_about(packet, quote_of(packet));
}

class UplinkRxIcmp : public UplinkRx {
 protected:
  UplinkRxIcmp() { claim_everything(); }
  testing::AssertionResult kernels(const Bytes& frame, mstack_verdict why = MSTACK_RX_PASS_ICMP) {
    return passed(receive(frame), frame, why);
  }
};

TEST_F(UplinkRxIcmp, EveryErrorAboutEveryProtocol) {
  for (const std::uint8_t protocol : every_protocol) {
    for (const Packet& packet : {sent4(protocol), sent6(protocol)}) {
      std::vector<IcmpKind> kinds = is_six(packet) ? errors6 : errors4;
      kinds.push_back(is_six(packet) ? too_big6 : too_big4);
      for (const auto& kind : kinds) {
        const Bytes frame = icmp_error(router_to(packet.from), kind, quote_of(packet));
        EXPECT_TRUE(steered(receive(frame), frame, 1)) << int{protocol} << " " << int{kind.type} << int{kind.code};
      }
    }
  }
}

// As Linux, IPv4 quotes the header and 8 bytes at the least; none of the quote's own lengths is there in whole.
TEST_F(UplinkRxIcmp, EightBytesOfTransportAreEnoughAndFewerAreNot) {
  for (const std::uint8_t protocol : every_protocol) {
    for (const Packet& packet : {sent4(protocol), sent6(protocol)}) {
      const Bytes whole = quote_of(packet);
      const std::size_t header = is_six(packet) ? 40 : 20;
      for (std::size_t length = 0; length < header + 8; ++length) {
        EXPECT_TRUE(kernels(error_about(packet, cut(whole, length)))) << int{protocol} << " " << length;
        // Padding behind the end of the packet is no part of the quote.
        Packet outer = router_to(packet.from);
        outer.padding = Bytes(64, 7);
        EXPECT_TRUE(kernels(icmp_error(outer, is_six(packet) ? errors6[0] : errors4[0], cut(whole, length)))) << length;
      }
      const Bytes frame = error_about(packet, cut(whole, header + 8));
      EXPECT_TRUE(steered(receive(frame), frame, 1)) << int{protocol};
      for (std::size_t length = 14; length < frame.size(); ++length) {
        EXPECT_TRUE(kernels(cut(frame, length), MSTACK_RX_PASS_MALFORMED)) << length;
      }
    }
  }
}

TEST_F(UplinkRxIcmp, TheKernelsOwnErrorsAreUntouched) {
  for (Packet packet : {sent4(), sent6(), sent4(proto_tcp), sent6(proto_tcp)}) {
    packet.from_port = 8;  // a socket of the kernel's
    EXPECT_TRUE(kernels(error_about(packet), MSTACK_RX_PASS_UNCLAIMED));
  }
}

// The claim is of the source; that the destination is one says nothing.
TEST_F(UplinkRxIcmp, AQuoteTheWrongWayRound) {
  for (Packet packet : {sent4(), sent6()}) {
    std::swap(packet.from, packet.to);
    std::swap(packet.from_port, packet.to_port);
    Packet outer = router_to(packet.to);
    EXPECT_TRUE(kernels(icmp_error(outer, is_six(packet) ? errors6[0] : errors4[0], quote_of(packet))));
  }
}

// Whom the packet tells is whose packet it quotes: else one could speak to a stack by way of any address.
TEST_F(UplinkRxIcmp, ToAnotherAddressThanTheQuotesSource) {
  programs.local("192.0.2.2");
  programs.local("2001:db8::2");
  for (const Packet& packet : {sent4(), sent6()}) {
    const IcmpKind kind = is_six(packet) ? errors6[0] : errors4[0];
    for (const char* to : {"192.0.2.2", "224.0.0.1", "255.255.255.255", "2001:db8::2", "ff02::1"}) {
      if (std::string_view(to).contains(':') != is_six(packet)) continue;
      EXPECT_TRUE(kernels(icmp_error(router_to(to), kind, quote_of(packet)))) << to;
    }
  }
}

// Nobody sends from a group, be it claimed or not.
TEST_F(UplinkRxIcmp, AQuoteOfAGroup) {
  for (const char* group : {"224.0.0.7", "ff02::7"}) {
    programs.claim(tuple(group, 7, proto_udp));
    Packet packet = std::string_view(group).contains(':') ? sent6() : sent4();
    packet.from = group;
    EXPECT_TRUE(kernels(icmp_error(router_to(group), is_six(packet) ? errors6[0] : errors4[0], quote_of(packet))));
  }
}

TEST_F(UplinkRxIcmp, AnErrorAboutAnErrorIsNobodys) {
  const Bytes inner4 = icmp_message("192.0.2.1", "198.51.100.2", 3, 3, quote_of(sent4()));
  Packet outer4 = sent4(proto_icmp);
  const Bytes quoted4 = around(outer4, inner4);
  EXPECT_TRUE(kernels(error_about(sent4(), slice(quoted4, l3_at, quoted4.size() - l3_at))));
  Packet outer6 = sent6(proto_icmp6);
  const Bytes quoted6 = around(outer6, icmp_message("2001:db8::1", "2001:db8:f::2", 1, 4, quote_of(sent6())));
  EXPECT_TRUE(kernels(error_about(sent6(), slice(quoted6, l3_at, quoted6.size() - l3_at))));
}

TEST_F(UplinkRxIcmp, OtherIcmpIsTheKernels) {
  for (const std::uint8_t type : {0, 1, 2, 4, 5, 6, 8, 9, 10, 13, 14, 17, 40, 255}) {  // echo, redirect, quench ...
    EXPECT_TRUE(kernels(icmp_error(router_to("192.0.2.1"), {type, 0}, quote_of(sent4())), MSTACK_RX_PASS_PROTOCOL))
        << int{type};
  }
  for (const std::uint8_t type : {0, 5, 6, 100, 127, 128, 129, 130, 133, 134, 135, 136, 137, 143, 255}) {
    EXPECT_TRUE(kernels(icmp_error(router_to("2001:db8::1"), {type, 0}, quote_of(sent6())), MSTACK_RX_PASS_PROTOCOL))
        << int{type};
  }
  // The one family's ICMP in the other is no ICMP.
  Packet crossed = router_to("192.0.2.1");
  crossed.protocol = proto_icmp6;
  EXPECT_TRUE(kernels(around(crossed, hex("01 04 00 00 00 00 00 00") + quote_of(sent6())), MSTACK_RX_PASS_PROTOCOL));
  Packet other = router_to("2001:db8::1");
  other.protocol = proto_icmp;
  EXPECT_TRUE(kernels(around(other, hex("03 03 00 00 00 00 00 00") + quote_of(sent4())), MSTACK_RX_PASS_PROTOCOL));
}

TEST_F(UplinkRxIcmp, QuotesThatAreNoIpPacket) {
  const Bytes four = quote_of(sent4());
  for (const std::uint8_t first : {0x35, 0x65, 0x05, 0x40, 0x44, 0x4f}) {  // version, header length
    EXPECT_TRUE(kernels(error_about(sent4(), patch(four, 0, {first})))) << int{first};
  }
  for (const std::uint8_t first : {0x40, 0x50, 0x70, 0x00}) {
    EXPECT_TRUE(kernels(error_about(sent6(), patch(quote_of(sent6()), 0, {first})))) << int{first};
  }
  EXPECT_TRUE(kernels(error_about(sent4(), quote_of(sent6())))) << "IPv6 in ICMP";
  EXPECT_TRUE(kernels(error_about(sent6(), four))) << "IPv4 in ICMPv6";
  for (const std::uint8_t protocol : {0, 1, 2, 4, 41, 47, 50, 58, 59, 89, 255}) {
    EXPECT_TRUE(kernels(error_about(sent4(), patch(four, 9, {protocol})))) << int{protocol};
  }
  // ::ffff:192.0.2.1 on the wire would pass for the IPv4 tuple.
  Packet mapped = sent6();
  mapped.from = "::ffff:192.0.2.1";
  EXPECT_TRUE(kernels(icmp_error(router_to("2001:db8::1"), errors6[0], quote_of(mapped))));
}

// The first of a datagram's fragments has the ports, the others have data in their place.
TEST_F(UplinkRxIcmp, QuotedFragments) {
  const Bytes four = quote_of(sent4());
  for (const char* first : {"20 00", "60 00", "40 00"}) {
    const Bytes frame = error_about(sent4(), patch(four, 6, hex(first)));
    EXPECT_TRUE(steered(receive(frame), frame, 1)) << first;
  }
  for (const char* later : {"00 01", "20 01", "1f ff"}) {
    EXPECT_TRUE(kernels(error_about(sent4(), patch(four, 6, hex(later))))) << later;
  }
  Packet six = sent6();
  for (const char* first : {"00 00 00 01 12 34 56 78", "00 00 00 00 12 34 56 78"}) {
    six.extensions = {{44, hex(first)}};
    EXPECT_TRUE(steered(receive(error_about(six)), error_about(six), 1)) << first;
  }
  for (const char* later : {"00 00 00 08 12 34 56 78", "00 00 05 b1 12 34 56 78"}) {
    six.extensions = {{44, hex(later)}};
    EXPECT_TRUE(kernels(error_about(six))) << later;
  }
}

TEST_F(UplinkRxIcmp, QuotedOptionsAndExtensionHeaders) {
  Packet four = sent4();
  four.options = hex("94 04 00 00");
  EXPECT_TRUE(steered(receive(error_about(four)), error_about(four), 1));
  for (const char* options : {"83 07 04 c0 00 02 09 00", "01 01 01 01 01 01 01 01", "44 00 00 00"}) {
    four.options = hex(options);
    EXPECT_TRUE(kernels(error_about(four))) << options;
  }
  const Extension destination{60, hex("00 00 01 04 00 00 00 00")};
  Packet six = sent6();
  six.extensions = std::vector<Extension>(6, destination);
  EXPECT_TRUE(steered(receive(error_about(six)), error_about(six), 1));
  six.extensions.push_back(destination);
  EXPECT_TRUE(kernels(error_about(six))) << "seven";
  six.extensions = {{43, hex("00 02 00 01 00 00 00 00") + ip("2001:db8::9")}};
  EXPECT_TRUE(kernels(error_about(six))) << "a segment left";
  // Cut off in the middle of a header.
  six.extensions = {{60, hex("00 01 01 0c") + zeros(12)}};
  for (std::size_t length = 40; length < 40 + 16 + 8; ++length) {
    EXPECT_TRUE(kernels(error_about(six, cut(quote_of(six), length)))) << length;
  }
}

// Behind options and extension headers of its own, an error is no less one.
TEST_F(UplinkRxIcmp, BehindHeadersOfItsOwn) {
  Packet outer = router_to("192.0.2.1");
  outer.options = hex("94 04 00 00");
  const Bytes four = icmp_error(outer, errors4[0], quote_of(sent4()));
  EXPECT_TRUE(steered(receive(four), four, 1));
  outer = router_to("2001:db8::1");
  outer.extensions = {{0, hex("00 00 05 02 00 00 01 00")}};
  const Bytes six = icmp_error(outer, errors6[0], quote_of(sent6()));
  EXPECT_TRUE(steered(receive(six), six, 1));
}

TEST_F(UplinkRxIcmp, AWildcardsErrorsAreOfThisHostsAddresses) {
  programs.claim(tuple("0.0.0.0", 9, proto_udp));
  programs.claim(tuple("::", 9, proto_udp));
  for (Packet packet : {sent4(), sent6()}) {
    packet.from_port = 9;
    EXPECT_TRUE(steered(receive(error_about(packet)), error_about(packet), 1));
    packet.from = is_six(packet) ? "2001:db8::2" : "192.0.2.2";
    EXPECT_TRUE(kernels(error_about(packet), MSTACK_RX_PASS_NOT_LOCAL));
  }
}

// A flow's errors arrive where its packets do, whichever router sends them.
TEST_F(UplinkRxIcmp, OnTheQueueOfTheFlow) {
  programs.claim(tuple("192.0.2.1", 9, proto_udp), {.queues = 4});
  programs.claim(tuple("2001:db8::1", 9, proto_udp), {.queues = 4});
  std::map<Bytes, int> queues;
  for (Packet packet : {sent4(), sent6()}) {
    packet.from_port = 9;
    for (std::uint16_t port = 40000; port < 40064; ++port) {
      packet.to_port = port;
      Packet answer = packet;
      std::swap(answer.from, answer.to);
      std::swap(answer.from_port, answer.to_port);
      const Bytes by_flow = slice(receive(answer.bytes()).frame, 0, 6);
      EXPECT_EQ(slice(receive(error_about(packet)).frame, 0, 6), by_flow) << port;
      ++queues[by_flow];
    }
  }
  EXPECT_EQ(queues.size(), 4U);
}

}  // namespace
}  // namespace bpf_test
