// SPDX-License-Identifier: BSD-2-Clause
// Fragments from the wire follow the first of their datagram, and nothing else.
#include "fragment_packets.hpp"
#include "uplink_rx_fixture.hpp"

namespace bpf_test {
namespace {

class UplinkRxFragment : public UplinkRx {
 protected:
  UplinkRxFragment() { claim_everything(); }
  testing::AssertionResult follows(const Bytes& frame, std::uint16_t slot = 1) {
    return steered(receive(frame), frame, slot);
  }
  testing::AssertionResult is_the_kernels(const Bytes& frame, mstack_verdict reason = MSTACK_RX_PASS_FRAGMENT) {
    return passed(receive(frame), frame, reason);
  }
};

// As it is on the wire, with no help: a UDP datagram of 3,000 bytes from 198.51.100.2:40000 to 192.0.2.1:7.
TEST_F(UplinkRxFragment, LiteralIpv4) {
  const Bytes first =
      hex("02 00 00 00 00 01 02 00 00 00 00 02 08 00"
          "45 00 00 2c be ef 20 00 40 11 af 9a c6 33 64 02 c0 00 02 01"
          "9c 40 00 07 0b b8 12 34 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f");
  const Bytes later =
      hex("02 00 00 00 00 01 02 00 00 00 00 02 08 00"
          "45 00 00 1c be ef 20 03 40 11 af a7 c6 33 64 02 c0 00 02 01"
          "10 11 12 13 14 15 16 17");
  EXPECT_TRUE(is_the_kernels(later));
  EXPECT_TRUE(follows(first));
  EXPECT_TRUE(follows(later));
}

TEST_F(UplinkRxFragment, LiteralIpv6) {
  const Bytes first =
      hex("02 00 00 00 00 01 02 00 00 00 00 02 86 dd"
          "60 00 00 00 00 20 2c 40 20 01 0d b8 00 0f 00 00 00 00 00 00 00 00 00 02"
          "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01"
          "11 00 00 01 de ad be ef"
          "9c 40 00 07 0b b8 12 34 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f");
  const Bytes last =
      hex("02 00 00 00 00 01 02 00 00 00 00 02 86 dd"
          "60 00 00 00 00 0b 2c 40 20 01 0d b8 00 0f 00 00 00 00 00 00 00 00 00 02"
          "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01"
          "11 00 00 18 de ad be ef 10 11 12");
  EXPECT_TRUE(is_the_kernels(last));
  EXPECT_TRUE(follows(first));
  EXPECT_TRUE(follows(last));
}

TEST_F(UplinkRxFragment, AllOfADatagramFollowTheFirst) {
  std::uint32_t id = 1;
  for (const Packet& packet : every_kind()) {
    ++id;
    EXPECT_TRUE(is_the_kernels(later_of(packet, id))) << "no first is known";
    EXPECT_TRUE(follows(first_of(packet, id)));
    for (int again = 0; again < 2; ++again) {
      EXPECT_TRUE(follows(later_of(packet, id)));
      EXPECT_TRUE(follows(last_of(packet, id)));
    }
  }
}

TEST_F(UplinkRxFragment, OnTheQueueOfTheFirst) {
  std::map<std::uint16_t, int> queues;
  for (const char* address : {"192.0.2.1", "2001:db8::1"})
    programs.claim(tuple(address, 9, proto_udp), {.slot = 1, .queues = 4});
  for (std::uint16_t flow = 0; flow < 32; ++flow) {
    for (Packet packet : {ip4(proto_udp), ip6(proto_udp)}) {
      packet.to_port = 9;
      packet.from_port = static_cast<std::uint16_t>(1000 + flow * 7);
      const Outcome first = receive(first_of(packet, 0x4000U + flow));
      ASSERT_EQ(first.action, XDP_REDIRECT);
      const auto slot = static_cast<std::uint16_t>(first.frame.at(4) << 8 | first.frame.at(5));
      EXPECT_TRUE(follows(later_of(packet, 0x4000U + flow), slot));
      // The queue of the whole packets of the flow.
      EXPECT_TRUE(follows(packet.bytes(), slot));
      ++queues[slot];
    }
  }
  EXPECT_EQ(queues.size(), 4U);
}

// Each part of the key by itself.
TEST_F(UplinkRxFragment, OfAnotherDatagramIsTheKernels) {
  std::uint32_t id = 0x1000;
  for (const Packet& packet : every_kind()) {
    id += 2;
    EXPECT_TRUE(follows(first_of(packet, id)));
    const bool six = packet.from.find(':') != std::string_view::npos;
    EXPECT_TRUE(is_the_kernels(later_of(packet, id + 1))) << "id";
    Packet other = packet;
    other.from = six ? "2001:db8:f::3" : "198.51.100.3";
    EXPECT_TRUE(is_the_kernels(later_of(other, id))) << "source";
    other = packet;
    other.to = six ? "2001:db8::2" : "192.0.2.2";
    EXPECT_TRUE(is_the_kernels(later_of(other, id))) << "destination";
    other = packet;
    other.protocol = packet.protocol == proto_udp ? proto_tcp : proto_udp;
    // RFC 8200, 4.5: only the first fragment's next header counts.
    if (six)
      EXPECT_TRUE(follows(later_of(other, id)));
    else
      EXPECT_TRUE(is_the_kernels(later_of(other, id))) << "protocol";
  }
  // An IPv6 id that has the IPv4 one in it.
  EXPECT_TRUE(follows(first_of(ip6(proto_udp), 0x00011234)));
  EXPECT_TRUE(is_the_kernels(later_of(ip6(proto_udp), 0x00021234)));
}

TEST_F(UplinkRxFragment, OfADatagramOfTheKernelStayItsOwn) {
  for (Packet packet : every_kind()) {
    packet.to_port = 8;
    EXPECT_TRUE(is_the_kernels(first_of(packet), MSTACK_RX_PASS_UNCLAIMED));
    EXPECT_TRUE(is_the_kernels(later_of(packet)));
  }
}

// A sender uses an id again: what follows belongs to the newest first.
TEST_F(UplinkRxFragment, TheNewestFirstDecides) {
  programs.claim(tuple("192.0.2.1", 9, proto_udp), {.vport = 2, .slot = 2});
  programs.claim(tuple("2001:db8::1", 9, proto_udp), {.vport = 2, .slot = 2});
  for (const Packet& stack : {ip4(proto_udp), ip6(proto_udp)}) {
    Packet other = stack, kernel = stack;
    other.to_port = 9;
    kernel.to_port = 8;
    EXPECT_TRUE(follows(first_of(stack)));
    EXPECT_TRUE(follows(first_of(other), 2));
    EXPECT_TRUE(follows(later_of(stack), 2));
    EXPECT_TRUE(is_the_kernels(first_of(kernel), MSTACK_RX_PASS_UNCLAIMED));
    EXPECT_TRUE(is_the_kernels(later_of(stack))) << "the kernel has the first";
    // Also one that is too short to say whose it is, and one with options that are not walked.
    EXPECT_TRUE(follows(first_of(stack)));
    EXPECT_TRUE(is_the_kernels(fragment_of(stack, zeros(0), {}), MSTACK_RX_PASS_MALFORMED));
    EXPECT_TRUE(is_the_kernels(later_of(stack)));
    EXPECT_TRUE(follows(first_of(stack)));
    EXPECT_TRUE(
        is_the_kernels(fragment_of(stack, slice(head_of(stack), 0, 4) + zeros(0), {}), MSTACK_RX_PASS_MALFORMED));
    EXPECT_TRUE(is_the_kernels(later_of(stack)));
  }
  Packet routed = ip4(proto_udp);
  EXPECT_TRUE(follows(first_of(routed)));
  routed.options = hex("83 07 04 c0 00 02 09 00");
  EXPECT_TRUE(is_the_kernels(first_of(routed), MSTACK_RX_PASS_HEADERS));
  EXPECT_TRUE(is_the_kernels(later_of(ip4(proto_udp))));
}

// A claim's end is the end of what was known of its datagrams, also if another has the tuple by then.
TEST_F(UplinkRxFragment, NoEntryOutlivesItsClaim) {
  for (const Packet& packet : {ip4(proto_udp), ip6(proto_udp)}) {
    const mstack_tuple owned = tuple(packet.to, 7, proto_udp);
    EXPECT_TRUE(follows(first_of(packet)));
    EXPECT_TRUE(follows(later_of(packet)));
    programs.unclaim(owned);
    EXPECT_TRUE(is_the_kernels(later_of(packet))) << "released";
    programs.claim(owned, {.vport = 1, .slot = 1, .cookie = 0xbeef});
    EXPECT_TRUE(is_the_kernels(later_of(packet))) << "another socket of the same vport";
    programs.claim(owned, {.vport = 2, .slot = 1});
    EXPECT_TRUE(is_the_kernels(later_of(packet))) << "another vport in the same slot";
    programs.claim(owned, {.state = MSTACK_CLAIM_PENDING});
    EXPECT_TRUE(is_the_kernels(later_of(packet))) << "pending";
    programs.claim(owned);
    EXPECT_TRUE(follows(later_of(packet))) << "the same owner's again";
  }
}

TEST_F(UplinkRxFragment, UnderAWildcardClaim) {
  programs.claim(tuple("0.0.0.0", 9, proto_udp), {.vport = 2, .slot = 2});
  programs.claim(tuple("::", 9, proto_udp), {.vport = 2, .slot = 2});
  for (Packet packet : {ip4(proto_udp), ip6(proto_udp)}) {
    packet.to_port = 9;
    EXPECT_TRUE(follows(first_of(packet), 2));
    EXPECT_TRUE(follows(later_of(packet), 2));
    programs.foreign(packet.to);
    EXPECT_TRUE(is_the_kernels(later_of(packet))) << "no longer this host's address";
    EXPECT_TRUE(is_the_kernels(first_of(packet), MSTACK_RX_PASS_NOT_LOCAL));
    programs.local(packet.to);
    EXPECT_TRUE(is_the_kernels(later_of(packet))) << "the newest first was not ours";
  }
}

// RFC 1858, RFC 3128, RFC 5722: what would overwrite what was looked at.
TEST_F(UplinkRxFragment, NothingOverlapsTheFirst) {
  for (const Packet& packet : every_kind()) {
    EXPECT_TRUE(follows(first_of(packet)));
    for (const std::uint32_t offset : {8U, 16U})
      EXPECT_TRUE(is_the_kernels(later_of(packet, 0x1234, offset), MSTACK_RX_PASS_OVERLAP)) << offset;
    EXPECT_TRUE(follows(later_of(packet, 0x1234, 24)));
  }
}

// A first that does not hold the whole transport header says nothing.
TEST_F(UplinkRxFragment, TinyFirstFragments) {
  for (const Packet& packet : every_kind()) {
    const std::size_t header = packet.protocol == proto_udp ? 8 : 20;
    for (std::size_t size = 0; size < header; ++size) {
      const Bytes frame = fragment_of(packet, slice(head_of(packet), 0, size), {});
      EXPECT_TRUE(is_the_kernels(frame, MSTACK_RX_PASS_MALFORMED)) << size;
    }
    EXPECT_TRUE(is_the_kernels(later_of(packet)));
  }
  // A TCP header that says it is longer than the fragment.
  const Packet tcp = ip4(proto_tcp);
  const Bytes head = patch(head_of(tcp), 12, hex("f0"));
  EXPECT_TRUE(is_the_kernels(fragment_of(tcp, head, {}), MSTACK_RX_PASS_MALFORMED));
  // UDP of exactly its header, and a length that does not even count that.
  const Packet udp = ip4(proto_udp);
  EXPECT_TRUE(follows(fragment_of(udp, head_of(udp, 8), {})));
  EXPECT_TRUE(is_the_kernels(fragment_of(udp, head_of(udp, 8, 7), {}), MSTACK_RX_PASS_MALFORMED));
}

TEST_F(UplinkRxFragment, CutWrong) {
  for (const Packet& packet : every_kind()) {
    EXPECT_TRUE(follows(first_of(packet)));
    EXPECT_TRUE(is_the_kernels(fragment_of(packet, zeros(17), {.offset = 24}), MSTACK_RX_PASS_MALFORMED))
        << "not the last, and not a multiple of 8";
    EXPECT_TRUE(is_the_kernels(fragment_of(packet, {}, {.offset = 24, .more = false}), MSTACK_RX_PASS_MALFORMED))
        << "empty";
    EXPECT_TRUE(
        is_the_kernels(fragment_of(packet, zeros(8), {.offset = 65528, .more = false}), MSTACK_RX_PASS_MALFORMED))
        << "beyond the end of any datagram";
    EXPECT_TRUE(follows(fragment_of(packet, zeros(7), {.offset = 65528, .more = false})));
    EXPECT_TRUE(is_the_kernels(fragment_of(packet, head_of(packet, 25), {}), MSTACK_RX_PASS_MALFORMED));
    EXPECT_TRUE(is_the_kernels(later_of(packet))) << "the newest first was malformed";
  }
}

// RFC 6946: a fragment header around a whole packet. It says nothing of other packets of its id.
TEST_F(UplinkRxFragment, AtomicFragmentsAreWholePackets) {
  for (const std::uint8_t protocol : {proto_udp, proto_tcp}) {
    Packet packet = ip6(protocol);
    packet.extensions = {{44, hex("00 00 00 00 00 00 12 34")}};
    EXPECT_TRUE(follows(packet.bytes()));
    EXPECT_TRUE(is_the_kernels(later_of(ip6(protocol))));
    packet.extensions = {{60, hex("00 00 01 04 00 00 00 00")}, {44, hex("00 ff 00 06 00 00 12 34")}};
    EXPECT_TRUE(follows(packet.bytes())) << "reserved bits";
    packet.to_port = 8;
    EXPECT_TRUE(is_the_kernels(packet.bytes(), MSTACK_RX_PASS_UNCLAIMED));
    // Its lengths are those of a whole packet.
    const Bytes frame = ip6(protocol).bytes();
    const Bytes inner = slice(frame, 54, frame.size() - 55);
    EXPECT_TRUE(is_the_kernels(
        fragment_of(ip6(protocol), slice(inner, 0, protocol == proto_udp ? 11 : 19), {.offset = 0, .more = false}),
        MSTACK_RX_PASS_MALFORMED));
  }
}

TEST_F(UplinkRxFragment, HeadersAroundTheFragmentHeader) {
  const Extension options{60, hex("00 00 01 04 00 00 00 00")};
  for (const std::uint8_t protocol : {proto_udp, proto_tcp}) {
    Packet packet = ip6(protocol);
    packet.extensions = {options};
    EXPECT_TRUE(follows(first_of(packet)));
    EXPECT_TRUE(follows(later_of(packet)));
    // Behind it, in the first fragment: a destination options header, then the ports.
    Packet outer = ip6(60);
    const Bytes data = Bytes{protocol} + hex("00 01 04 00 00 00 00") + head_of(ip6(protocol));
    const Bytes first = fragment_of(outer, data, {.id = 7});
    EXPECT_TRUE(follows(first));
    EXPECT_TRUE(follows(later_of(outer, 7, 32)));
    EXPECT_TRUE(is_the_kernels(later_of(outer, 7, 8), MSTACK_RX_PASS_OVERLAP)) << "where the ports are";
    // RFC 8200: all headers must be in the first.
    EXPECT_TRUE(is_the_kernels(fragment_of(outer, slice(data, 0, 8), {.id = 8}), MSTACK_RX_PASS_MALFORMED));
  }
  // A fragment in a fragment, and other protocols in one.
  Packet nested = ip6(44);
  EXPECT_EQ(receive(fragment_of(nested, hex("11 00 00 01 00 00 00 09") + head_of(ip6(proto_udp)), {})).action,
            XDP_PASS);
  for (const std::uint8_t protocol : {1, 47, 50}) {
    EXPECT_TRUE(is_the_kernels(fragment_of(ip4(protocol), zeros(24), {}), MSTACK_RX_PASS_PROTOCOL)) << int{protocol};
    EXPECT_TRUE(is_the_kernels(later_of(ip4(protocol)))) << int{protocol};
  }
}

TEST_F(UplinkRxFragment, WithIpv4Options) {
  Packet packet = ip4(proto_udp);
  packet.options = hex("94 04 00 00");
  EXPECT_TRUE(follows(first_of(packet)));
  EXPECT_TRUE(follows(later_of(packet)));
  packet.options = hex("83 07 04 c0 00 02 09 00");
  EXPECT_TRUE(is_the_kernels(later_of(packet), MSTACK_RX_PASS_HEADERS));
}

TEST_F(UplinkRxFragment, EveryTruncation) {
  for (const Packet& packet : every_kind()) {
    const Bytes first = first_of(packet), later = later_of(packet);
    for (std::size_t length = 14; length < first.size(); ++length)
      EXPECT_TRUE(is_the_kernels(cut(first, length), MSTACK_RX_PASS_MALFORMED)) << length;
    EXPECT_TRUE(follows(first));
    for (std::size_t length = 14; length < later.size(); ++length)
      EXPECT_TRUE(is_the_kernels(cut(later, length), MSTACK_RX_PASS_MALFORMED)) << length;
    EXPECT_TRUE(follows(later));
  }
}

// A flood of firsts to one stack costs others nothing but what they have in fragments. It fills a fifth of the 16,384
// places: of the 64 that come after it, some dozen are to take one of those.
TEST_F(UplinkRxFragment, AFloodOfFirstsHurtsNothingWhole) {
  programs.claim(tuple("192.0.2.1", 9, proto_udp), {.vport = 2, .slot = 2});
  Packet other = ip4(proto_udp);
  other.to_port = 9;
  for (std::uint32_t id = 0; id < 4000; ++id) {
    const Outcome outcome = receive(first_of(ip4(proto_udp), id));
    ASSERT_EQ(outcome.action, XDP_REDIRECT) << id;
  }
  EXPECT_TRUE(follows(other.bytes(), 2));
  for (std::uint32_t id = 0; id < 64; ++id) {
    EXPECT_TRUE(follows(first_of(other, 0x8000 + id), 2));
    EXPECT_TRUE(follows(later_of(other, 0x8000 + id), 2));
  }
  other.to_port = 8;
  EXPECT_TRUE(is_the_kernels(other.bytes(), MSTACK_RX_PASS_UNCLAIMED));
}

}  // namespace
}  // namespace bpf_test
