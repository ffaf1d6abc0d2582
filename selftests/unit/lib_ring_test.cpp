// SPDX-License-Identifier: BSD-2-Clause
#include <gtest/gtest.h>

#include <cstdint>
#include <thread>
#include <vector>

#include "mstack/detail/ring.hpp"

namespace mstack::detail {
namespace {

// A ring in plain memory, and the kernel's side of it.
struct FakeRing {
  explicit FakeRing(std::uint32_t size, std::uint32_t start = 0) : producer(start), consumer(start), entries(size) {}
  RingMemory<std::uint64_t> memory() {
    return {.producer = &producer,
            .consumer = &consumer,
            .flags = &flags,
            .entries = entries.data(),
            .size = static_cast<std::uint32_t>(entries.size())};
  }
  std::uint32_t producer, consumer, flags = 0;
  std::vector<std::uint64_t> entries;
};

// Indices are free-running: all of this must hold across their overflow as well.
class RingStart : public testing::TestWithParam<std::uint32_t> {};
INSTANTIATE_TEST_SUITE_P(At, RingStart, testing::Values(0u, 5u, 0x7fffffffu, 0xfffffffau, 0xffffffffu));

TEST_P(RingStart, ProducerFillsUpAndGoesOnWhenThereIsRoom) {
  FakeRing fake(8, GetParam());
  ProducerRing<std::uint64_t> ring(fake.memory());
  EXPECT_EQ(ring.room(100), 8u);
  for (std::uint64_t i = 0; i < 8; ++i) ring.push(i);
  EXPECT_EQ(ring.room(1), 0u);
  EXPECT_EQ(fake.producer, GetParam()) << "not published before submit()";
  EXPECT_EQ(ring.waiting(), 0u);
  ring.submit();
  EXPECT_EQ(fake.producer, GetParam() + 8);
  EXPECT_EQ(ring.waiting(), 8u);
  for (std::uint64_t i = 0; i < 8; ++i) EXPECT_EQ(fake.entries[(GetParam() + i) & 7], i);

  fake.consumer += 3;
  EXPECT_EQ(ring.room(2), 2u);
  EXPECT_EQ(ring.room(100), 3u);
  EXPECT_EQ(ring.waiting(), 5u);
  ring.push(8);
  ring.submit();
  EXPECT_EQ(fake.entries[(GetParam() + 8) & 7], 8u);
  EXPECT_EQ(ring.waiting(), 6u);
}

TEST_P(RingStart, ConsumerEmptiesAndGivesBackPlaces) {
  FakeRing fake(8, GetParam());
  ConsumerRing<std::uint64_t> ring(fake.memory());
  EXPECT_EQ(ring.available(8), 0u);
  for (std::uint64_t i = 0; i < 8; ++i) fake.entries[(GetParam() + i) & 7] = 100 + i;
  fake.producer += 8;
  EXPECT_EQ(ring.available(3), 3u);
  EXPECT_EQ(ring.available(100), 8u);
  for (std::uint64_t i = 0; i < 5; ++i) EXPECT_EQ(ring.pop(), 100 + i);
  EXPECT_EQ(fake.consumer, GetParam()) << "not published before release()";
  ring.release();
  EXPECT_EQ(fake.consumer, GetParam() + 5);
  EXPECT_EQ(ring.available(100), 3u);
  fake.entries[(GetParam() + 8) & 7] = 108;
  fake.producer += 1;
  EXPECT_EQ(ring.available(100), 4u);
  for (std::uint64_t i = 5; i < 9; ++i) EXPECT_EQ(ring.pop(), 100 + i);
  EXPECT_EQ(ring.available(1), 0u);
}

TEST_P(RingStart, AnImpossibleIndexIsNotBelieved) {
  FakeRing fake(8, GetParam());
  ProducerRing<std::uint64_t> producer(fake.memory());
  for (int i = 0; i < 8; ++i) producer.push(0);
  producer.submit();
  for (const std::uint32_t wrong : {9u, 1000u, 0x80000000u, ~0u}) {
    fake.consumer = GetParam() + wrong;
    EXPECT_EQ(producer.room(8), 0u) << wrong;
    EXPECT_EQ(producer.waiting(), 8u) << wrong;
  }

  FakeRing other(8, GetParam());
  ConsumerRing<std::uint64_t> consumer(other.memory());
  for (const std::uint32_t wrong : {9u, 1000u, 0x80000000u, ~0u}) {
    other.producer = GetParam() + wrong;
    EXPECT_EQ(consumer.available(8), 0u) << wrong;
  }
  other.producer = GetParam() + 4;
  EXPECT_EQ(consumer.available(8), 4u);
  other.producer = GetParam() + 2;  // backwards
  EXPECT_EQ(consumer.available(8), 4u);
}

TEST(Ring, TellsTheKernelsWakeupFlag) {
  FakeRing fake(8);
  ProducerRing<std::uint64_t> ring(fake.memory());
  EXPECT_FALSE(ring.needs_wakeup());
  fake.flags = ring_need_wakeup;
  EXPECT_TRUE(ring.needs_wakeup());
  fake.flags = 2;
  EXPECT_FALSE(ring.needs_wakeup());
}

// One thread on each side of one ring: under ThreadSanitizer this proves the order of entries and indices.
TEST(Ring, CarriesEverythingInOrderBetweenThreads) {
  constexpr std::uint64_t total = 200000;
  FakeRing fake(64, 0xffffff00u);
  std::jthread writer([&] {
    ProducerRing<std::uint64_t> ring(fake.memory());
    for (std::uint64_t sent = 0; sent < total;) {
      const auto room = ring.room(static_cast<std::uint32_t>(std::min<std::uint64_t>(7, total - sent)));
      for (std::uint32_t i = 0; i < room; ++i) ring.push(sent++);
      ring.submit();
      if (room == 0) std::this_thread::yield();
    }
  });
  FakeRing* shared = &fake;
  RingMemory<std::uint64_t> memory = shared->memory();
  ConsumerRing<std::uint64_t> ring(memory);
  std::uint64_t expected = 0;
  while (expected < total) {
    const auto count = ring.available(5);
    for (std::uint32_t i = 0; i < count; ++i) ASSERT_EQ(ring.pop(), expected++);
    ring.release();
    if (count == 0) std::this_thread::yield();
  }
}

}  // namespace
}  // namespace mstack::detail
