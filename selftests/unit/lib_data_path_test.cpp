// SPDX-License-Identifier: BSD-2-Clause
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <stdexcept>
#include <vector>

#include "fake_kernel.hpp"

namespace mstack::detail {
namespace {

TEST(DataPath, LeavesAQuarterOfTheFramesToSend) {
  FakeKernel kernel(64, 64);
  DataPath path = kernel.path();
  path.refill();
  EXPECT_EQ(kernel.fill.used(), 48u);
  EXPECT_EQ(path.pool().available(), 16u);
  while (kernel.deliver(60)) {
  }
  std::vector<Frame> held;
  while (const auto frame = path.allocate()) held.push_back(*frame);
  EXPECT_EQ(held.size(), 16u);
}

TEST(DataPath, HandsOutWhatTheKernelReceived) {
  FakeKernel kernel(64, 64);
  DataPath path = kernel.path();
  path.refill();
  ASSERT_TRUE(kernel.deliver(60));
  ASSERT_TRUE(kernel.deliver(1514));
  std::vector<std::size_t> sizes;
  EXPECT_EQ(path.receive(64,
                         [&](Frame frame) {
                           sizes.push_back(frame.size());
                           EXPECT_EQ(frame.headroom(), 256u);
                           EXPECT_EQ(frame.capacity(), 2048u - 256u);
                         }),
            2u);
  EXPECT_EQ(sizes, (std::vector<std::size_t>{60, 1514}));
  EXPECT_EQ(path.receive(64, [](Frame) { FAIL(); }), 0u);
  EXPECT_EQ(path.counters().rx_frames, 2u);
  EXPECT_EQ(path.counters().rx_bytes, 1574u);
  EXPECT_EQ(kernel.fill.used(), 48u) << "refilled";
}

TEST(DataPath, ReceivesNoMoreThanAskedFor) {
  FakeKernel kernel(64, 64);
  DataPath path = kernel.path();
  path.refill();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(kernel.deliver(60));
  EXPECT_EQ(path.receive(0, [](Frame) {}), 0u);
  EXPECT_EQ(path.receive(4, [](Frame) {}), 4u);
  EXPECT_EQ(kernel.rx.used(), 6u);
  EXPECT_EQ(path.receive(~std::size_t{0}, [](Frame) {}), 6u);
}

TEST(DataPath, TransmitsInPlace) {
  FakeKernel kernel(64, 64);
  DataPath path = kernel.path();
  path.refill();
  ASSERT_TRUE(kernel.deliver(60));
  path.receive(1, [&](Frame frame) {
    ASSERT_TRUE(frame.shrink_front(4));
    EXPECT_TRUE(path.transmit(frame));
    EXPECT_FALSE(path.transmit(frame)) << "the kernel's by now";
    EXPECT_FALSE(path.keep(frame));
    EXPECT_FALSE(path.give_back(frame));
  });
  EXPECT_EQ(path.counters().misused, 3u);
  EXPECT_EQ(kernel.tx.used(), 0u) << "not before submit()";
  path.submit();
  ASSERT_EQ(kernel.tx.used(), 1u);
  EXPECT_EQ(kernel.tx.entries[0].address % 2048, 260u);
  EXPECT_EQ(kernel.tx.entries[0].length, 56u);
  EXPECT_EQ(path.unsent(), 1u);
  ASSERT_TRUE(kernel.send());
  EXPECT_EQ(path.unsent(), 0u);
  EXPECT_EQ(path.in_flight(), 1u) << "until it was seen to come back";
  EXPECT_EQ(path.reap(), 1u);
  EXPECT_EQ(path.in_flight(), 0u);
  EXPECT_EQ(census(path)[FrameState::sent], 0u);
}

TEST(DataPath, KeepsAFrameBeyondTheCallback) {
  FakeKernel kernel(64, 64);
  DataPath path = kernel.path();
  path.refill();
  ASSERT_TRUE(kernel.deliver(60));
  ASSERT_TRUE(kernel.deliver(60));
  std::vector<Frame> seen;
  path.receive(2, [&](Frame frame) {
    if (seen.empty()) {
      EXPECT_TRUE(path.keep(frame));
    }
    seen.push_back(frame);
  });
  EXPECT_EQ(census(path)[FrameState::held], 1u);
  EXPECT_FALSE(path.give_back(seen[1])) << "free since the callback returned";
  EXPECT_FALSE(path.keep(seen[1]));
  EXPECT_TRUE(path.give_back(seen[0]));
  EXPECT_FALSE(path.give_back(seen[0])) << "twice";
  EXPECT_FALSE(path.transmit(seen[0]));
}

TEST(DataPath, RefusesFramesThatTheKernelWouldSwallow) {
  FakeKernel kernel(64, 64);
  DataPath path = kernel.path();
  auto frame = path.allocate();
  ASSERT_TRUE(frame);
  EXPECT_FALSE(path.transmit(*frame)) << "empty";
  EXPECT_FALSE(frame->resize(2048 - 256 + 1));
  EXPECT_TRUE(frame->resize(2048 - 256));
  EXPECT_TRUE(frame->grow_front(256));
  EXPECT_FALSE(frame->grow_front(1));
  EXPECT_EQ(frame->size(), 2048u);
  EXPECT_FALSE(frame->shrink_front(2048));
  EXPECT_TRUE(frame->shrink_front(2047));
  EXPECT_EQ(frame->size(), 1u);
  EXPECT_EQ(frame->headroom(), 2047u);
  EXPECT_EQ(frame->capacity(), 1u);
  EXPECT_TRUE(path.transmit(*frame));
}

TEST(DataPath, RefusesAFrameOfAnotherQueue) {
  FakeKernel kernel(64, 64), other(64, 64);
  DataPath path = kernel.path(), other_path = other.path();
  auto frame = other_path.allocate();
  ASSERT_TRUE(frame && frame->resize(60));
  EXPECT_FALSE(path.transmit(*frame));
  EXPECT_FALSE(path.keep(*frame));
  EXPECT_FALSE(path.give_back(*frame));
  EXPECT_EQ(path.counters().misused, 3u);
  EXPECT_TRUE(other_path.transmit(*frame));
}

TEST(DataPath, KeepsTheFrameWhenTheRingIsFull) {
  FakeKernel kernel(256, 64);
  DataPath path = kernel.path();
  for (int i = 0; i < 64; ++i) {
    auto frame = path.allocate();
    ASSERT_TRUE(frame && frame->resize(60) && path.transmit(*frame));
  }
  auto frame = path.allocate();
  ASSERT_TRUE(frame && frame->resize(60));
  EXPECT_FALSE(path.transmit(*frame));
  EXPECT_EQ(path.counters().tx_ring_full, 1u);
  path.submit();
  ASSERT_TRUE(kernel.send());
  EXPECT_TRUE(path.transmit(*frame));
}

TEST(DataPath, AllocateTakesBackWhatWasSent) {
  FakeKernel kernel(64, 64);
  DataPath path = kernel.path();
  for (int i = 0; i < 64; ++i) {
    auto frame = path.allocate();
    ASSERT_TRUE(frame && frame->resize(60) && path.transmit(*frame));
  }
  EXPECT_FALSE(path.allocate());
  path.submit();
  ASSERT_TRUE(kernel.send());
  EXPECT_TRUE(path.allocate());
  EXPECT_FALSE(path.allocate());
}

TEST(DataPath, RefusesEntriesThatNameNoFrameOfTheKernels) {
  FakeKernel kernel(64, 64);
  DataPath path = kernel.path();
  path.refill();
  const auto before = census(path);
  const Descriptor wrong[] = {
      {.address = 64 * 2048, .length = 60, .options = 0},  // past the UMEM
      {.address = ~std::uint64_t{0}, .length = 60, .options = 0},
      {.address = 256, .length = 2048, .options = 0},  // beyond its frame
      {.address = 256, .length = 0xffffffff, .options = 0},
      {.address = 63 * 2048 + 256, .length = 60, .options = 0},  // free, not the kernel's: it was never filled
  };
  for (const Descriptor& descriptor : wrong) kernel.rx.put(descriptor);
  EXPECT_EQ(path.receive(64, [](Frame) { FAIL(); }), 5u);
  EXPECT_EQ(path.counters().bad_entries, 5u);
  for (const std::uint64_t address : {std::uint64_t{256}, std::uint64_t{64 * 2048}, ~std::uint64_t{0}})
    kernel.completion.put(address);
  EXPECT_EQ(path.reap(), 0u);
  EXPECT_EQ(path.counters().bad_entries, 8u);
  EXPECT_EQ(census(path), before);
}

TEST(DataPath, LosesNothingToAnException) {
  FakeKernel kernel(64, 64);
  DataPath path = kernel.path();
  path.refill();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(kernel.deliver(60));
  EXPECT_THROW(path.receive(3, [](Frame) { throw std::runtime_error("application"); }), std::runtime_error);
  EXPECT_EQ(path.receive(3, [](Frame) {}), 2u);
  EXPECT_EQ(census(path)[FrameState::lent], 0u);
  EXPECT_EQ(kernel.fill.used(), 48u);
}

// Random but repeatable: an application that does everything it may and may not do, over a kernel at its own pace.
// After each step every frame has one owner, and what was written into a held frame is still there.
TEST(DataPath, LosesNoFrameAndHandsNoneOutTwice) {
  for (const std::uint32_t ring_size : {64u, 128u}) {
    FakeKernel kernel(128, ring_size);
    DataPath path = kernel.path();
    std::mt19937 random(ring_size);
    std::deque<std::pair<Frame, std::uint32_t>> held;
    std::uint32_t stamp = 0;
    const auto hold = [&](Frame frame) {
      ASSERT_TRUE(frame.resize(64));
      std::memcpy(frame.data(), &++stamp, sizeof(stamp));
      held.emplace_back(frame, stamp);
    };
    const auto drop = [&] {
      const auto [frame, expected] = held.front();
      std::uint32_t found;
      std::memcpy(&found, frame.data(), sizeof(found));
      ASSERT_EQ(found, expected) << "someone else wrote into a held frame";
      held.pop_front();
      if (random() % 2 != 0 && path.transmit(frame)) return;
      ASSERT_TRUE(path.give_back(frame));
      ASSERT_FALSE(path.give_back(frame));
    };
    path.refill();
    for (int step = 0; step < 50000; ++step) {
      switch (random() % 7) {
        case 0:
          for (auto i = random() % 20; i > 0 && kernel.deliver(60 + random() % 1400); --i) {
          }
          break;
        case 1:
          path.receive(random() % 20, [&](Frame frame) {
            std::memset(frame.data(), 0xff, frame.size());
            const auto choice = random() % 4;
            if (choice == 0) path.transmit(frame);
            if (choice == 1 && held.size() < 40 && path.keep(frame)) hold(frame);
            if (choice == 2) {
              ASSERT_TRUE(path.give_back(frame));
            }
          });
          break;
        case 2:
          if (auto frame = path.allocate()) hold(*frame);
          break;
        case 3:
          if (!held.empty()) drop();
          break;
        case 4: path.submit(); break;
        case 5:
          for (auto i = random() % 20; i > 0 && kernel.send(); --i) {
          }
          break;
        default:
          path.reap();
          path.refill();
          break;
      }
      if (HasFatalFailure()) return;
      auto count = census(path);
      ASSERT_EQ(count[FrameState::pool], path.pool().available());
      ASSERT_EQ(count[FrameState::held], held.size());
      ASSERT_EQ(count[FrameState::lent], 0u);
      ASSERT_EQ(count[FrameState::filled], kernel.fill.used() + kernel.rx.used());
      ASSERT_GE(count[FrameState::sent], kernel.tx.used() + kernel.completion.used());
    }
    while (!held.empty()) drop();
    path.submit();
    do path.reap();
    while (kernel.send());
    path.reap();
    EXPECT_EQ(census(path)[FrameState::sent], 0u);
    EXPECT_EQ(path.counters().bad_entries, 0u);
  }
}

}  // namespace
}  // namespace mstack::detail
