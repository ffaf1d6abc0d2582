// SPDX-License-Identifier: BSD-2-Clause
// A stack may send ICMP errors about packets to its own tuples, at a bounded rate, and no other ICMP.
#include <chrono>
#include <string>

#include "icmp_packets.hpp"
#include "tx_fixture.hpp"

namespace bpf_test {
namespace {

class VportTxIcmp : public VportTx {
 protected:
  // What a peer has sent to port 7.
  static Packet received(Packet packet) {
    std::swap(packet.from, packet.to);
    std::swap(packet.from_port, packet.to_port);
    return packet;
  }
  static Bytes error_about(const Packet& packet, IcmpKind kind, const Bytes& quote) {
    return icmp_error(is_six(packet) ? udp6() : udp4(), kind, quote);
  }
  static Bytes error_about(const Packet& packet) {
    return error_about(packet, is_six(packet) ? errors6[1] : errors4[2], quote_of(packet));
  }
};

TEST_F(VportTxIcmp, ErrorsAboutPacketsToAnOwnTuple) {
  for (Packet packet : {received(udp4()), received(udp6())}) {
    for (const std::uint8_t protocol : {proto_tcp, proto_udp, proto_sctp}) {
      packet.protocol = protocol;
      for (const auto& kind : is_six(packet) ? errors6 : errors4) {
        const Bytes frame = error_about(packet, kind, quote_of(packet));
        EXPECT_TRUE(sent(transmit(frame), frame)) << int{protocol} << " " << int{kind.type} << int{kind.code};
      }
    }
  }
}

// What a peer believes of the path's MTU it believes of the whole address: other people's flows too.
TEST_F(VportTxIcmp, TooBigIsForRouters) {
  EXPECT_TRUE(dropped(error_about(received(udp4()), too_big4, quote_of(received(udp4()))), MSTACK_TX_DROP_ICMP));
  EXPECT_TRUE(dropped(error_about(received(udp6()), too_big6, quote_of(received(udp6()))), MSTACK_TX_DROP_ICMP));
}

TEST_F(VportTxIcmp, AboutAPacketToATupleThatIsNotItsOwn) {
  programs.claim(tuple("192.0.2.1", 9, proto_udp), {.vport = 2, .slot = 2, .cookie = 2});
  programs.claim(tuple("2001:db8::1", 9, proto_udp), {.vport = 2, .slot = 2, .cookie = 2});
  for (Packet packet : {received(udp4()), received(udp6())}) {
    packet.to_port = 8;
    EXPECT_TRUE(dropped(error_about(packet), MSTACK_TX_DROP_UNCLAIMED));
    packet.to_port = 9;
    EXPECT_TRUE(dropped(error_about(packet), MSTACK_TX_DROP_NOT_OWNER));
  }
}

// It speaks from the address that the packet was sent to, and to the one that sent it: an error from elsewhere, or to a
// third party about a packet that is not its own, is what an attacker makes.
TEST_F(VportTxIcmp, FromOrToAnotherAddressThanTheQuoteHas) {
  for (const Packet& packet : {received(udp4()), received(udp6())}) {
    const IcmpKind kind = is_six(packet) ? errors6[1] : errors4[2];
    Packet outer = is_six(packet) ? udp6() : udp4();
    outer.from = is_six(packet) ? "2001:db8:a::1" : "203.0.113.1";  // of this host, but not the quote's
    EXPECT_TRUE(dropped(icmp_error(outer, kind, quote_of(packet)), MSTACK_TX_DROP_ICMP));
    outer = is_six(packet) ? udp6() : udp4();
    for (const char* to : {"192.0.2.98", "224.0.0.1", "2001:db8::98", "ff02::1"}) {
      if (std::string_view(to).contains(':') != is_six(packet)) continue;
      outer.to = to;
      EXPECT_TRUE(dropped(icmp_error(outer, kind, quote_of(packet)), MSTACK_TX_DROP_ICMP)) << to;
    }
    // About a packet that it sent itself, as if it were a router.
    outer = is_six(packet) ? udp6() : udp4();
    EXPECT_TRUE(dropped(icmp_error(outer, kind, quote_of(outer)), MSTACK_TX_DROP_ICMP));
  }
}

TEST_F(VportTxIcmp, ToAPartyThatIsNone) {
  for (const char* from : {"255.255.255.255", "0.0.0.0", "127.0.0.1", "::", "::1"}) {
    Packet packet = std::string_view(from).contains(':') ? received(udp6()) : received(udp4());
    packet.from = from;
    Packet outer = is_six(packet) ? udp6() : udp4();
    outer.to = from;
    const Bytes frame = icmp_error(outer, is_six(packet) ? errors6[1] : errors4[2], quote_of(packet));
    EXPECT_TRUE(dropped(frame, MSTACK_TX_DROP_DESTINATION)) << from;
  }
  for (const char* group : {"224.0.0.1", "ff02::1"}) {
    Packet packet = std::string_view(group).contains(':') ? received(udp6()) : received(udp4());
    packet.from = group;
    Packet outer = is_six(packet) ? udp6() : udp4();
    outer.to = group;
    const Bytes frame = icmp_error(outer, is_six(packet) ? errors6[1] : errors4[2], quote_of(packet));
    EXPECT_TRUE(dropped(frame, MSTACK_TX_DROP_ICMP)) << group;
  }
}

TEST_F(VportTxIcmp, NothingElseOfIcmp) {
  for (const std::uint8_t type : {0, 4, 5, 8, 9, 10, 13, 17, 40}) {
    const Bytes frame = error_about(received(udp4()), {type, 0}, quote_of(received(udp4())));
    EXPECT_TRUE(dropped(frame, MSTACK_TX_DROP_PROTOCOL)) << int{type};
  }
  for (const std::uint8_t type : {0, 5, 100, 128, 129, 130, 131, 133, 134, 136, 137, 143}) {
    const Bytes frame = error_about(received(udp6()), {type, 0}, quote_of(received(udp6())));
    EXPECT_TRUE(dropped(frame, MSTACK_TX_DROP_PROTOCOL)) << int{type};
  }
}

TEST_F(VportTxIcmp, QuotesThatAreNotWhole) {
  for (const Packet& packet : {received(udp4()), received(udp6())}) {
    const IcmpKind kind = is_six(packet) ? errors6[1] : errors4[2];
    const Bytes whole = quote_of(packet);
    const std::size_t header = is_six(packet) ? 40 : 20;
    for (std::size_t length = 0; length < header + 8; ++length) {
      EXPECT_TRUE(dropped(error_about(packet, kind, cut(whole, length)), MSTACK_TX_DROP_ICMP)) << length;
    }
    const Bytes frame = error_about(packet, kind, cut(whole, header + 8));
    EXPECT_TRUE(sent(transmit(frame), frame));
    for (std::size_t length = 14; length < frame.size(); ++length) {
      EXPECT_TRUE(dropped(cut(frame, length), MSTACK_TX_DROP_MALFORMED)) << length;
    }
  }
  const Bytes later = patch(quote_of(received(udp4())), 6, hex("00 01"));
  EXPECT_TRUE(dropped(error_about(received(udp4()), errors4[2], later), MSTACK_TX_DROP_ICMP));
  const Bytes ping = patch(quote_of(received(udp4())), 9, {proto_icmp});
  EXPECT_TRUE(dropped(error_about(received(udp4()), errors4[2], ping), MSTACK_TX_DROP_ICMP));
}

// Fifty at once: however long this takes, the rest does not fit into the pace of one a millisecond and queue.
TEST_F(VportTxIcmp, NoMoreThanItsRate) {
  const Bytes frame = error_about(received(udp4()));
  int allowed = 0, refused = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 400; ++i) {
    const Outcome outcome = transmit(frame);
    if (outcome.action == XDP_REDIRECT) ++allowed;
    if (did(outcome, XDP_DROP, MSTACK_TX_DROP_ICMP_RATE, own_slot)) ++refused;
  }
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin);
  EXPECT_EQ(allowed + refused, 400);
  EXPECT_GE(allowed, 50);
  EXPECT_LE(allowed, 50 + took.count() + 1);
  // What it sends from its tuple otherwise is not slowed down by that.
  EXPECT_TRUE(sent(transmit(udp4().bytes()), udp4().bytes()));
}

