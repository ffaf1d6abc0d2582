// SPDX-License-Identifier: BSD-2-Clause
// Tagged frames. The uplink has the VLANs 100 (802.1Q), 200 (802.1ad), and 300 in each of the two; another uplink has
// VLAN 400.
#include <string>
#include <utility>

#include "fragment_packets.hpp"
#include "icmp_packets.hpp"
#include "uplink_rx_fixture.hpp"

namespace bpf_test {
namespace {

constexpr const char* own_tags[] = {"81 00 00 64", "88 a8 00 c8", "81 00 00 64 81 00 01 2c", "88 a8 00 c8 81 00 01 2c"};

class UplinkRxVlan : public UplinkRx {
 protected:
  UplinkRxVlan() {
    claim_everything();
    for (const char* name : {"up0", "up1"}) {
      Netns::ip("link add " + std::string(name) + " type veth peer name far-" + name);
      Netns::ip("link set " + std::string(name) + " up");
      Netns::pass_all(name);
    }
    uplink = Netns::ifindex("up0");
    other = Netns::ifindex("up1");
    std::uint32_t device = 1000;
    for (const char* tags : own_tags) programs.add_vlan(device++, uplink, hex(tags));
    programs.add_vlan(device, other, hex("81 00 01 90"));
  }

  Outcome arrive(const Bytes& frame) { return programs.run("uplink_rx", frame, uplink); }
  testing::AssertionResult kernels(const Bytes& frame, mstack_verdict reason = MSTACK_RX_PASS_VLAN) {
    return passed(arrive(frame), frame, reason);
  }

