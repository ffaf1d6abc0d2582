// SPDX-License-Identifier: BSD-2-Clause
#include <gtest/gtest.h>

#include "daemon/slots.hpp"

namespace mstack::daemon {
namespace {

constexpr std::uint32_t all = SlotAllocator::end - SlotAllocator::first;

TEST(SlotAllocator, BeginsAboveTheLoopbackDevice) {
  SlotAllocator slots;
  EXPECT_EQ(slots.allocate(1), 2u);
  EXPECT_EQ(slots.allocate(1), 3u);
}

TEST(SlotAllocator, GivesContiguousSlotsAndFillsHoles) {
  SlotAllocator slots;
  EXPECT_EQ(slots.allocate(4), 2u);
  EXPECT_EQ(slots.allocate(4), 6u);
  slots.release(2, 4);
  EXPECT_EQ(slots.allocate(5), 10u);
  EXPECT_EQ(slots.allocate(3), 2u);
  EXPECT_EQ(slots.allocate(2), 15u);
  EXPECT_EQ(slots.allocate(1), 5u);
}

TEST(SlotAllocator, EndsWhereTheMapsEnd) {
  SlotAllocator slots;
  for (std::uint32_t i = 0; i < all; ++i) ASSERT_TRUE(slots.allocate(1)) << i;
  EXPECT_FALSE(slots.allocate(1));
  slots.release(SlotAllocator::end - 1, 1);
  EXPECT_FALSE(slots.allocate(2));
  EXPECT_EQ(slots.allocate(1), SlotAllocator::end - 1);
}

TEST(SlotAllocator, TakesOnlyWhatIsThereAndFree) {
  SlotAllocator slots;
  EXPECT_FALSE(slots.take(0, 1));
  EXPECT_FALSE(slots.take(1, 1));
  EXPECT_FALSE(slots.take(2, 0));
  EXPECT_FALSE(slots.take(SlotAllocator::end, 1));
  EXPECT_FALSE(slots.take(SlotAllocator::end - 1, 2));
  EXPECT_FALSE(slots.take(2, 0xffffffff));
  EXPECT_FALSE(slots.take(0xffffffff, 2));
  EXPECT_TRUE(slots.take(10, 4));
  EXPECT_FALSE(slots.take(7, 4));
  EXPECT_FALSE(slots.take(13, 1));
  EXPECT_TRUE(slots.take(14, 1));
  // What was refused took nothing.
  EXPECT_TRUE(slots.take(7, 3));
}

TEST(SlotLease, GivesBackOnce) {
  SlotAllocator slots;
  {
    SlotLease lease(slots, *slots.allocate(2), 2);
    const SlotLease moved = std::move(lease);
    EXPECT_FALSE(slots.is_free(2, 1));
    EXPECT_EQ(moved.slot(), 2u);
    EXPECT_EQ(moved.count(), 2u);
  }
  EXPECT_TRUE(slots.is_free(2, 2));
}

}  // namespace
}  // namespace mstack::daemon