// The slow path looks at all of it again.
TEST_F(VportTxIcmp, BySlowPath) {
  for (Packet packet : {received(udp4()), received(udp6())}) {
    packet.from = is_six(packet) ? "2001:db8::77" : "192.0.2.77";
    Packet outer = is_six(packet) ? udp6() : udp4();
    outer.to = packet.from;
    const IcmpKind kind = is_six(packet) ? errors6[1] : errors4[2];
    const Bytes good = icmp_error(outer, kind, quote_of(packet));
    EXPECT_TRUE(did(transmit_through(good), TC_ACT_REDIRECT, MSTACK_TX_SENT_SLOW, own_slot));
    const Bytes too_big = icmp_error(outer, is_six(packet) ? too_big6 : too_big4, quote_of(packet));
    EXPECT_TRUE(did(programs.run("vport_tx_slow", too_big, host_end), TC_ACT_SHOT, MSTACK_TX_DROP_ICMP, own_slot));
    packet.to_port = 8;
    const Bytes others = icmp_error(outer, kind, quote_of(packet));
    EXPECT_TRUE(did(programs.run("vport_tx_slow", others, host_end), TC_ACT_SHOT, MSTACK_TX_DROP_UNCLAIMED, own_slot));
  }
}

}  // namespace
}  // namespace bpf_test
