// SPDX-License-Identifier: BSD-2-Clause
// Who receives a well-formed packet.
#include <bpf/bpf.h>

#include <cstring>
#include <mstack/queue.hpp>
#include <random>
#include <set>
#include <string>

#include "uplink_rx_fixture.hpp"

namespace bpf_test {
namespace {

TEST_F(UplinkRx, SteersAnExactClaim) {
  for (const Packet& packet : every_kind()) {
    SCOPED_TRACE(std::string(packet.to) + " protocol " + std::to_string(packet.protocol));
    const mstack_tuple key = tuple(packet.to, 7, packet.protocol);
    EXPECT_TRUE(passed(receive(packet.bytes()), packet.bytes(), MSTACK_RX_PASS_UNCLAIMED));
    programs.claim(key);
    EXPECT_TRUE(steered(receive(packet.bytes()), packet.bytes(), 1));

    // What differs in one part of the tuple is not claimed.
    Packet other = packet;
    other.to_port = 0x0700;  // port 7 with its bytes swapped
    EXPECT_TRUE(passed(receive(other.bytes()), other.bytes(), MSTACK_RX_PASS_UNCLAIMED));
    other = packet;
    other.to = packet.to.contains(':') ? "2001:db8::2" : "192.0.2.2";
    EXPECT_TRUE(passed(receive(other.bytes()), other.bytes(), MSTACK_RX_PASS_UNCLAIMED));
    other = packet;
    other.protocol = packet.protocol == proto_udp ? proto_tcp : proto_udp;
    EXPECT_TRUE(passed(receive(other.bytes()), other.bytes(), MSTACK_RX_PASS_UNCLAIMED));
    // The remote party may be from anywhere, also from the port that is claimed here.
    other = packet;
    other.from_port = 7;
    EXPECT_TRUE(steered(receive(other.bytes()), other.bytes(), 1));
    programs.unclaim(key);
  }
}

// By hand from the first byte to the last, so that no builder can hide a mistake.
TEST_F(UplinkRx, SteersALiteralFrame) {
  programs.claim(tuple("192.0.2.1", 53, proto_udp), {.slot = 1});
  const Bytes frame =
      hex("52 54 00 12 34 56  52 54 00 65 43 21  08 00"
          "45 00 00 1d 00 01 00 00 40 11 8e 98  c6 33 64 02  c0 00 02 01"
          "12 34 00 35 00 09 00 00 61");
  const Outcome outcome = receive(frame);
  EXPECT_TRUE(did(outcome, XDP_REDIRECT, MSTACK_RX_STEERED));
  EXPECT_EQ(outcome.frame, hex("02 4d 53 00 00 01  02 4d 53 01 00 01  08 00"
                               "45 00 00 1d 00 01 00 00 40 11 8e 98  c6 33 64 02  c0 00 02 01"
                               "12 34 00 35 00 09 00 00 61"));
}

// A slot above 255 takes both bytes of the MAC.
TEST_F(UplinkRx, WritesTheSlotIntoBothMacs) {
  programs.add_slots(0x0102, 1);
  programs.claim(tuple("192.0.2.1", 7, proto_udp), {.slot = 0x0102});
  const Outcome outcome = receive(Packet().bytes());
  EXPECT_TRUE(steered(outcome, Packet().bytes(), 0x0102));
  EXPECT_EQ(slice(outcome.frame, 0, 12), hex("02 4d 53 00 01 02 02 4d 53 01 01 02"));
}

TEST_F(UplinkRx, PrefersTheExactClaimToTheWildcard) {
  for (const Packet& packet : every_kind()) {
    SCOPED_TRACE(std::string(packet.to) + " protocol " + std::to_string(packet.protocol));
    const char* any = packet.to.contains(':') ? "::" : "0.0.0.0";
    programs.claim(tuple(any, 7, packet.protocol), {.vport = 2, .slot = 2});
    EXPECT_TRUE(steered(receive(packet.bytes()), packet.bytes(), 2));
    programs.claim(tuple(packet.to, 7, packet.protocol), {.vport = 1, .slot = 1});
    EXPECT_TRUE(steered(receive(packet.bytes()), packet.bytes(), 1));
  }
}

TEST_F(UplinkRx, WildcardsAreForThisHostsAddressesAlone) {
  for (const std::uint8_t protocol : {proto_udp, proto_tcp}) {
    for (const char* any : {"0.0.0.0", "::"}) programs.claim(tuple(any, 7, protocol));
  }
  for (Packet packet : every_kind()) {
    EXPECT_TRUE(steered(receive(packet.bytes()), packet.bytes(), 1));
    const bool six = packet.to.contains(':');
    // Forwarded, multicast, broadcast: the kernel's business.
    for (const char* other : six ? std::vector{"2001:db8::2", "ff02::1", "::1"}
                                 : std::vector{"192.0.2.2", "224.0.0.251", "255.255.255.255", "127.0.0.1"}) {
      packet.to = other;
      EXPECT_TRUE(passed(receive(packet.bytes()), packet.bytes(), MSTACK_RX_PASS_NOT_LOCAL)) << other;
    }
  }
}

// A wildcard claim's key is the unspecified address: a packet that carries it must not match as if it were exact.
TEST_F(UplinkRx, TheUnspecifiedAddressIsNoWayIntoAWildcard) {
  programs.claim(tuple("0.0.0.0", 7, proto_udp));
  programs.claim(tuple("::", 7, proto_udp));
  Packet packet;
  packet.to = "0.0.0.0";
  EXPECT_TRUE(passed(receive(packet.bytes()), packet.bytes(), MSTACK_RX_PASS_NOT_LOCAL));
  packet = ip6(proto_udp);
  packet.to = "::";
  EXPECT_TRUE(passed(receive(packet.bytes()), packet.bytes(), MSTACK_RX_PASS_NOT_LOCAL));
}

// An address that ends like the wildcard is not it: who claimed exactly it, owns it as any other.
TEST_F(UplinkRx, AnExactAddressMayEndInZeros) {
  for (const std::uint8_t protocol : {proto_udp, proto_tcp}) {
    Packet packet = ip6(protocol);
    packet.to = "2001:db8:0:0:5::";
    programs.claim(tuple(packet.to, 7, protocol));
    EXPECT_TRUE(steered(receive(packet.bytes()), packet.bytes(), 1));
  }
}

// A stack's answer would come back to a stack, and so on for ever; what the kernel takes for a Martian is the kernel's.
TEST_F(UplinkRx, FromTheWireNothingIsFromThisHost) {
  for (const char* own : {"192.0.2.1", "192.0.2.9"}) programs.local(own);
  for (const char* own : {"2001:db8::1", "2001:db8::9"}) programs.local(own);
  for (const Packet& packet : every_kind()) {
    programs.claim(tuple(packet.to, packet.to_port, packet.protocol));
    ASSERT_TRUE(steered(receive(packet.bytes()), packet.bytes(), 1));
    for (const bool to_itself : {true, false}) {
      Packet spoofed = packet;
      const bool ipv6 = packet.to.find(':') != std::string_view::npos;
      spoofed.from = to_itself ? packet.to : ipv6 ? "2001:db8::9" : "192.0.2.9";
      EXPECT_TRUE(passed(receive(spoofed.bytes()), spoofed.bytes(), MSTACK_RX_PASS_OWN_SOURCE)) << spoofed.from;
      // No such address any more.
      if (!to_itself) {
        programs.foreign(spoofed.from);
        EXPECT_TRUE(steered(receive(spoofed.bytes()), spoofed.bytes(), 1)) << spoofed.from;
        programs.local(spoofed.from);
      }
    }
  }
}

// Generic XDP sees copies of what this host sends to groups, which begin with their IP header.
TEST_F(UplinkRx, ACopyWithoutAnEthernetHeaderIsTheKernels) {
  claim_everything();
  const auto reads_like_ip = [](const Packet& packet, std::uint8_t first, std::size_t more) {
    Bytes frame = packet.bytes();
    const bool ipv6 = first >> 4 == 6;
    const std::size_t length = frame.size() - (ipv6 ? 40 : 0) + more, field = ipv6 ? 4 : 2;
    frame[0] = first;
    frame[field] = static_cast<std::uint8_t>(length >> 8);
    frame[field + 1] = static_cast<std::uint8_t>(length);
    return frame;
  };
  for (const bool in_driver : {false, true}) {
    if (in_driver) programs.add_uplink("lo", false, false);  // where the test's frames come in
    for (const Packet& packet : every_kind())
      for (const std::uint8_t first : {0x60, 0x6f, 0x45, 0x4f}) {
        const Bytes copy = reads_like_ip(packet, first, 0), frame = reads_like_ip(packet, first, 1);
        EXPECT_TRUE(in_driver ? steered(receive(copy), copy, 1)
                              : passed(receive(copy), copy, MSTACK_RX_PASS_OWN_SOURCE));
        EXPECT_TRUE(steered(receive(frame), frame, 1)) << "a NIC may have such a MAC";
      }
    const Bytes no_header = reads_like_ip(ip4(proto_udp), 0x44, 0);
    EXPECT_TRUE(steered(receive(no_header), no_header, 1));
  }
}

// What goes to a group is the exact owner's, and no wildcard's.
TEST_F(UplinkRx, AGroupIsItsExactOwnersAlone) {
  for (const char* group : {"239.1.2.3", "224.0.0.251", "255.255.255.255", "ff05::1:3", "ff02::fb"}) {
    const bool ipv6 = std::strchr(group, ':') != nullptr;
    Packet packet = ipv6 ? ip6(proto_udp) : ip4(proto_udp);
    packet.to = group;
    programs.claim(tuple(ipv6 ? "::" : "0.0.0.0", 7, proto_udp));
    EXPECT_TRUE(passed(receive(packet.bytes()), packet.bytes(), MSTACK_RX_PASS_NOT_LOCAL)) << group;
    programs.claim(tuple(group, 7, proto_udp));
    EXPECT_TRUE(steered(receive(packet.bytes()), packet.bytes(), 1)) << group;
  }
}

// ::ffff:a.b.c.d in an IPv6 header is not the IPv4 address that shares its key.
TEST_F(UplinkRx, AMappedAddressOnTheWireIsNotIpv4) {
  programs.claim(tuple("192.0.2.1", 7, proto_udp));
  programs.claim(tuple("0.0.0.0", 7, proto_udp));
  for (const char* mapped : {"::ffff:192.0.2.1", "::ffff:0.0.0.0"}) {
    Packet packet = ip6(proto_udp);
    packet.to = mapped;
    const Outcome outcome = receive(packet.bytes());
    EXPECT_EQ(outcome.action, XDP_PASS) << mapped;
    EXPECT_EQ(outcome.frame, packet.bytes());
    EXPECT_EQ(outcome.counted.size(), 1U);
    EXPECT_FALSE(outcome.counted.contains("RX_STEERED"));
  }
}

// :: is for IPv6; a dual-stack :: has a second claim.
TEST_F(UplinkRx, TheIpv6WildcardIsNotForIpv4) {
  programs.claim(tuple("::", 7, proto_udp));
  EXPECT_TRUE(passed(receive(Packet().bytes()), Packet().bytes(), MSTACK_RX_PASS_UNCLAIMED));
  programs.claim(tuple("0.0.0.0", 7, proto_udp));
  EXPECT_TRUE(steered(receive(Packet().bytes()), Packet().bytes(), 1));
}

TEST_F(UplinkRx, IgnoresAPendingOrSuspendedClaim) {
  for (const std::uint32_t state : {MSTACK_CLAIM_PENDING, MSTACK_CLAIM_SUSPENDED}) {
    const ClaimOptions options{.state = state};
    for (const Packet& packet : every_kind()) {
      SCOPED_TRACE(std::string(packet.to) + " protocol " + std::to_string(packet.protocol) + " state " +
                   std::to_string(state));
      const char* any = packet.to.contains(':') ? "::" : "0.0.0.0";
      programs.claim(tuple(packet.to, 7, packet.protocol), options);
      EXPECT_TRUE(passed(receive(packet.bytes()), packet.bytes(), MSTACK_RX_PASS_UNCLAIMED));
      programs.claim(tuple(any, 7, packet.protocol), options);
      EXPECT_TRUE(passed(receive(packet.bytes()), packet.bytes(), MSTACK_RX_PASS_UNCLAIMED));
      programs.unclaim(tuple(any, 7, packet.protocol));
      programs.unclaim(tuple(packet.to, 7, packet.protocol));
    }
  }
}

// Killed between a claim's end and the epoch that tells of it, mstackd leaves a number that is odd: until the next one
// starts, every packet is judged by the claims as they are.
TEST_F(UplinkRx, BelievesNothingRememberedWhileAChangeIsUnderWay) {
  for (const Packet& packet : every_kind()) {
    SCOPED_TRACE(std::string(packet.to) + " protocol " + std::to_string(packet.protocol));
    const mstack_tuple key = tuple(packet.to, 7, packet.protocol);
    const auto owned = [&] { return steered(receive(packet.bytes()), packet.bytes(), 1); };
    const auto nobodys = [&] { return passed(receive(packet.bytes()), packet.bytes(), MSTACK_RX_PASS_UNCLAIMED); };
    const auto insert_silently = [&] {
      const mstack_claim claim{.cookie = 1, .vport = 1, .uid = 1, .slot = 1, .queues = 1, .state = MSTACK_CLAIM_ACTIVE};
      ASSERT_EQ(bpf_map_update_elem(programs.map("claims"), &key, &claim, BPF_ANY), 0);
    };
    const auto delete_silently = [&] { ASSERT_EQ(bpf_map_delete_elem(programs.map("claims"), &key), 0); };
    programs.claim(key);
    EXPECT_TRUE(owned()) << "and remembered";
    programs.leave_epoch();
    delete_silently();
    EXPECT_TRUE(nobodys());
    insert_silently();
    EXPECT_TRUE(owned()) << "the answer before was not remembered either";
    delete_silently();
    EXPECT_TRUE(nobodys());
    programs.claim(key);
    EXPECT_TRUE(owned());
    delete_silently();
    EXPECT_TRUE(nobodys()) << "what counts up by two, as BPF does, ends no change of mstackd's";
  }
}

// The gate is what is asked first: where it says that nobody claimed a port, no claim is looked for.
TEST_F(UplinkRx, AClosedGatePassesWithoutALookup) {
  claim_everything();
  programs.set_gate(proto_udp, 7, 0);
  for (const Packet& packet : {ip4(proto_udp), ip6(proto_udp)}) {
    EXPECT_TRUE(passed(receive(packet.bytes()), packet.bytes(), MSTACK_RX_PASS_UNCLAIMED));
  }
  for (const Packet& packet : {ip4(proto_tcp), ip6(proto_tcp)}) {
    EXPECT_TRUE(steered(receive(packet.bytes()), packet.bytes(), 1));
  }
}

TEST_F(UplinkRx, GatesTheHighestPorts) {
  for (const std::uint16_t port : {std::uint16_t{65535}, std::uint16_t{32768}, std::uint16_t{0x00ff}}) {
    for (Packet packet : every_kind()) {
      packet.to_port = port;
      programs.claim(tuple(packet.to, port, packet.protocol));
      EXPECT_TRUE(steered(receive(packet.bytes()), packet.bytes(), 1)) << port;
    }
  }
}

// In the kernel's hands, such a packet would be refused with a reset or an ICMP error, in the owner's name.
TEST_F(UplinkRx, DropsWhatIsClaimedForAVportThatIsGone) {
  claim_everything();
  for (const Packet& packet : every_kind()) {
    programs.claim(tuple(packet.to, 7, packet.protocol), {.slot = 9});
    EXPECT_TRUE(did(receive(packet.bytes()), XDP_DROP, MSTACK_RX_DROP_NO_VPORT));
  }
}

TEST_F(UplinkRx, IgnoresWhatMacTheFrameCarries) {
  claim_everything();
  Packet packet;
  packet.to_mac = hex("ff ff ff ff ff ff");
  packet.from_mac = hex("00 00 00 00 00 00");
  EXPECT_TRUE(steered(receive(packet.bytes()), packet.bytes(), 1));
}

class UplinkRxQueues : public UplinkRx {
 protected:
  static constexpr std::uint16_t first_slot = 17;

