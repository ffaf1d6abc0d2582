// SPDX-License-Identifier: BSD-2-Clause
//
// A million frames that must not reach the wire, at random among others that must. None of the former does, all of the
// latter do, and the counters add up to exactly all of them.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gtest/gtest.h>

#include <array>
#include <iostream>
#include <map>
#include <numeric>
#include <random>

#include "attack_frames.hpp"
#include "seed.hpp"
#include "support/fixture.hpp"
#include "support/stack.hpp"
#include "wire_watch.hpp"

namespace mstack::test {
namespace {

constexpr std::size_t attacks_sent = 1'000'000;
constexpr std::size_t one_valid_in = 16;
constexpr std::size_t most_on_the_way = 96;  // a veth's own ring is of 256; nothing may be lost there unseen
constexpr std::string_view valid_mark = "valid ";

class Spoof : public NetTest {
 protected:
  Spoof() : random_(seed_) { std::cout << "MSTACK_SEED=" << seed_ << '\n'; }

  // As a stack's frame of the attacker's, numbered.
  Bytes valid(std::size_t number) const {
    struct Kind {
      Endpoint from, to;
      std::uint8_t protocol;
    };
    const std::array kinds{
        Kind{tuples_.udp4, tuples_.peer4, IPPROTO_UDP}, Kind{tuples_.udp6, tuples_.peer6, IPPROTO_UDP},
        Kind{tuples_.tcp4, tuples_.peer4, IPPROTO_TCP}, Kind{tuples_.any4, tuples_.peer4, IPPROTO_UDP},
        Kind{tuples_.any6, tuples_.peer6, IPPROTO_UDP}};
    const Kind& kind = kinds[number % kinds.size()];
    Bytes frame = build(Segment{.from = kind.from,
                                .to = kind.to,
                                .protocol = kind.protocol,
                                .payload = std::string(valid_mark) + std::to_string(number) + '.',
                                .tcp_flags = tcp_rst});
    // Now and then with more behind it than its own length says: a switch would pad it too.
    if (number % 7 == 0) frame.resize(frame.size() + number % 64);
    return frame;
  }

  // The watch's own judgement, from nothing but the frame: numbered, seen once, from a tuple of the attacker's, with
  // the MACs of the two ends of the wire.
  WireWatch::Judgement judge(std::span<const std::uint8_t> frame) {
    using enum WireWatch::Judgement;
    const auto packet = parse(frame);
    if (!packet || packet->source_mac != world().host_mac() || packet->destination_mac != world().wire_mac())
      return bad;
    if (!packet->checksums_right || !packet->payload.starts_with(valid_mark)) return bad;
    const std::array udp{tuples_.udp4, tuples_.udp6, tuples_.any4, tuples_.any6};
    const bool is_own = packet->protocol == IPPROTO_UDP ? std::ranges::find(udp, packet->from) != udp.end()
                                                        : packet->from == tuples_.tcp4;
    const std::size_t number = std::strtoull(packet->payload.c_str() + valid_mark.size(), nullptr, 10);
    if (!is_own || number >= seen_.size() || seen_[number]) return bad;
    seen_[number] = true;
    return good;
  }

  // What became of frames of the slot so far.
  std::uint64_t transmitted(const Fd& map, std::uint32_t slot) {
    check(::bpf_map_lookup_elem(map.get(), &slot, per_cpu_.data()), "read vport_stats");
    std::uint64_t sum = 0;
    for (const mstack_vport_stats& stats : per_cpu_)
      sum += std::accumulate(stats.packets + MSTACK_TX_SENT, stats.packets + MSTACK_VERDICT_COUNT, std::uint64_t{0});
    return sum;
  }

  void send(Stack& stack, std::span<const std::uint8_t> bytes) {
    Queue& queue = stack.vport().queue(0);
    for (;;) {
      if (auto frame = queue.allocate()) {
        ASSERT_TRUE(frame->resize(bytes.size()));
        std::ranges::copy(bytes, frame->data());
        if (queue.transmit(*frame)) return;
        queue.give_back(*frame);
      }
      stack.flush();
    }
  }