  std::uint32_t uplink = 0;
  std::uint32_t other = 0;
};

// The tags stay in: vport_rx takes them off.
TEST_F(UplinkRxVlan, OfAVlanOfTheUplinkIsSteered) {
  for (const std::uint8_t protocol : every_protocol) {
    for (const Packet& packet : {ip4(protocol), ip6(protocol)}) {
      for (const char* tags : own_tags) {
        const Bytes frame = tagged(hex(tags), packet.bytes());
        EXPECT_TRUE(steered(arrive(frame), frame, 1)) << tags << " " << int{protocol};
      }
    }
  }
}

TEST_F(UplinkRxVlan, OfAnyOtherIsTheKernels) {
  for (const char* tags : {
           "81 00 00 65",              // no such VLAN
           "81 00 64 00",              // its bytes the other way round
           "88 a8 00 64",              // the other kind of tag
           "81 00 00 c8",              //
           "81 00 01 2c",              // the inner one alone
           "81 00 00 00",              // a priority
           "81 00 e0 00",              //
           "81 00 0f ff",              //
           "81 00 01 90",              // another uplink's
           "81 00 00 64 81 00 00 00",  // a priority inside
           "81 00 00 64 81 00 00 64",  //
           "81 00 00 64 88 a8 01 2c",  //
           "81 00 01 2c 81 00 00 64",  // outside in
           "81 00 00 65 81 00 01 2c",
       }) {
    for (const Packet& packet : every_kind()) EXPECT_TRUE(kernels(tagged(hex(tags), packet.bytes()))) << tags;
  }
  const Bytes others = tagged(hex("81 00 01 90"), Packet().bytes());
  EXPECT_TRUE(steered(programs.run("uplink_rx", others, other), others, 1));
}

TEST_F(UplinkRxVlan, PriorityAndDropEligibilitySayNothing) {
  for (unsigned bits = 0; bits < 16; ++bits) {
    const auto high = static_cast<std::uint8_t>(bits << 4);
    const Bytes one = tagged({0x81, 0x00, high, 0x64}, Packet().bytes());
    EXPECT_TRUE(steered(arrive(one), one, 1)) << bits;
    const auto inner = static_cast<std::uint8_t>(high | 0x01);
    const Bytes two = tagged({0x88, 0xa8, 0x00, 0xc8, 0x81, 0x00, inner, 0x2c}, Packet().bytes());
    EXPECT_TRUE(steered(arrive(two), two, 1)) << bits;
  }
}

TEST_F(UplinkRxVlan, ThreeTagsAreTheKernels) {
  for (const char* third : {"81 00 00 64", "88 a8 00 01", "81 00 00 00"}) {
    for (const char* tags : own_tags) {
      const Bytes frame = tagged(hex(tags), tagged(hex(third), tagged(hex(third), Packet().bytes())));
      EXPECT_TRUE(kernels(frame)) << tags << " " << third;
    }
  }
  const Bytes many = tagged(hex("81 00 00 64 81 00 01 2c 81 00 00 64 81 00 00 64 81 00 00 64"), Packet().bytes());
  EXPECT_TRUE(kernels(many));
}

TEST_F(UplinkRxVlan, EveryTruncation) {
  for (const char* tags : own_tags) {
    for (const Packet& packet : every_kind()) {
      const Bytes frame = tagged(hex(tags), packet.bytes());
      for (std::size_t left = 14; left < frame.size(); ++left) {
        EXPECT_TRUE(kernels(cut(frame, left), MSTACK_RX_PASS_MALFORMED)) << tags << " " << left;
      }
    }
  }
  // Of one that is not known too: what is wrong first is that it cannot be read.
  EXPECT_TRUE(kernels(cut(tagged(hex("81 00 00 65"), Packet().bytes()), 17), MSTACK_RX_PASS_MALFORMED));
}

TEST_F(UplinkRxVlan, WhatIsBehindIsReadAsEver) {
  for (const char* tags : own_tags) {
    const Bytes front = hex(tags);
    const Bytes arp = hex("ff ff ff ff ff ff  02 00 00 00 00 02  08 06") + zeros(46);
    EXPECT_TRUE(kernels(tagged(front, arp), MSTACK_RX_PASS_NOT_IP)) << tags;
    Packet unclaimed;
    unclaimed.to_port = 8;
    EXPECT_TRUE(kernels(tagged(front, unclaimed.bytes()), MSTACK_RX_PASS_UNCLAIMED)) << tags;
    EXPECT_TRUE(
        kernels(tagged(front, around(ip4(proto_icmp), icmp_message("198.51.100.2", "192.0.2.1", 8, 0, zeros(8)))),
                MSTACK_RX_PASS_PROTOCOL))
        << tags;
    Packet four;
    four.options = hex("94 04 00 00");
    const Bytes with_options = tagged(front, four.bytes());
    EXPECT_TRUE(steered(arrive(with_options), with_options, 1)) << tags;
    four.options = hex("83 04 04 00");
    EXPECT_TRUE(kernels(tagged(front, four.bytes()), MSTACK_RX_PASS_HEADERS)) << tags;
    Packet six = ip6(proto_tcp);
    six.extensions = {{0, hex("00 00 05 02 00 00 01 00")}, {60, hex("00 01 01 0c") + zeros(12)}};
    const Bytes with_extensions = tagged(front, six.bytes());
    EXPECT_TRUE(steered(arrive(with_extensions), with_extensions, 1)) << tags;
    // A length that reaches into what is no part of the packet.
    Packet longer;
    longer.padding = zeros(4);
    const Bytes frame = longer.bytes();
    const Bytes too_long = patch_ip4(frame, l3_at + 2, be16(static_cast<std::uint16_t>(frame.size() - 14 + 1)));
    EXPECT_TRUE(kernels(tagged(front, too_long), MSTACK_RX_PASS_MALFORMED)) << tags;
  }
}

TEST_F(UplinkRxVlan, FragmentsFollowTheirFirst) {
  for (const char* tags : own_tags) {
    for (const Packet& packet : every_kind()) {
      const Bytes strange = tagged(hex(tags), later_of(packet, 0x4321));
      EXPECT_TRUE(kernels(strange, MSTACK_RX_PASS_FRAGMENT)) << tags;
      for (const Bytes& frame : {first_of(packet), later_of(packet), last_of(packet)}) {
        const Bytes one = tagged(hex(tags), frame);
        EXPECT_TRUE(steered(arrive(one), one, 1)) << tags;
      }
    }
  }
}

TEST_F(UplinkRxVlan, IcmpErrorsAreSteeredByTheirQuote) {
  for (const char* tags : own_tags) {
    for (const Packet& answered : every_kind()) {
      Packet sent = answered;
      std::swap(sent.from, sent.to);
      std::swap(sent.from_port, sent.to_port);
      const IcmpKind kind = is_six(answered) ? too_big6 : too_big4;
      const Bytes frame = tagged(hex(tags), icmp_error(answered, kind, quote_of(sent)));
      EXPECT_TRUE(steered(arrive(frame), frame, 1)) << tags;
      sent.from_port = 8;
      const Bytes others = tagged(hex(tags), icmp_error(answered, kind, quote_of(sent)));
      EXPECT_TRUE(kernels(others, MSTACK_RX_PASS_UNCLAIMED)) << tags;
    }
  }
}

TEST_F(UplinkRxVlan, AVlanThatIsGoneIsTheKernelsAtOnce) {
  const Bytes frame = tagged(hex("81 00 00 64"), Packet().bytes());
  EXPECT_TRUE(steered(arrive(frame), frame, 1));
  programs.remove_vlan(uplink, hex("81 00 00 64"));
  EXPECT_TRUE(kernels(frame));
}

// The size that counts is that behind the tags, and one tag more is let in by the kernel; a second is not.
TEST_F(UplinkRxVlan, TheSizeBehindTheTagsIsWhatCounts) {
  Netns::ip("link add small type veth peer name far-small\nlink set small mtu 1900");
  programs.set_device(1, Netns::ifindex("small"));
  const auto of_size = [](std::size_t size) {
    Packet packet;
    packet.payload = zeros(size - 28);
    return packet.bytes();
  };
  for (const char* tags : {"81 00 00 64", "88 a8 00 c8"}) {
    EXPECT_TRUE(did(arrive(tagged(hex(tags), of_size(1900))), XDP_REDIRECT, MSTACK_RX_STEERED)) << tags;
    EXPECT_TRUE(did(arrive(tagged(hex(tags), of_size(1901))), XDP_DROP, MSTACK_RX_DROP_TOO_BIG)) << tags;
  }
  EXPECT_TRUE(did(arrive(tagged(hex(own_tags[2]), of_size(1896))), XDP_REDIRECT, MSTACK_RX_STEERED));
  EXPECT_TRUE(did(arrive(tagged(hex(own_tags[2]), of_size(1897))), XDP_DROP, MSTACK_RX_DROP_TOO_BIG));
  EXPECT_TRUE(did(arrive(of_size(1901)), XDP_DROP, MSTACK_RX_DROP_TOO_BIG));
}

}  // namespace
}  // namespace bpf_test
