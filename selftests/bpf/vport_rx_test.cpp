// SPDX-License-Identifier: BSD-2-Clause
// The stack end: what was steered there goes into the slot's socket, and nothing else does.
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include <cstring>
#include <string>

#include "netns.hpp"
#include "programs.hpp"
#include "xsk.hpp"

namespace bpf_test {
namespace {

class VportRx : public testing::Test {
 protected:
  VportRx() {
    stack_end(own_slot);
    programs.watch(own_slot);
  }

  // Its ifindex is the slot, which is how vport_rx knows it.
  static void stack_end(std::uint32_t slot) {
    const std::string name = "s" + std::to_string(slot);
    Netns::ip("link add " + name + " index " + std::to_string(slot) + " type veth peer name h" + std::to_string(slot));
    for (const std::string& end : {name, "h" + std::to_string(slot)}) {
      Netns::sysctl("ipv6/conf/" + end + "/disable_ipv6", "1");
      Netns::ip("link set " + end + " up");
    }
    ASSERT_EQ(Netns::ifindex(name), slot);
    Netns::pass_all(name);
  }

  void put(std::uint32_t slot, const Xsk& socket) {
    const int fd = socket.fd();
    ASSERT_EQ(bpf_map_update_elem(programs.map("vport_xsks"), &slot, &fd, BPF_ANY), 0) << strerror(errno);
  }

  Outcome arrive(const Bytes& frame, std::uint32_t slot = own_slot) { return programs.run("vport_rx", frame, slot); }

  Outcome alive(std::uint32_t slot) {
    Bytes question(14);
    std::memcpy(question.data(), &slot, sizeof slot);  // in host order
    return programs.run("vport_alive", question);
  }

  static Packet steered() {
    Packet packet;
    packet.to_mac = hex("02 4d 53 00 00 07");
    packet.from_mac = hex("02 4d 53 01 00 07");
    return packet;
  }

  static constexpr std::uint32_t own_slot = 7;

