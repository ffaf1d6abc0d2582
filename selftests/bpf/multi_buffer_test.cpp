// SPDX-License-Identifier: BSD-2-Clause
// Frames of several buffers: a test run gives a program what is beyond a page in further ones, as drivers do.
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <string>

#include "tx_fixture.hpp"
#include "uplink_rx_fixture.hpp"

namespace bpf_test {
namespace {

// More than a page holds beside the kernel's own data, in every size of page that test runs have been seen to use.
constexpr std::size_t jumbo = 9000;

Packet as_jumbo(Packet packet, std::size_t mtu = jumbo) {
  const std::size_t headers = packet.bytes().size() - 14 - packet.payload.size();
  packet.payload.clear();
  for (std::size_t i = 0; i + headers < mtu; ++i) packet.payload.push_back(static_cast<std::uint8_t>(i * 7 + i / 251));
  return packet;
}

TEST_F(UplinkRx, SteersFramesOfSeveralBuffers) {
  Netns::ip("link set lo mtu 65536");
  for (const Packet& kind : every_kind()) {
    const Packet packet = as_jumbo(kind);
    const Bytes frame = packet.bytes();
    ASSERT_EQ(frame.size(), 14 + jumbo);
    const mstack_tuple key = tuple(packet.to, 7, packet.protocol);
    EXPECT_TRUE(passed(receive(frame), frame, MSTACK_RX_PASS_UNCLAIMED));
    programs.claim(key);
    EXPECT_TRUE(steered(receive(frame), frame, 1));
    // What lies beyond the frame's end does not make it longer.
    EXPECT_TRUE(passed(receive(cut(frame, 8000)), cut(frame, 8000), MSTACK_RX_PASS_MALFORMED));
    EXPECT_TRUE(passed(receive(cut(frame, frame.size() - 1)), cut(frame, frame.size() - 1), MSTACK_RX_PASS_MALFORMED));
    programs.unclaim(key);
  }
}

// By the whole frame, not by what is in its first buffer.
TEST_F(UplinkRx, DropsWhatIsLargerThanTheVportsDevice) {
  Netns::ip("link set lo mtu 9000");
  claim_everything();
  for (const Packet& kind : every_kind()) {
    EXPECT_TRUE(did(receive(as_jumbo(kind, 9000).bytes()), XDP_REDIRECT, MSTACK_RX_STEERED));
    EXPECT_TRUE(did(receive(as_jumbo(kind, 9001).bytes()), XDP_DROP, MSTACK_RX_DROP_TOO_BIG));
    // Padding counts: a device would look at the frame.
    Packet padded = as_jumbo(kind, 8990);
    padded.padding = zeros(11);
    EXPECT_TRUE(did(receive(padded.bytes()), XDP_DROP, MSTACK_RX_DROP_TOO_BIG));
    padded = as_jumbo(kind, 1800);
    padded.padding = zeros(7201);
    EXPECT_TRUE(did(receive(padded.bytes()), XDP_DROP, MSTACK_RX_DROP_TOO_BIG));
  }
  Netns::ip("link set lo mtu 3000");
  for (const Packet& kind : every_kind())
    EXPECT_TRUE(did(receive(as_jumbo(kind).bytes()), XDP_DROP, MSTACK_RX_DROP_TOO_BIG));
}

TEST_F(VportTx, SendsFramesOfSeveralBuffers) {
  Netns::ip("link set up0 mtu 9000");
  for (const Packet& kind : every_kind()) {
    const Bytes frame = as_jumbo(kind).bytes();
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(sent(transmit(frame), frame));
    // A small one of the same flow is remembered, a large one after it measured all the same.
    EXPECT_TRUE(sent(transmit(kind.bytes()), kind.bytes()));
    EXPECT_TRUE(sent(transmit(frame), frame));
    EXPECT_TRUE(dropped(as_jumbo(kind, 9001).bytes(), MSTACK_TX_DROP_TOO_BIG));
    Packet padded = as_jumbo(kind, 100);
    padded.padding = zeros(9000);
    EXPECT_TRUE(dropped(padded.bytes(), MSTACK_TX_DROP_TOO_BIG));
  }
}

TEST_F(VportTx, WhatIsLargerThanTheRoutesMtuIsDroppedWhateverIsInItsFirstBuffer) {
  for (const unsigned mtu : {1500U, 3600U, 8999U}) {
    Netns::ip("link set up0 mtu " + std::to_string(mtu));
    for (const Packet& kind : every_kind()) {
      EXPECT_TRUE(sent(transmit(as_jumbo(kind, mtu).bytes()), as_jumbo(kind, mtu).bytes())) << mtu;
      EXPECT_TRUE(dropped(as_jumbo(kind).bytes(), MSTACK_TX_DROP_TOO_BIG)) << mtu;
    }
  }
}

TEST_F(VportTx, ChecksTheSourceOfFramesOfSeveralBuffers) {
  Netns::ip("link set up0 mtu 9000");
  for (Packet packet : every_kind()) {
    packet.from_port = 8;
    EXPECT_TRUE(dropped(as_jumbo(packet).bytes(), MSTACK_TX_DROP_UNCLAIMED));
    programs.claim(tuple(packet.from, 8, packet.protocol), {.vport = 2, .slot = 2});
    EXPECT_TRUE(dropped(as_jumbo(packet).bytes(), MSTACK_TX_DROP_NOT_OWNER));
    EXPECT_TRUE(dropped(cut(as_jumbo(packet).bytes(), 8000), MSTACK_TX_DROP_MALFORMED));
  }
}

// Headers are read in the first buffer alone: here two routing headers of 2 KB push the ports out of it.
TEST_F(VportTx, HeadersBeyondTheFirstBufferAreMalformed) {
  Netns::ip("link set up0 mtu 9000");
  Packet packet = udp6();
  packet.extensions = {{.type = 43, .bytes = Bytes{0, 255, 0, 0} + zeros(2044)}};
  EXPECT_TRUE(sent(transmit(as_jumbo(packet).bytes()), as_jumbo(packet).bytes()));
  packet.extensions.push_back(packet.extensions.front());
  EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_MALFORMED));
}

