// SPDX-License-Identifier: BSD-2-Clause
// ARP and neighbour discovery of a stack: a question about another's address is answered by the host end, and nothing
// of either ever gets further.
#include <string>

#include "tx_fixture.hpp"

namespace bpf_test {
namespace {

using VportTxAnswer = VportTx;

constexpr const char* stack_mac = "02 4d 53 00 00 01";
constexpr const char* host_mac = "02 4d 53 01 00 01";

Bytes arp(std::uint16_t operation, std::string_view sender, std::string_view target) {
  return hex("ff ff ff ff ff ff") + hex(stack_mac) + hex("08 06  00 01 08 00 06 04") + be16(operation) +
         hex(stack_mac) + ip(sender) + zeros(6) + ip(target);
}

// An ICMPv6 message in a frame, with a right checksum.
Bytes icmp6(std::string_view from, std::string_view to, const Bytes& message, std::uint8_t hop_limit = 255) {
  const Bytes summed = patch(message, 2, be16(pseudo_checksum(ip(from), ip(to), proto_icmp6, message)));
  return hex("33 33 ff 00 00 99") + hex(stack_mac) + hex("86 dd 60 00 00 00") +
         be16(static_cast<std::uint16_t>(summed.size())) + Bytes{proto_icmp6, hop_limit} + ip(from) + ip(to) + summed;
}

Bytes solicitation(std::string_view target, const Bytes& options) {
  return hex("87 00 00 00 00 00 00 00") + ip(target) + options;
}

const Bytes& source_option() {
  static const Bytes option = hex("01 01") + hex(stack_mac);
  return option;
}

TEST_F(VportTxAnswer, AnArpRequest) {
  const Bytes request =
      hex("ff ff ff ff ff ff  02 4d 53 00 00 01  08 06"
          "00 01 08 00 06 04 00 01"
          "02 4d 53 00 00 01  c0 00 02 01"
          "00 00 00 00 00 00  c0 00 02 63");
  const Outcome outcome = transmit(request);
  EXPECT_TRUE(did(outcome, XDP_TX, MSTACK_TX_ANSWERED, own_slot));
  EXPECT_EQ(outcome.frame, hex("02 4d 53 00 00 01  02 4d 53 01 00 01  08 06"
                               "00 01 08 00 06 04 00 02"
                               "02 4d 53 01 00 01  c0 00 02 63"
                               "02 4d 53 00 00 01  c0 00 02 01"));
  EXPECT_EQ(outcome.tx_bytes, 0U);
}

// Padded to 60 bytes, as a stack with an eye on real Ethernet sends it; unicast; for any address at all.
TEST_F(VportTxAnswer, AnArpRequestInAnyShape) {
  const Bytes padded = transmit(arp(1, "192.0.2.1", "192.0.2.99") + zeros(18)).frame;
  EXPECT_EQ(padded.size(), 60U);
  EXPECT_EQ(slice(padded, 20, 22), hex("00 02") + hex(host_mac) + ip("192.0.2.99") + hex(stack_mac) + ip("192.0.2.1"));
  for (const char* target : {"198.51.100.1", "203.0.113.99", "192.0.2.254"}) {
    const Bytes request = patch(arp(1, "192.0.2.1", target), 0, hex(host_mac));
    EXPECT_TRUE(did(transmit(request), XDP_TX, MSTACK_TX_ANSWERED, own_slot)) << target;
  }
}

TEST_F(VportTxAnswer, ArpThatIsNoQuestionAboutAnother) {
  EXPECT_TRUE(dropped(arp(1, "192.0.2.1", "192.0.2.1"), MSTACK_TX_DROP_ARP)) << "announcement";
  EXPECT_TRUE(dropped(arp(1, "0.0.0.0", "192.0.2.1"), MSTACK_TX_DROP_ARP)) << "probe";
  EXPECT_TRUE(dropped(arp(1, "0.0.0.0", "0.0.0.0"), MSTACK_TX_DROP_ARP));
  EXPECT_TRUE(dropped(arp(2, "192.0.2.99", "192.0.2.1"), MSTACK_TX_DROP_ARP)) << "reply: poison";
  EXPECT_TRUE(dropped(arp(2, "192.0.2.1", "192.0.2.1"), MSTACK_TX_DROP_ARP)) << "announcement by reply";
  for (const std::uint16_t operation : {0, 3, 4, 8, 9, 0x0100, 0x0200}) {
    EXPECT_TRUE(dropped(arp(operation, "192.0.2.1", "192.0.2.99"), MSTACK_TX_DROP_ARP)) << operation;
  }
}

TEST_F(VportTxAnswer, ArpThatIsMalformed) {
  const Bytes whole = arp(1, "192.0.2.1", "192.0.2.99");
  for (std::size_t length = 14; length < whole.size(); ++length) {
    EXPECT_TRUE(dropped(cut(whole, length), MSTACK_TX_DROP_MALFORMED)) << length;
  }
  // Hardware, protocol and their lengths are Ethernet's and IPv4's, or it is no ARP of ours.
  for (const auto& [offset, wrong] : {std::pair{14, "00 06"},
                                      {14, "01 00"},
                                      {16, "86 dd"},
                                      {16, "00 08"},
                                      {18, "08"},
                                      {18, "00"},
                                      {19, "10"},
                                      {19, "00"}}) {
    EXPECT_TRUE(dropped(patch(whole, static_cast<std::size_t>(offset), hex(wrong)), MSTACK_TX_DROP_MALFORMED))
        << offset << ": " << wrong;
  }
}

TEST_F(VportTxAnswer, ANeighbourSolicitation) {
  const Bytes request = icmp6("2001:db8::1", "ff02::1:ff00:99", solicitation("2001:db8::99", source_option()));
  const Outcome outcome = transmit(request);
  EXPECT_TRUE(did(outcome, XDP_TX, MSTACK_TX_ANSWERED, own_slot));
  EXPECT_EQ(outcome.frame, hex("02 4d 53 00 00 01  02 4d 53 01 00 01  86 dd"
                               "60 00 00 00 00 20 3a ff"
                               "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 99"
                               "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01"
                               "88 00 35 f6 60 00 00 00"
                               "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 99"
                               "02 01 02 4d 53 01 00 01"));
  // A right checksum over a message that holds its own makes zero.
  EXPECT_EQ(pseudo_checksum(ip("2001:db8::99"), ip("2001:db8::1"), proto_icmp6, slice(outcome.frame, l4_at_ip6, 32)),
            0);
  EXPECT_EQ(outcome.tx_bytes, 0U);
}

// Without options (unicast), with several, with padding behind: the answer is of one size and right each time.
TEST_F(VportTxAnswer, ASolicitationInAnyShape) {
  const std::vector<Bytes> shapes{
      icmp6("2001:db8::1", "2001:db8::99", solicitation("2001:db8::99", {})),
      icmp6("2001:db8::1", "2001:db8::99", solicitation("2001:db8::99", source_option() + hex("0e 01") + zeros(6))),
      icmp6("2001:db8::1", "2001:db8::99", solicitation("2001:db8::99", hex("0e 02") + zeros(14))),
      icmp6("2001:db8::1", "ff02::1:ff00:99", solicitation("2001:db8::99", source_option())) + zeros(10),
      icmp6("fe80::1", "ff02::1:ff00:99", solicitation("fe80::99", source_option())),
      icmp6("2001:db8::1", "ff02::1:ffff:fffe",
            solicitation("2001:db8:ffff:ffff:ffff:ffff:ffff:fffe", source_option())),
  };
  for (const Bytes& request : shapes) {
    const Outcome outcome = transmit(request);
    ASSERT_TRUE(did(outcome, XDP_TX, MSTACK_TX_ANSWERED, own_slot));
    ASSERT_EQ(outcome.frame.size(), 14U + 40 + 32);
    const Bytes from = slice(outcome.frame, l3_at + 8, 16);
    const Bytes to = slice(outcome.frame, l3_at + 24, 16);
    EXPECT_EQ(from, slice(request, l4_at_ip6 + 8, 16)) << "it comes from the address that was asked for";
    EXPECT_EQ(to, slice(request, l3_at + 8, 16)) << "and goes to who asked";
    EXPECT_EQ(pseudo_checksum(from, to, proto_icmp6, slice(outcome.frame, l4_at_ip6, 32)), 0);
    EXPECT_EQ(slice(outcome.frame, l4_at_ip6 + 24, 8), hex("02 01") + hex(host_mac));
  }
}

TEST_F(VportTxAnswer, ASolicitationOfAnotherSlotGetsItsOwnGateway) {
  const Bytes request = icmp6("2001:db8::1", "ff02::1:ff00:99", solicitation("2001:db8::99", source_option()));
  const Outcome outcome = programs.run("vport_tx", request, Netns::ifindex("host1"));
  EXPECT_TRUE(did(outcome, XDP_TX, MSTACK_TX_ANSWERED, 2));
  EXPECT_EQ(slice(outcome.frame, 0, 12), hex("02 4d 53 00 00 02 02 4d 53 01 00 02"));
  EXPECT_EQ(slice(outcome.frame, l4_at_ip6 + 26, 6), hex("02 4d 53 01 00 02"));
}

TEST_F(VportTxAnswer, Icmpv6ThatIsNoQuestionAboutAnother) {
  const Bytes target = ip("2001:db8::1");
  const auto drops = [&](const Bytes& frame, const char* what) {
    EXPECT_TRUE(dropped(frame, MSTACK_TX_DROP_PROTOCOL)) << what;
  };
  drops(icmp6("::", "ff02::1:ff00:1", solicitation("2001:db8::1", {})), "duplicate address detection");
  drops(icmp6("::", "ff02::1:ff00:1", solicitation("2001:db8::1", hex("0e 01 01 02 03 04 05 06"))), "with a nonce");
  drops(icmp6("2001:db8::1", "ff02::1:ff00:1", solicitation("2001:db8::1", source_option())), "for its own address");
  drops(icmp6("2001:db8::1", "ff02::1", hex("88 00 00 00 20 00 00 00") + target + hex("02 01") + hex(stack_mac)),
        "unsolicited advertisement");
  drops(icmp6("2001:db8::99", "2001:db8::1", hex("88 00 00 00 60 00 00 00") + target), "advertisement");
  drops(icmp6("fe80::1", "ff02::2", hex("85 00 00 00 00 00 00 00")), "router solicitation");
  drops(icmp6("fe80::1", "ff02::1", hex("86 00 00 00 40 00 07 08 00 00 00 00 00 00 00 00")), "router advertisement");
  drops(icmp6("fe80::1", "2001:db8::99", hex("89 00 00 00 00 00 00 00") + target + ip("2001:db8:f::1")), "redirect");
  drops(icmp6("2001:db8::1", "2001:db8::99", hex("80 00 00 00 12 34 00 01 61 62 63 64")), "echo request");
  drops(icmp6("2001:db8::1", "2001:db8::99", hex("81 00 00 00 12 34 00 01 61 62 63 64")), "echo reply");
  drops(icmp6("2001:db8::1", "ff02::16", hex("8f 00 00 00 00 00 00 01 04 00 00 00") + ip("ff02::1:ff00:1")), "MLD");
}

// RFC 4861, 7.1.1: none of these may be answered, and each says that something is wrong with the stack.
TEST_F(VportTxAnswer, ASolicitationThatIsMalformed) {
  const auto malformed = [&](const Bytes& frame, const std::string& what) {
    EXPECT_TRUE(dropped(frame, MSTACK_TX_DROP_MALFORMED)) << what;
  };
  const std::string_view from = "2001:db8::1";
  const std::string_view to = "ff02::1:ff00:99";
  const Bytes whole = icmp6(from, to, solicitation("2001:db8::99", source_option()));
  for (std::size_t length = 14; length < whole.size(); ++length) malformed(cut(whole, length), std::to_string(length));

  const Bytes bare = solicitation("2001:db8::99", {});
  for (std::size_t length = 8; length < bare.size(); ++length) {
    malformed(icmp6(from, to, cut(bare, length)), "message of " + std::to_string(length));
    // The packet ends there, though the frame goes on.
    malformed(icmp6(from, to, cut(bare, length)) + zeros(64), "padded message of " + std::to_string(length));
  }
  // The packet ends before its type: what comes then is padding, and says nothing.
  for (std::uint16_t length = 0; length < 8; ++length) {
    malformed(patch(icmp6(from, to, patch(bare, 0, {136})), l3_at + 4, be16(length)), "padding as a message");
  }
  for (const std::uint8_t hop_limit : {0, 1, 64, 254}) {
    malformed(icmp6(from, to, bare, hop_limit), "hop limit " + std::to_string(hop_limit));
  }
  malformed(icmp6(from, to, patch(bare, 1, {1})), "code 1");
  malformed(icmp6(from, to, solicitation("ff02::1", {})), "target is multicast");
  malformed(icmp6(from, to, bare + hex("01 00 00 00 00 00 00 00")), "option of no length");
  malformed(icmp6(from, to, bare + hex("01 02 00 00 00 00 00 00")), "option beyond the packet");
  malformed(icmp6(from, to, bare + hex("01 ff 00 00 00 00 00 00")) + zeros(128), "option into the padding");
  malformed(icmp6(from, to, bare + source_option() + hex("0e 00 00 00 00 00 00 00")), "second option of no length");
  for (std::size_t rest = 1; rest < 8; ++rest) {
    malformed(icmp6(from, to, bare + cut(hex("01 01 02 4d 53 00 00 01"), rest)), "a rest of " + std::to_string(rest));
  }
}

// Behind an extension header it would have to be answered with one: dropped, and not answered into the wrong bytes.
TEST_F(VportTxAnswer, ASolicitationBehindAnExtensionHeaderIsDropped) {
  Packet outer = udp6();
  outer.protocol = proto_icmp6;
  outer.to = "ff02::1:ff00:99";
  outer.extensions = {{60, hex("00 00 01 04 00 00 00 00")}};
  const Bytes frame = patch(around(outer, solicitation("2001:db8::99", source_option())), l3_at + 7, {255});
  EXPECT_TRUE(dropped(frame, MSTACK_TX_DROP_PROTOCOL));
}

}  // namespace
}  // namespace bpf_test
