// SPDX-License-Identifier: BSD-2-Clause
// UDP-Lite, SCTP and DCCP have the ports of TCP and UDP in the same place, and spaces of ports of their own.
#include <map>
#include <string>

#include "uplink_rx_fixture.hpp"

namespace bpf_test {
namespace {

class UplinkRxProtocols : public UplinkRx {
 protected:
  testing::AssertionResult malformed(const Bytes& frame) {
    return passed(receive(frame), frame, MSTACK_RX_PASS_MALFORMED);
  }
};

// The frame with its IP length set to that of what is left after a cut, and padding to see through.
Bytes with_message(const Packet& packet, const Bytes& message) {
  Packet outer = packet;
  outer.padding = Bytes(60, 0xa5);
  return around(outer, message);
}

Bytes message_of(const Packet& packet) {
  const Bytes frame = packet.bytes();
  const std::size_t at = packet.to.contains(':') ? l4_at_ip6 : l4_at_ip4;
  return slice(frame, at, frame.size() - at);
}

TEST_F(UplinkRxProtocols, AClaimIsOfOneProtocol) {
  for (const std::uint8_t claimed : every_protocol) {
    for (const char* address : {"192.0.2.1", "2001:db8::1"}) programs.claim(tuple(address, 7, claimed));
    for (const std::uint8_t protocol : every_protocol) {
      for (const Packet& packet : {ip4(protocol), ip6(protocol)}) {
        const Bytes frame = packet.bytes();
        if (protocol == claimed) {
          EXPECT_TRUE(steered(receive(frame), frame, 1)) << int{protocol};
        } else {
          EXPECT_TRUE(passed(receive(frame), frame, MSTACK_RX_PASS_UNCLAIMED)) << int{protocol} << int{claimed};
        }
        Packet other = packet;
        other.to_port = 8;
        EXPECT_TRUE(passed(receive(other.bytes()), other.bytes(), MSTACK_RX_PASS_UNCLAIMED)) << int{protocol};
      }
    }
    for (const char* address : {"192.0.2.1", "2001:db8::1"}) programs.unclaim(tuple(address, 7, claimed));
    programs.set_gate(claimed, 7, 0);
  }
}

TEST_F(UplinkRxProtocols, TheHighestPortOfEachHasAGateOfItsOwn) {
  for (const std::uint8_t claimed : every_protocol) {
    for (const std::uint16_t port : {0x0001, 0x8000, 0xffff}) {
      programs.claim(tuple("192.0.2.1", port, claimed));
      Packet packet = ip4(claimed);
      packet.to_port = port;
      EXPECT_TRUE(steered(receive(packet.bytes()), packet.bytes(), 1)) << int{claimed} << " " << port;
    }
  }
}

TEST_F(UplinkRxProtocols, WildcardsAndQueuesAreAsForUdp) {
  for (const std::uint8_t protocol : {proto_udplite, proto_sctp, proto_dccp}) {
    programs.claim(tuple("0.0.0.0", 7, protocol), {.queues = 4});
    programs.claim(tuple("::", 7, protocol), {.queues = 4});
    for (Packet packet : {ip4(protocol), ip6(protocol)}) {
      std::map<Bytes, int> macs;
      for (std::uint16_t port = 40000; port < 40064; ++port) {
        packet.from_port = port;
        const Outcome outcome = receive(packet.bytes());
        EXPECT_TRUE(did(outcome, XDP_REDIRECT, MSTACK_RX_STEERED));
        ++macs[slice(outcome.frame, 0, 6)];
      }
      EXPECT_EQ(macs.size(), 4U) << int{protocol};
      packet.to = packet.to.contains(':') ? "2001:db8::2" : "192.0.2.2";
      EXPECT_TRUE(passed(receive(packet.bytes()), packet.bytes(), MSTACK_RX_PASS_NOT_LOCAL));
    }
  }
}

// Shorter than the shortest header of its protocol inside what IP carries, whatever follows as padding.
TEST_F(UplinkRxProtocols, EveryTruncation) {
  claim_everything();
  struct Shortest {
    std::uint8_t protocol;
    std::size_t length;
  };
  for (const auto& [protocol, length] :
       {Shortest{proto_udplite, 8}, Shortest{proto_sctp, 16}, Shortest{proto_dccp, 16}}) {
    for (const Packet& packet : {ip4(protocol), ip6(protocol)}) {
      const Bytes whole = message_of(packet);
      for (std::size_t left = 0; left <= whole.size(); ++left) {
        const Bytes frame = with_message(packet, cut(whole, left));
        if (left < length) {
          EXPECT_TRUE(malformed(frame)) << int{protocol} << " " << left;
        } else {
          EXPECT_TRUE(steered(receive(frame), frame, 1)) << int{protocol} << " " << left;
        }
      }
      const Bytes frame = packet.bytes();
      for (std::size_t left = 14; left < frame.size(); ++left) EXPECT_TRUE(malformed(cut(frame, left))) << left;
    }
  }
}

// RFC 3828, 3.1: 0 is all of it, less than the header is no coverage, and neither is more than there is.
TEST_F(UplinkRxProtocols, CoverageOfUdpLite) {
  claim_everything();
  for (const auto& [packet, at] :
       {std::pair{ip4(proto_udplite), l4_at_ip4}, std::pair{ip6(proto_udplite), l4_at_ip6}}) {
    const Bytes frame = packet.bytes();  // 8 + 4 bytes
    for (const std::uint16_t coverage : {0, 8, 9, 11, 12}) {
      const Bytes good = patch(frame, at + 4, be16(coverage));
      EXPECT_TRUE(steered(receive(good), good, 1)) << coverage;
    }
    for (const std::uint16_t coverage : {1, 7, 13, 0x0800, 0xffff}) {
      EXPECT_TRUE(malformed(patch(frame, at + 4, be16(coverage)))) << coverage;
    }
  }
}

// RFC 4340, 5.1: the data offset counts words from the beginning; X says whether the sequence number is long.
TEST_F(UplinkRxProtocols, DataOffsetOfDccp) {
  claim_everything();
  for (const auto& [packet, at] : {std::pair{ip4(proto_dccp), l4_at_ip4}, std::pair{ip6(proto_dccp), l4_at_ip6}}) {
    const Bytes frame = packet.bytes();  // 16 + 4 bytes
    for (const std::uint8_t words : {4, 5}) {
      const Bytes good = patch(frame, at + 4, {words});
      EXPECT_TRUE(steered(receive(good), good, 1)) << int{words};
    }
    for (const std::uint8_t words : {0, 1, 2, 3, 6, 64, 255}) {
      EXPECT_TRUE(malformed(patch(frame, at + 4, {words}))) << int{words};
    }
    const Bytes brief = patch(patch(frame, at + 8, {0x04}), at + 4, {3});  // X is 0
    EXPECT_TRUE(steered(receive(brief), brief, 1));
    EXPECT_TRUE(malformed(patch(brief, at + 4, {2})));
    EXPECT_TRUE(malformed(patch(brief, at + 8, {0x05})));
  }
  // 12 bytes are enough for the one, not for the other.
  const Bytes twelve = hex("9c 40 00 07 03 00 00 00 04 00 00 01");
  EXPECT_TRUE(steered(receive(around(ip4(proto_dccp), twelve)), around(ip4(proto_dccp), twelve), 1));
  EXPECT_TRUE(malformed(around(ip4(proto_dccp), patch(twelve, 8, {0x05}))));
}

TEST_F(UplinkRxProtocols, BehindOptionsAndExtensionHeaders) {
  claim_everything();
  for (const std::uint8_t protocol : {proto_udplite, proto_sctp, proto_dccp}) {
    Packet four = ip4(protocol);
    four.options = hex("94 04 00 00");
    EXPECT_TRUE(steered(receive(four.bytes()), four.bytes(), 1)) << int{protocol};
    Packet six = ip6(protocol);
    six.extensions = {{0, hex("00 00 05 02 00 00 01 00")}, {60, hex("00 01 01 0c") + zeros(12)}};
    EXPECT_TRUE(steered(receive(six.bytes()), six.bytes(), 1)) << int{protocol};
    // A length that reaches into the padding is no less wrong there.
    six.padding = zeros(64);
    EXPECT_TRUE(malformed(patch(six.bytes(), l4_at_ip6 + 8 + 1, {9}))) << int{protocol};
  }
}

}  // namespace
}  // namespace bpf_test