TEST_F(VportTx, AnUplinkThatTransmitsOneBufferGetsTheOthersByTc) {
  Netns::ip("link set up0 mtu 9000");
  programs.add_uplink("up0", true, false);
  for (const Packet& kind : every_kind()) {
    EXPECT_TRUE(sent(transmit(kind.bytes()), kind.bytes()));
    const Bytes frame = as_jumbo(kind).bytes();
    const Outcome outcome = transmit(frame);
    EXPECT_EQ(outcome.action, static_cast<std::uint32_t>(XDP_PASS));
    EXPECT_TRUE(outcome.counted.empty()) << "vport_tx_slow counts it";
    EXPECT_EQ(outcome.frame.size(), frame.size());
    EXPECT_TRUE(sent(transmit(kind.bytes()), kind.bytes()));
  }
}

// The answer has no room for what the question carried behind it.
TEST_F(VportTx, AnswersAreOneBufferWhateverTheQuestionWas) {
  const Bytes message =
      icmp_message("2001:db8::1", "ff02::1:ff00:99", 135, 0, ip("2001:db8::99") + hex("01 01 02 4d 53 00 00 01"));
  Packet outer = udp6();
  outer.to = "ff02::1:ff00:99";
  outer.protocol = proto_icmp6;
  Bytes question = around(outer, message);
  question[21] = 255;  // hop limit
  const Outcome plain = transmit(question);
  ASSERT_TRUE(did(plain, XDP_TX, MSTACK_TX_ANSWERED, own_slot));
  const Outcome large = transmit(question + zeros(9000));
  ASSERT_TRUE(did(large, XDP_TX, MSTACK_TX_ANSWERED, own_slot));
  EXPECT_EQ(large.frame, plain.frame);
}

}  // namespace
}  // namespace bpf_test