  UplinkRxQueues() { programs.add_slots(first_slot, MSTACK_MAX_QUEUES); }

  // The queue that a packet goes to; the number of queues where it goes to none of them.
  std::uint16_t queue_of(const Packet& packet, std::uint16_t queues) {
    const Outcome outcome = receive(packet.bytes());
    const auto slot = static_cast<std::uint16_t>(outcome.frame.at(4) << 8 | outcome.frame.at(5));
    if (outcome.action != XDP_REDIRECT || slot < first_slot || slot >= first_slot + queues) return queues;
    return steered(outcome, packet.bytes(), slot) ? static_cast<std::uint16_t>(slot - first_slot) : queues;
  }

  void claim_queues(const Packet& packet, std::uint16_t queues) {
    programs.claim(tuple(packet.to, packet.to_port, packet.protocol), {.slot = first_slot, .queues = queues});
  }
};

TEST_F(UplinkRxQueues, AFlowStaysOnItsQueue) {
  for (Packet packet : every_kind()) {
    claim_queues(packet, 16);
    for (std::uint16_t port = 40000; port < 40008; ++port) {
      packet.from_port = port;
      const std::uint16_t first = queue_of(packet, 16);
      ASSERT_LT(first, 16);
      Packet same = packet;
      same.payload = zeros(port % 7U + 1);
      same.from_mac = hex("02 00 00 00 00 99");
      EXPECT_EQ(queue_of(same, 16), first);
    }
  }
}

mstack::Tuple library_tuple(std::string_view address, std::uint16_t port) {
  return {.address = mstack::Address::parse(address).value(), .port = port};
}

// A stack can tell which of its threads a flow belongs to before it has seen a packet of it.
TEST_F(UplinkRxQueues, TheLibraryKnowsTheQueue) {
  std::mt19937 random(20240607);
  const auto any = [&](unsigned least, unsigned most) {
    return std::uniform_int_distribution<unsigned>(least, most)(random);
  };
  for (const std::uint16_t queues : {1, 2, 3, 7, 8, 15, 16}) {
    for (Packet packet : every_kind()) {
      const bool six = packet.to.contains(':');
      for (int flow = 0; flow < 64; ++flow) {
        packet.to_port = static_cast<std::uint16_t>(any(1, 65535));
        packet.from_port = static_cast<std::uint16_t>(any(1, 65535));
        const std::string from = six ? "2001:db8:" + std::to_string(any(0, 9999)) + "::" + std::to_string(any(1, 9999))
                                     : "198.51." + std::to_string(any(0, 255)) + "." + std::to_string(any(1, 254));
        packet.from = from;
        claim_queues(packet, queues);
        EXPECT_EQ(queue_of(packet, queues), mstack::queue_of(library_tuple(packet.to, packet.to_port),
                                                             library_tuple(packet.from, packet.from_port), queues))
            << packet.from << " " << packet.from_port << " to " << packet.to_port;
      }
    }
  }
}

// 1024 flows that differ in one thing: every queue gets between a half and twice its fair share.
TEST_F(UplinkRxQueues, FlowsSpreadOverTheQueues) {
  for (const std::uint16_t queues : {2, 3, 8, 16}) {
    for (const Packet& kind : every_kind()) {
      const bool six = kind.to.contains(':');
      for (const int by : {0, 1, 2}) {  // the remote port, the remote address, the local port
        Packet packet = kind;
        claim_queues(packet, queues);
        std::vector<int> share(queues + 1U);
        for (int flow = 0; flow < 1024; ++flow) {
          const std::string address = six ? "2001:db8:f::" + std::to_string(flow)
                                          : "198.51." + std::to_string(flow >> 8) + "." + std::to_string(flow & 255);
          if (by == 0) packet.from_port = static_cast<std::uint16_t>(32768 + flow);
          if (by == 1) packet.from = address;
          if (by == 2) {
            packet.to_port = static_cast<std::uint16_t>(32768 + flow);
            claim_queues(packet, queues);
          }
          ++share[queue_of(packet, queues)];
        }
        EXPECT_EQ(share[queues], 0) << "outside the vport";
        for (int queue = 0; queue < queues; ++queue) {
          EXPECT_TRUE(share[queue] > 1024 / queues / 2 && share[queue] < 1024 / queues * 2)
              << "queue " << queue << " of " << queues << ": " << share[queue] << ", six " << six << ", by " << by;
        }
      }
    }
  }
}

// A redirect that fails after the program's end is counted by nobody.
TEST_F(UplinkRx, AFrameThatTheVportsDeviceDoesNotTakeIsCounted) {
  claim_everything();
  Netns::ip("link set lo mtu 2500");
  for (Packet packet : every_kind()) {
    packet.payload = zeros(1700);
    EXPECT_TRUE(steered(receive(packet.bytes()), packet.bytes(), 1));
    packet.padding = zeros(2514 - packet.bytes().size());
    EXPECT_TRUE(steered(receive(packet.bytes()), packet.bytes(), 1)) << "to the last byte";
    packet.padding.push_back(0);
    EXPECT_TRUE(did(receive(packet.bytes()), XDP_DROP, MSTACK_RX_DROP_TOO_BIG));
    packet.to_port = 8;
    EXPECT_TRUE(passed(receive(packet.bytes()), packet.bytes(), MSTACK_RX_PASS_UNCLAIMED)) << "the kernel's may be";
  }
}

}  // namespace
}  // namespace bpf_test