  std::uint64_t seed_ = seed();
  std::mt19937_64 random_;
  Tuples tuples_{.udp4 = {host4, 7000},
                 .udp6 = {host6, 7002},
                 .tcp4 = {host4, 7004},
                 .any4 = {host4_second, 7006},
                 .any6 = {host6_second, 7008},
                 .second4 = {host4_second, 7000},
                 .second6 = {host6_second, 7002},
                 .another = {host4, 7500},
                 .released = {host4, 7600},
                 .rebound = {host4, 7700},
                 .peer4 = {wire4, 4000},
                 .peer6 = {wire6, 4000}};
  std::vector<bool> seen_ = std::vector<bool>(2 * attacks_sent / one_valid_in + 1000);
  std::vector<mstack_vport_stats> per_cpu_ =
      std::vector<mstack_vport_stats>(static_cast<std::size_t>(check(::libbpf_num_possible_cpus(), "possible CPUs")));
};

TEST_F(Spoof, AMillionFramesAndNoneOnTheWire) {
  Stack attacker(world(), alice, {.frames = 1024, .ring_size = 256}), another(world(), bob);
  const Claim claims[] = {attacker.claim(IPPROTO_UDP, tuples_.udp4), attacker.claim(IPPROTO_UDP, tuples_.udp6),
                          attacker.claim(IPPROTO_TCP, tuples_.tcp4),
                          attacker.claim(IPPROTO_UDP, {"0.0.0.0", tuples_.any4.port}),
                          attacker.claim(IPPROTO_UDP, {"::", tuples_.any6.port}, {.v6only = true})};
  const Claim others = another.claim(IPPROTO_UDP, tuples_.another);
  Claim released = attacker.claim(IPPROTO_UDP, tuples_.released);
  ASSERT_TRUE(attacker.try_release(released));
  { const Claim closed = attacker.claim(IPPROTO_UDP, tuples_.rebound); }
  const Fd rebound = bound_as(bob, IPPROTO_UDP, tuples_.rebound);
  // The wire's own kernel need not answer each of them.
  const auto sinks = world().wire().run([&] {
    return std::array{bound(IPPROTO_UDP, tuples_.peer4), bound(IPPROTO_UDP, tuples_.peer6, {.v6only = true})};
  });

  WireWatch watch(world(), [this](std::span<const std::uint8_t> frame) { return judge(frame); });
  const auto attacks = attack_frames(tuples_, random_);
  const std::uint32_t slot = pins().vports().at(attacker.id()).slot;
  const Fd statistics = pins().open("vport_stats");

  std::map<mstack_verdict, std::uint64_t> expected;
  std::uint64_t open = 0, sent = 0, good = 0;
  const auto settle = [&] {
    attacker.flush();
    attacker.vport().queue(0).receive(256, [](Frame) {});  // what was answered
    ASSERT_TRUE(eventually([&] {
      attacker.flush();
      return transmitted(statistics, slot) >= sent;
    })) << transmitted(statistics, slot)
        << " counted of " << sent;
    ASSERT_TRUE(eventually([&] { return watch.good() + watch.bad() >= good; }))
        << watch.good() << " good and " << watch.bad() << " bad frames on the wire, of " << good << " good ones sent";
  };
  for (std::size_t done = 0; done < attacks_sent;) {
    for (std::size_t i = 0; i < most_on_the_way && done < attacks_sent; ++i, ++sent) {
      if (random_() % one_valid_in == 0) {
        send(attacker, valid(good++));
        continue;
      }
      const Attack& attack = attacks[random_() % attacks.size()];
      send(attacker, attack.frame);
      attack.verdict ? ++expected[*attack.verdict] : ++open;
      ++done;
    }
    settle();
    if (HasFatalFailure() || watch.bad() != 0) break;
  }

  // No whole Ethernet header: the device itself has no use for them, and they are counted there.
  for (std::size_t size = 1; size < 14; ++size) send(attacker, Bytes(size, 0x45));
  settle();

  std::cout << attacks.size() << " different attacks; " << sent << " frames sent, " << good << " of them valid\n";
  EXPECT_EQ(watch.bad(), 0U);
  for (const auto& frame : watch.first_bad()) ADD_FAILURE() << "on the wire: " << frame;
  EXPECT_EQ(watch.lost(), 0U);
  EXPECT_EQ(std::ranges::count(seen_, true), static_cast<std::ptrdiff_t>(good)) << "valid frames on the wire";

  // Each was counted, and as what it is; those whose reason was left open are all of the rest, and all drops.
  std::uint64_t total = 0, unexplained = 0;
  for (std::uint32_t i = MSTACK_TX_SENT; i < MSTACK_VERDICT_COUNT; ++i) {
    const auto verdict = static_cast<mstack_verdict>(i);
    const std::uint64_t counted = pins().counter(verdict, slot);
    total += counted;
    std::uint64_t wanted = expected[verdict];
    if (verdict == MSTACK_TX_SENT || verdict == MSTACK_TX_SENT_SLOW) continue;
    if (verdict == MSTACK_TX_TO_HOST || verdict == MSTACK_TX_ANSWERED) {
      EXPECT_EQ(counted, wanted) << verdict_name(verdict);
    } else {
      EXPECT_GE(counted, wanted) << verdict_name(verdict);
      unexplained += counted - wanted;
    }
  }
  EXPECT_EQ(total, sent);
  EXPECT_EQ(unexplained, open);
  EXPECT_EQ(pins().counter(MSTACK_TX_SENT, slot) + pins().counter(MSTACK_TX_SENT_SLOW, slot), good);
}

}  // namespace
}  // namespace mstack::test
