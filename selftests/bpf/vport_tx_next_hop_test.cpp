// SPDX-License-Identifier: BSD-2-Clause
// The kernel has its turn with each next hop, once an interval. Intervals are so long that none ends by itself: a test
// makes one end, by writing into the programs' map.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <sys/socket.h>

#include <chrono>
#include <cstring>
#include <ctime>

#include "tx_fixture.hpp"
#include "wire.hpp"

namespace bpf_test {
namespace {

using Counts = std::map<std::string, std::uint64_t>;
constexpr std::uint64_t second = 1'000'000'000, interval = 3600 * second;

class VportTxNextHop : public VportTx {
 protected:
  explicit VportTxNextHop(std::uint64_t interval_ns = interval) : VportTx({.next_hop_interval_ns = interval_ns}) {}

  struct Hop {
    std::uint32_t ifindex, family;
    std::uint8_t address[16];
  };
  static_assert(sizeof(Hop) == 24);

  static Hop hop(std::string_view address) {
    Hop hop{.ifindex = Netns::ifindex("up0"), .family = 0, .address = {}};
    const Bytes bytes = ip(address);
    hop.family = bytes.size() == 4 ? AF_INET : AF_INET6;
    std::memcpy(hop.address, bytes.data(), bytes.size());
    return hop;
  }
  // 0: there is none.
  std::uint64_t due(std::string_view address) const {
    std::uint64_t due = 0;
    const Hop key = hop(address);
    bpf_map_lookup_elem(programs.map("next_hops"), &key, &due);
    return due;
  }
  void set_due(std::string_view address, std::uint64_t due) const {
    const Hop key = hop(address);
    ASSERT_EQ(bpf_map_update_elem(programs.map("next_hops"), &key, &due, BPF_EXIST), 0) << address;
  }
  static std::uint64_t now() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * second + static_cast<std::uint64_t>(now.tv_nsec);
  }

  // More often than a flow is remembered.
  void sends_fast(const Packet& packet) {
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(sent(transmit(packet.bytes()), packet.bytes()));
  }
  // A flow that is remembered is so until the clock's next tick.
  bool goes_slow_soon(const Packet& packet) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (std::chrono::steady_clock::now() < give_up) {
      const Outcome outcome = transmit_through(packet.bytes());
      if (outcome.counted == Counts{{"TX_SENT_SLOW", 1}}) return outcome.action == TC_ACT_REDIRECT;
      if (!sent(outcome, packet.bytes())) return false;
    }
    return false;
  }
};

TEST_F(VportTxNextHop, IsTheKernelsTurnOnceAnInterval) {
  for (const auto& [packet, peer] : {std::pair{udp4(), peer4}, std::pair{udp6(), peer6}}) {
    SCOPED_TRACE(peer);
    sends_fast(packet);
    for (int i = 0; i < 3; ++i) {
      set_due(peer, 0);
      EXPECT_TRUE(goes_slow_soon(packet));
      EXPECT_GT(due(peer), now() + interval / 2);
      sends_fast(packet);
    }
  }
}

TEST_F(VportTxNextHop, IsOneForAllFlowsThatTakeIt) {
  sends_fast(udp4());
  set_due(peer4, 0);
  EXPECT_TRUE(goes_slow_soon(tcp4()));
  sends_fast(udp4());
}

// One peer, one MAC: but the kernel has an entry for each of its addresses.
TEST_F(VportTxNextHop, IsAnAddressAndNotAMac) {
  sends_fast(udp4());
  sends_fast(udp6());
  set_due(peer4, 0);
  sends_fast(udp6());
  EXPECT_TRUE(goes_slow_soon(udp4()));
  set_due(peer6, 0);
  sends_fast(udp4());
  EXPECT_TRUE(goes_slow_soon(udp6()));
}

// It is the gateway that is used, whatever is behind it.
TEST_F(VportTxNextHop, IsTheGateway) {
  Netns::ip(std::string("route add default via ") + std::string(peer4) + "\nroute add default via " +
            std::string(peer6));
  for (auto [packet, peer] : {std::pair{udp4(), peer4}, std::pair{udp6(), peer6}}) {
    packet.to = peer == peer4 ? "198.51.100.1" : "2001:db8:f::1";
    sends_fast(packet);
    EXPECT_EQ(due(packet.to), 0U);
    set_due(peer, 0);
    EXPECT_TRUE(goes_slow_soon(packet));
    packet.to = peer == peer4 ? "198.51.100.2" : "2001:db8:f::2";
    sends_fast(packet);
  }
}

TEST_F(VportTxNextHop, IsOnlyOfWhatXdpSends) {
  programs.add_uplink("away0", false);
  Packet packet = udp4();
  packet.to = "203.0.113.99";
  for (int i = 0; i < 3; ++i) EXPECT_EQ(transmit_through(packet.bytes()).counted, (Counts{{"TX_SENT_SLOW", 1}}));
  packet.to = "192.0.2.77";  // nobody's
  EXPECT_EQ(transmit_through(packet.bytes()).counted, (Counts{{"TX_SENT_SLOW", 1}}));
  const Hop first{};
  Hop next{};
  EXPECT_NE(bpf_map_get_next_key(programs.map("next_hops"), &first, &next), 0);
}

class VportTxNextHopOfLongPackets : public VportTxNextHop {
 protected:
  VportTxNextHopOfLongPackets() : VportTxNextHop(4 * second) {}
};

// What is part of a train is overtaken by the rest of it, so a short packet goes first where there is one.
TEST_F(VportTxNextHopOfLongPackets, WaitForAShortOneTenIntervals) {
  for (auto [packet, peer] : {std::pair{udp4(), peer4}, std::pair{udp6(), peer6}}) {
    const Packet small = packet;
    packet.payload = zeros(129 - (peer == peer4 ? 28 : 48));
    sends_fast(packet);
    set_due(peer, now());  // as if an interval had passed since: eight more are to come
    sends_fast(packet);
    EXPECT_TRUE(goes_slow_soon(small));
    set_due(peer, now() > 40 * second ? now() - 40 * second : 0);
    EXPECT_TRUE(goes_slow_soon(packet));
  }
}

}  // namespace
}  // namespace bpf_test