  Netns netns;
  Programs programs{netns.cookie(), {"vport_rx", "vport_alive"}};
};

TEST_F(VportRx, DeliversToTheSocketOfTheSlot) {
  const Xsk socket("s7");
  put(own_slot, socket);
  const Bytes frame = steered().bytes();
  const Outcome outcome = arrive(frame);
  EXPECT_TRUE(did(outcome, XDP_REDIRECT, MSTACK_RX_DELIVERED, own_slot));
  EXPECT_EQ(outcome.frame, frame);
  EXPECT_EQ(outcome.rx_bytes, frame.size());
  EXPECT_EQ(outcome.tx_bytes, 0U);
}

// Whatever of it is in the first buffer.
TEST_F(VportRx, CountsAllBytesOfAFrameOfSeveralBuffers) {
  const Xsk socket("s7");
  put(own_slot, socket);
  for (const bool ipv6 : {false, true}) {
    Packet packet = steered();
    if (ipv6) packet.from = packet.to = "2001:db8::1";
    packet.payload = Bytes(8900, 0x5a);
    const Outcome outcome = arrive(packet.bytes());
    EXPECT_TRUE(did(outcome, XDP_REDIRECT, MSTACK_RX_DELIVERED, own_slot));
    EXPECT_EQ(outcome.rx_bytes, packet.bytes().size());
    EXPECT_EQ(outcome.frame, packet.bytes());
  }
}

TEST_F(VportRx, TheFrameIsInTheReceiveRing) {
  Xsk socket("s7");
  put(own_slot, socket);
  for (const std::size_t payload : {0, 4, 1400}) {
    Packet packet = steered();
    packet.payload = Bytes(payload, 0x5a);
    const Outcome outcome = programs.run_live("vport_rx", packet.bytes(), own_slot);
    EXPECT_EQ(outcome.counted, (std::map<std::string, std::uint64_t>{{"RX_DELIVERED", 1}}));
    EXPECT_EQ(socket.receive(), packet.bytes());
  }
}

// The gateway's MAC as source is uplink_rx's work; what addresses it is the stack end's.
TEST_F(VportRx, WhatIsNotForTheStackEndWasNotSteered) {
  const Xsk socket("s7");
  put(own_slot, socket);
  for (const char* mac : {"ff ff ff ff ff ff", "33 33 00 00 00 01", "01 00 5e 00 00 01", "02 4d 53 01 00 07",
                          "02 4d 53 00 00 08", "02 4d 53 00 07 00", "02 4d 53 00 01 07", "00 4d 53 00 00 07",
                          "02 4c 53 00 00 07", "02 4d 52 00 00 07", "00 00 00 00 00 00"}) {
    Packet packet = steered();
    packet.to_mac = hex(mac);
    const Outcome outcome = arrive(packet.bytes());
    EXPECT_TRUE(did(outcome, XDP_DROP, MSTACK_RX_DROP_NOT_STEERED, own_slot)) << mac;
    EXPECT_EQ(outcome.rx_bytes, 0U);
  }
  // What the host end answers carries its own MAC to the stack's, and is let in: ARP, neighbour advertisements.
  const Bytes answer = hex("02 4d 53 00 00 07  02 4d 53 01 00 07  08 06") + zeros(28);
  EXPECT_TRUE(did(arrive(answer), XDP_REDIRECT, MSTACK_RX_DELIVERED, own_slot));
}

TEST_F(VportRx, WithoutASocketItIsDropped) {
  const Outcome outcome = arrive(steered().bytes());
  EXPECT_TRUE(did(outcome, XDP_DROP, MSTACK_RX_DROP_NO_SOCKET, own_slot));
  EXPECT_EQ(outcome.rx_bytes, 0U);
}

// The kernel takes a socket out of the map when it closes: nobody has to.
TEST_F(VportRx, AClosedSocketLeavesItsSlot) {
  Xsk socket("s7");
  put(own_slot, socket);
  EXPECT_TRUE(did(arrive(steered().bytes()), XDP_REDIRECT, MSTACK_RX_DELIVERED, own_slot));
  socket.close_descriptor();
  EXPECT_TRUE(did(arrive(steered().bytes()), XDP_REDIRECT, MSTACK_RX_DELIVERED, own_slot))
      << "its ring is still mapped";
  socket.close();
  EXPECT_TRUE(did(arrive(steered().bytes()), XDP_DROP, MSTACK_RX_DROP_NO_SOCKET, own_slot));
}

// uplink_rx has found them to be of a VLAN of the uplink, and left them in.
TEST_F(VportRx, TagsAreTakenOff) {
  Xsk socket("s7");
  put(own_slot, socket);
  for (const char* tags : {"81 00 00 64", "88 a8 e0 64", "81 00 00 64 81 00 01 2c", "88 a8 00 c8 81 00 0f fe"}) {
    for (const std::size_t payload : {0, 4, 1400}) {
      Packet packet = steered();
      packet.payload = Bytes(payload, 0x5a);
      const Bytes frame = packet.bytes();
      const Outcome outcome = arrive(tagged(hex(tags), frame));
      EXPECT_TRUE(did(outcome, XDP_REDIRECT, MSTACK_RX_DELIVERED, own_slot)) << tags;
      EXPECT_EQ(outcome.frame, frame) << tags;
      EXPECT_EQ(outcome.rx_bytes, frame.size()) << tags;
      programs.run_live("vport_rx", tagged(hex(tags), frame), own_slot);
      EXPECT_EQ(socket.receive(), frame) << tags;
    }
  }
}

// More than uplink_rx lets through: a stack sees none of it.
TEST_F(VportRx, WhatItsTagsDoNotLeaveWholeIsDropped) {
  const Xsk socket("s7");
  put(own_slot, socket);
  const Bytes frame = steered().bytes();
  std::vector<Bytes> wrong{tagged(hex("81 00 00 64 81 00 00 64 81 00 00 64"), frame),
                           tagged(hex("88 a8 00 64 88 a8 00 64 88 a8 00 64 88 a8 00 64"), frame)};
  for (const char* tags : {"81 00 00 64", "81 00 00 64 81 00 01 2c"}) {
    const Bytes whole = tagged(hex(tags), cut(frame, 14));
    for (std::size_t left = 14; left < whole.size(); ++left) wrong.push_back(cut(whole, left));
  }
  for (const Bytes& one : wrong) {
    const Outcome outcome = arrive(one);
    EXPECT_TRUE(did(outcome, XDP_DROP, MSTACK_RX_DROP_NOT_STEERED, own_slot)) << one.size();
    EXPECT_EQ(outcome.rx_bytes, 0U);
  }
}

TEST_F(VportRx, ASlotAbove255) {
  stack_end(0x0203);
  programs.watch(0x0203);
  const Xsk socket("s515");
  put(0x0203, socket);
  Packet packet = steered();
  packet.to_mac = hex("02 4d 53 00 02 03");
  EXPECT_TRUE(did(arrive(packet.bytes(), 0x0203), XDP_REDIRECT, MSTACK_RX_DELIVERED, 0x0203));
  packet.to_mac = hex("02 4d 53 00 03 02");
  EXPECT_TRUE(did(arrive(packet.bytes(), 0x0203), XDP_DROP, MSTACK_RX_DROP_NOT_STEERED, 0x0203));
}

TEST_F(VportRx, TheShortestFrame) {
  const Xsk socket("s7");
  put(own_slot, socket);
  EXPECT_TRUE(did(arrive(cut(steered().bytes(), 14)), XDP_REDIRECT, MSTACK_RX_DELIVERED, own_slot));
}

TEST_F(VportRx, AliveSaysWhetherASlotHasASocket) {
  EXPECT_EQ(alive(own_slot).action, XDP_DROP);
  {
    Xsk socket("s7");
    put(own_slot, socket);
    const Outcome yes = alive(own_slot);
    EXPECT_EQ(yes.action, XDP_PASS);
    EXPECT_TRUE(yes.counted.empty()) << "a question is no packet";
    for (const std::uint32_t other : {0U, 6U, 8U, 0x0700U, 0x07000000U, 1023U, 1024U, 0xffffffffU}) {
      EXPECT_EQ(alive(other).action, XDP_DROP) << other;
    }
  }
  EXPECT_EQ(alive(own_slot).action, XDP_DROP);
}

}  // namespace
}  // namespace bpf_test
