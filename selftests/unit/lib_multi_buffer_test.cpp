// SPDX-License-Identifier: BSD-2-Clause
//
// Packets of several frames.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "fake_kernel.hpp"

namespace mstack::detail {
namespace {

constexpr std::uint32_t frames = 64, ring_size = 64, frame_size = 2048;

class MultiBuffer : public ::testing::Test {
 protected:
  MultiBuffer() { path.refill(); }

  std::vector<Frame> allocate(std::size_t count, std::size_t size = 100) {
    std::vector<Frame> packet;
    for (std::size_t i = 0; i < count; ++i) {
      packet.push_back(path.allocate().value());
      EXPECT_TRUE(packet.back().resize(size));
    }
    return packet;
  }
  // No frame is anywhere but free or with the kernel.
  void expect_none_lost() {
    path.submit();
    while (kernel.send()) {
    }
    path.reap();
    path.refill();
    auto count = census(path);
    EXPECT_EQ(count[FrameState::filled], 48U);
    EXPECT_EQ(count[FrameState::pool], 16U);
    EXPECT_EQ(kernel.fill.used() + kernel.rx.used(), 48U);
  }

  FakeKernel kernel{frames, ring_size, frame_size, true};
  DataPath path = kernel.path();
};

TEST_F(MultiBuffer, APacketIsHandedOutWhole) {
  ASSERT_TRUE(kernel.deliver({1792, 1792, 10}));
  ASSERT_TRUE(kernel.deliver(60));
  ASSERT_TRUE(kernel.deliver({1792, 1}));
  std::vector<std::vector<std::size_t>> packets;
  EXPECT_EQ(path.receive(64,
                         [&](std::span<Frame> packet) {
                           packets.emplace_back();
                           for (const Frame& frame : packet) packets.back().push_back(frame.size());
                           for (const Frame& frame : packet.first(packet.size() - 1)) EXPECT_TRUE(frame.continues());
                           EXPECT_FALSE(packet.back().continues());
                         }),
            6U);
  EXPECT_EQ(packets, (std::vector<std::vector<std::size_t>>{{1792, 1792, 10}, {60}, {1792, 1}}));
  EXPECT_EQ(path.counters().rx_frames, 6U);
  EXPECT_EQ(path.counters().bad_entries, 0U);
  expect_none_lost();
}

TEST_F(MultiBuffer, OrFrameByFrame) {
  ASSERT_TRUE(kernel.deliver({1792, 5}));
  ASSERT_TRUE(kernel.deliver(60));
  std::vector<bool> continues;
  path.receive(64, [&](Frame frame) { continues.push_back(frame.continues()); });
  EXPECT_EQ(continues, (std::vector<bool>{true, false, false}));
  expect_none_lost();
}

// As before there were packets of several frames: what it does with them is for one alone to do.
TEST_F(MultiBuffer, AGenericCallbackTakesFrames) {
  ASSERT_TRUE(kernel.deliver({1792, 5}));
  std::vector<std::size_t> sizes;
  path.receive(64, [&](auto frame) {
    sizes.push_back(frame.size());
    EXPECT_FALSE(frame.resize(std::size_t{1} << 20));
  });
  EXPECT_EQ(sizes, (std::vector<std::size_t>{1792, 5}));
  expect_none_lost();
}

TEST_F(MultiBuffer, NoPacketIsLeftHalfReceived) {
  ASSERT_TRUE(kernel.deliver(60));
  ASSERT_TRUE(kernel.deliver({100, 200, 300}));
  ASSERT_TRUE(kernel.deliver(61));
  EXPECT_EQ(path.receive(2, [](std::span<Frame>) {}), 4U) << "two, and the rest of the second";
  EXPECT_EQ(kernel.rx.used(), 1U);
  EXPECT_EQ(path.receive(2, [](std::span<Frame> packet) { EXPECT_EQ(packet[0].size(), 61U); }), 1U);
  expect_none_lost();
}

TEST_F(MultiBuffer, GoesBackAsItCame) {
  ASSERT_TRUE(kernel.deliver({1792, 1792, 10}));
  path.receive(64, [&](std::span<Frame> packet) {
    EXPECT_TRUE(path.transmit(packet));
    EXPECT_FALSE(path.transmit(packet)) << "the kernel's by now";
    EXPECT_FALSE(path.keep(packet[1]));
  });
  path.submit();
  ASSERT_EQ(kernel.tx.used(), 3U);
  EXPECT_EQ(kernel.tx.entries[0].options, descriptor_continues);
  EXPECT_EQ(kernel.tx.entries[1].options, descriptor_continues);
  EXPECT_EQ(kernel.tx.entries[2].options, 0U);
  EXPECT_EQ(kernel.tx.entries[2].length, 10U);
  EXPECT_EQ(path.counters().tx_bytes, 1792U + 1792 + 10);
  expect_none_lost();
}

TEST_F(MultiBuffer, FramesOfAPacketMayBeKeptApart) {
  ASSERT_TRUE(kernel.deliver({1792, 1792, 10}));
  std::vector<Frame> kept;
  path.receive(64, [&](std::span<Frame> packet) {
    ASSERT_TRUE(path.keep(packet[1]));
    kept.push_back(packet[1]);
  });
  EXPECT_EQ(census(path)[FrameState::held], 1U);
  EXPECT_TRUE(path.give_back(kept[0]));
  expect_none_lost();
}

// What a callback does to the views that it was lent is its own affair.
TEST_F(MultiBuffer, ALoanEndsWhateverTheCallbackMadeOfTheViews) {
  ASSERT_TRUE(kernel.deliver({1792, 1792, 10}));
  path.receive(64, [&](std::span<Frame> packet) {
    std::ranges::fill(packet, Frame());
    EXPECT_FALSE(path.transmit(packet));
    EXPECT_FALSE(path.keep(packet[0]));
  });
  ASSERT_TRUE(kernel.deliver(60));
  path.receive(64, [&](std::span<Frame> packet) { packet[0] = Frame(); });
  EXPECT_EQ(path.counters().misused, 2U);
  expect_none_lost();
}

TEST_F(MultiBuffer, APacketThatTheRingHasNoRoomForIsRefusedWhole) {
  FakeKernel busy(frames, ring_size, frame_size, true);
  busy.tx.consumer = busy.tx.producer - (ring_size - 2);  // two places are left
  DataPath full = busy.path();
  std::vector<Frame> packet;
  for (int i = 0; i < 3; ++i) {
    packet.push_back(full.allocate().value());
    ASSERT_TRUE(packet.back().resize(100));
  }
  EXPECT_FALSE(full.transmit(packet));
  EXPECT_EQ(full.counters().tx_ring_full, 1U);
  EXPECT_EQ(full.counters().misused, 0U);
  full.submit();
  EXPECT_EQ(busy.tx.used(), ring_size - 2) << "nothing of it is in the ring";
  for (const Frame& frame : packet) EXPECT_TRUE(full.give_back(frame)) << "still the caller's";
}

TEST_F(MultiBuffer, EighteenFramesAreAPacketAndNineteenAreNone) {
  ASSERT_EQ(path.pool().available(), 16U);
  // All of the pool, and what comes.
  std::vector<Frame> packet = allocate(16);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(kernel.deliver(60));
    path.receive(1, [&](Frame frame) {
      ASSERT_TRUE(path.keep(frame));
      packet.push_back(frame);
    });
  }
  ASSERT_EQ(packet.size(), 19U);
  EXPECT_FALSE(path.transmit(packet));
  EXPECT_EQ(path.counters().misused, 1U);
  EXPECT_TRUE(path.give_back(packet.back()));
  packet.pop_back();
  EXPECT_TRUE(path.transmit(packet));
  EXPECT_FALSE(path.transmit(std::span<const Frame>())) << "none at all";
  expect_none_lost();
}

TEST_F(MultiBuffer, APacketWithAWrongFrameIsRefusedAndLeavesTheOthersAsTheyWere) {
  FakeKernel other_kernel(64, 64, 2048, true);
  DataPath other = other_kernel.path();
  for (int what = 0; what < 5; ++what) {
    std::vector<Frame> packet = allocate(3);
    const std::vector<Frame> mine = packet;
    if (what == 0) packet[2] = packet[0];                   // twice
    if (what == 1) static_cast<void>(packet[1].resize(0));  // empty: the kernel would not give it back
    if (what == 2) packet[2] = other.allocate().value();    // another queue's
    if (what == 3) path.give_back(packet[2]);               // the caller's no more
    if (what == 4) packet[1] = Frame();
    EXPECT_FALSE(path.transmit(packet)) << what;
    path.submit();
    EXPECT_EQ(kernel.tx.used(), 0U) << what;
    EXPECT_TRUE(path.give_back(mine[0])) << what;
    EXPECT_TRUE(path.give_back(mine[1])) << what;
    EXPECT_EQ(path.give_back(mine[2]), what != 3) << what;
  }
  expect_none_lost();
}

TEST_F(MultiBuffer, OneFrameIsAllThatAnOrdinaryVportSends) {
  FakeKernel plain_kernel(64, 64);
  DataPath plain = plain_kernel.path();
  std::vector<Frame> packet{plain.allocate().value(), plain.allocate().value()};
  for (Frame& frame : packet) ASSERT_TRUE(frame.resize(60));
  EXPECT_FALSE(plain.transmit(packet));
  EXPECT_TRUE(plain.transmit(std::span<const Frame>(packet).first(1)));
}

// None of it comes from a kernel that works; no frame may be lost or handed out twice for it.
TEST_F(MultiBuffer, RunsThatAreNoPacketAreDroppedAndTheirFramesAreFree) {
  const auto none = [](std::span<Frame>) { ADD_FAILURE() << "handed out"; };
  // Without an end.
  ASSERT_TRUE(kernel.deliver(60, true));
  ASSERT_TRUE(kernel.deliver(60, true));
  EXPECT_EQ(path.receive(64, none), 2U);
  EXPECT_EQ(path.counters().bad_entries, 1U);
  expect_none_lost();
  // Of 19 and of 40 frames.
  for (const int entries : {19, 40}) {
    for (int i = 1; i < entries; ++i) ASSERT_TRUE(kernel.deliver(60, true));
    ASSERT_TRUE(kernel.deliver(60));
    EXPECT_EQ(path.receive(64, none), static_cast<std::size_t>(entries));
    expect_none_lost();
  }
  // With an entry that names no frame, one that the kernel does not have, and one that leaves its frame.
  for (const Descriptor bad : {Descriptor{.address = ~std::uint64_t{0}, .length = 60, .options = descriptor_continues},
                               Descriptor{.address = std::uint64_t{frames} << 11, .length = 60, .options = 0},
                               Descriptor{.address = 0, .length = 2049, .options = descriptor_continues}}) {
    const std::uint64_t before = path.counters().bad_entries;
    ASSERT_TRUE(kernel.deliver(60, true));
    kernel.rx.put(bad);
    if (bad.options != 0) kernel.deliver(60);
    EXPECT_EQ(path.receive(64, none), bad.options != 0 ? 3U : 2U);
    EXPECT_GT(path.counters().bad_entries, before);
    expect_none_lost();
  }
  // What comes behind is received.
  ASSERT_TRUE(kernel.deliver({60, 61}));
  std::size_t packets = 0;
  path.receive(64, [&](std::span<Frame> packet) { packets += packet.size() == 2; });
  EXPECT_EQ(packets, 1U);
}

TEST_F(MultiBuffer, AFrameTwiceInARunIsLentOnce) {
  ASSERT_TRUE(kernel.deliver(60, true));
  Descriptor same = kernel.rx.entries[(kernel.rx.producer - 1) % ring_size];
  same.options = 0;
  kernel.rx.put(same);
  EXPECT_EQ(path.receive(64, [](std::span<Frame>) { ADD_FAILURE() << "handed out"; }), 2U);
  expect_none_lost();
}

TEST_F(MultiBuffer, AnOrdinaryVportIsGivenNoRun) {
  FakeKernel plain_kernel(64, 64);
  DataPath plain = plain_kernel.path();
  plain.refill();
  ASSERT_TRUE(plain_kernel.deliver({60, 60}));
  ASSERT_TRUE(plain_kernel.deliver(61));
  std::vector<std::size_t> sizes;
  EXPECT_EQ(plain.receive(64, [&](Frame frame) { sizes.push_back(frame.size()); }), 3U);
  EXPECT_EQ(sizes, std::vector<std::size_t>{61});
  EXPECT_EQ(census(plain)[FrameState::pool] + census(plain)[FrameState::filled], 64U);
}

TEST_F(MultiBuffer, ARandomKernelAndARandomApplicationLoseNoFrame) {
  std::mt19937 random(1);
  std::vector<Frame> held;
  for (int round = 0; round < 20000; ++round) {
    const auto dice = random() % 8;
    if (dice < 3) kernel.deliver(1 + random() % 2000, random() % 2 != 0);
    if (dice == 3)
      kernel.rx.put({.address = random(),
                     .length = static_cast<std::uint32_t>(random() % 4096),
                     .options = static_cast<std::uint32_t>(random() % 2)});
    if (dice == 4)
      path.receive(random() % 8, [&](std::span<Frame> packet) {
        if (random() % 2 != 0) static_cast<void>(path.transmit(packet));
        for (const Frame& frame : packet)
          if (random() % 4 == 0 && path.keep(frame)) held.push_back(frame);
      });
    if (dice == 5 && !held.empty()) {
      std::vector<Frame> packet(held.begin(), held.begin() + static_cast<std::ptrdiff_t>(random() % held.size()));
      if (path.transmit(packet)) held.erase(held.begin(), held.begin() + static_cast<std::ptrdiff_t>(packet.size()));
    }
    if (dice == 6 && !held.empty() && path.give_back(held.back())) held.pop_back();
    if (dice == 7) {
      path.submit();
      while (random() % 4 != 0 && kernel.send()) {
      }
      path.reap();
      path.refill();
    }
    if (kernel.rx.used() > ring_size / 2) path.receive(ring_size, [](std::span<Frame>) {});
  }
  path.receive(ring_size, [](std::span<Frame>) {});
  path.submit();
  while (kernel.send()) {
  }
  path.reap();
  auto count = census(path);
  EXPECT_EQ(count[FrameState::held], held.size());
  EXPECT_EQ(count[FrameState::lent], 0U);
  EXPECT_EQ(count[FrameState::sent], 0U);
}

}  // namespace
}  // namespace mstack::detail
