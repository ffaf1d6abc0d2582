// SPDX-License-Identifier: BSD-2-Clause
//
// The packet memory stays the stack's while its frames are on their way. What is checked and what is sent must be one
// and the same copy: a second thread that rewrites frames in the TX ring gets none of its rewriting past the check.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <random>
#include <thread>

#include "support/fixture.hpp"
#include "support/stack.hpp"
#include "wire_watch.hpp"

namespace mstack::test {
namespace {

constexpr std::size_t frames_sent = 150'000;
constexpr std::size_t offset_ip = 14, offset_source = 26, offset_port = 34, offset_total = 16, offset_udp_length = 38;
const Endpoint own{host4, 7000}, peer{wire4, 4000};

// Of the frames that the sender fills, flips between what may be sent and what may not, as fast as it can.
class Rewriter {
 public:
  struct Change {
    std::size_t offset;
    Bytes right, wrong;
  };
  Rewriter(std::vector<std::uint8_t*> frames, Change change)
      : frames_(std::move(frames)), change_(std::move(change)), thread_([this] { run(); }) {}
  Rewriter(Rewriter&&) = delete;
  ~Rewriter() {
    stop_ = true;
    thread_.join();
  }
  std::uint64_t rounds() const { return rounds_; }

 private:
  void run() {
    while (!stop_) {
      for (const Bytes* bytes : {&change_.wrong, &change_.right}) {
        for (std::uint8_t* frame : frames_) write(frame + change_.offset, *bytes);
      }
      ++rounds_;
    }
  }
  // Racing on purpose: with the kernel, not with ourselves.
  static void write(std::uint8_t* to, const Bytes& bytes) {
    for (std::size_t i = 0; i < bytes.size(); ++i) std::atomic_ref(to[i]).store(bytes[i], std::memory_order_relaxed);
  }

  std::vector<std::uint8_t*> frames_;
  Change change_;
  std::atomic<bool> stop_ = false;
  std::atomic<std::uint64_t> rounds_ = 0;
  std::thread thread_;
};

class Toctou : public NetTest, public ::testing::WithParamInterface<int> {};

std::vector<Rewriter::Change> changes() {
  return {
      {.offset = offset_port, .right = {0x1b, 0x58}, .wrong = {0x1b, 0x59}},
      {.offset = offset_source, .right = address_bytes(host4), .wrong = address_bytes(host4_second)},
      {.offset = offset_source, .right = address_bytes(host4), .wrong = address_bytes("203.0.113.9")},
      {.offset = 12, .right = {0x08, 0x00}, .wrong = {0x81, 0x00}},
      {.offset = offset_ip, .right = {0x45}, .wrong = {0x46}},
      {.offset = offset_total, .right = {0x00, 0x24}, .wrong = {0xff, 0xff}},
      {.offset = offset_udp_length, .right = {0x00, 0x10}, .wrong = {0xff, 0xff}},
      {.offset = 20, .right = {0x00, 0x00}, .wrong = {0x20, 0x00}},  // a fragment
  };
}

TEST_P(Toctou, NothingRewrittenOnItsWayIsSent) {
  const auto change = changes().at(static_cast<std::size_t>(GetParam()));
  Stack stack(world(), alice, {.frames = 1024, .ring_size = 512});
  const Claim claim = stack.claim(IPPROTO_UDP, own);
  const Fd sink = world().wire().run([] { return bound(IPPROTO_UDP, peer); });
  const Bytes right = build(World::udp(own, peer, "12345678"));
  ASSERT_EQ(right.size(), 50U);

  WireWatch watch(world(), [&](std::span<const std::uint8_t> frame) {
    // The IP checksum is of the right header alone, so whatever of it was changed shows; so do the ports.
    const auto packet = parse(frame);
    const bool is_right = packet && packet->from == own && packet->to == peer && packet->payload == "12345678" &&
                          std::ranges::equal(frame.subspan(offset_ip, 36), std::span(right).subspan(offset_ip, 36));
    return is_right ? WireWatch::Judgement::good : WireWatch::Judgement::bad;
  });

  Queue& queue = stack.vport().queue(0);
  std::vector<std::uint8_t*> all;
  std::vector<Frame> held;
  while (auto frame = queue.allocate()) {
    ASSERT_TRUE(frame->resize(right.size()));
    std::ranges::copy(right, frame->data());
    all.push_back(frame->data());
    held.push_back(*frame);
  }
  for (const Frame& frame : held) queue.give_back(frame);
  std::optional<Rewriter> rewriter(std::in_place, all, change);
  for (std::size_t sent = 0; sent < frames_sent;) {
    for (int i = 0; i < 64; ++i) {
      const auto frame = queue.allocate();
      if (!frame || !queue.transmit(*frame, right.size())) {
        if (frame) queue.give_back(*frame);
        break;
      }
      ++sent;
    }
    stack.flush();
    if (watch.bad() != 0) break;
  }
  const std::uint64_t rounds = rewriter->rounds();
  rewriter.reset();

  const auto slot = pins().vports().at(stack.id()).slot;
  const auto counted = [&](mstack_verdict verdict) { return pins().counter(verdict, slot); };
  const std::uint64_t allowed = counted(MSTACK_TX_SENT) + counted(MSTACK_TX_SENT_SLOW);
  std::uint64_t dropped = 0;
  for (std::uint32_t i = MSTACK_TX_DROP_NO_VPORT; i < MSTACK_VERDICT_COUNT; ++i)
    dropped += counted(static_cast<mstack_verdict>(i));
  std::cout << rounds << " rounds of rewriting, " << allowed << " frames sent, " << dropped << " dropped\n";
  // What is still on its way is judged too. A frame may be lost in the wire's own queue: no matter.
  eventually([&] { return watch.good() + watch.bad() >= allowed; }, Deadline{2s});
  for (const auto& frame : watch.first_bad()) ADD_FAILURE() << "on the wire: " << frame;
  EXPECT_EQ(watch.lost(), 0U);
  // Both happened, so the rewriting did reach frames on their way.
  EXPECT_GT(allowed, 0U);
  EXPECT_GT(dropped, 0U);
}

INSTANTIATE_TEST_SUITE_P(Every, Toctou, ::testing::Range(0, static_cast<int>(changes().size())));

}  // namespace
}  // namespace mstack::test
