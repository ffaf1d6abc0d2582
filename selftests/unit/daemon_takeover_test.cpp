// SPDX-License-Identifier: BSD-2-Clause
#include <gtest/gtest.h>

#include <algorithm>

#include "daemon/slots.hpp"
#include "daemon/takeover_plan.hpp"

namespace mstack::daemon {
namespace {

mstack_vport record(std::uint16_t slot, std::uint16_t queues) {
  mstack_vport record = {};
  record.slot = slot;
  record.queues = queues;
  return record;
}

mstack_tuple tuple(std::uint16_t port) {
  mstack_tuple tuple = {};
  tuple.port = port;
  tuple.protocol = 17;
  return tuple;
}

mstack_claim claim(std::uint32_t vport, std::uint16_t slot, std::uint16_t queues,
                   std::uint32_t state = MSTACK_CLAIM_ACTIVE) {
  return {.cookie = 1, .vport = vport, .uid = 0, .slot = slot, .queues = queues, .state = state};
}

std::vector<std::uint32_t> ids(const Plan& plan) {
  std::vector<std::uint32_t> ids;
  for (const Plan::Adopted& vport : plan.adopted) ids.push_back(vport.id);
  return ids;
}

bool has(const auto& range, const auto& value) {
  return std::ranges::find(range, value) != range.end();
}

std::vector<std::uint16_t> ports(const std::vector<mstack_tuple>& tuples) {
  std::vector<std::uint16_t> ports;
  for (const mstack_tuple& tuple : tuples) ports.push_back(tuple.port);
  return ports;
}

// Two vports of two and one queues, whole.
Found two_vports() {
  return {
      .vports = {{.id = 7, .record = record(2, 2), .alive = true}, {.id = 9, .record = record(4, 1), .alive = true}},
      .claims = {{tuple(1), claim(7, 2, 2)}, {tuple(2), claim(9, 4, 1)}},
      .host_ends = {{.ifindex = 20, .vport = 7, .queue = 0},
                    {.ifindex = 21, .vport = 7, .queue = 1},
                    {.ifindex = 22, .vport = 9, .queue = 0}},
      .host_end_entries = {{20, {.vport = 7, .slot = 2}}, {21, {.vport = 7, .slot = 3}}, {22, {.vport = 9, .slot = 4}}},
      .link_pins = {"host_2", "stack_2", "host_3", "stack_3", "host_4", "stack_4", "uplink_3", "sock_bind4"}};
}

TEST(TakeoverPlan, KeepsWhatIsWhole) {
  const Plan plan = plan_takeover(two_vports());
  EXPECT_EQ(ids(plan), (std::vector<std::uint32_t>{7, 9}));
  EXPECT_EQ(plan.adopted[0].host_ends[0], 20u);
  EXPECT_EQ(plan.adopted[0].host_ends[1], 21u);
  EXPECT_EQ(plan.adopted[0].host_ends[2], 0u);
  EXPECT_EQ(plan.adopted[1].host_ends[0], 22u);
  EXPECT_TRUE(plan.claims.empty());
  EXPECT_TRUE(plan.vports.empty());
  EXPECT_TRUE(plan.host_end_entries.empty());
  EXPECT_TRUE(plan.link_pins.empty());
  EXPECT_TRUE(plan.host_ends.empty());
}

TEST(TakeoverPlan, ClearsEverySlotThatNoVportHas) {
  const Plan plan = plan_takeover(two_vports());
  EXPECT_EQ(plan.slots.size(), MSTACK_MAX_SLOTS - 3u);
  for (const std::uint32_t taken : {2u, 3u, 4u}) EXPECT_FALSE(has(plan.slots, taken));
  for (const std::uint32_t free : {0u, 1u, 5u, MSTACK_MAX_SLOTS - 1u}) EXPECT_TRUE(has(plan.slots, free));
}

TEST(TakeoverPlan, RemovesAllOfAVportWhoseStackIsGone) {
  Found found = two_vports();
  found.vports[0].alive = false;
  const Plan plan = plan_takeover(found);
  EXPECT_EQ(ids(plan), std::vector<std::uint32_t>{9});
  EXPECT_EQ(plan.vports, std::vector<std::uint32_t>{7});
  EXPECT_EQ(ports(plan.claims), std::vector<std::uint16_t>{1});
  EXPECT_EQ(plan.host_end_entries, (std::vector<std::uint32_t>{20, 21}));
  EXPECT_EQ(plan.host_ends, (std::vector<std::uint32_t>{20, 21}));
  EXPECT_EQ(plan.link_pins, (std::vector<std::string>{"host_2", "stack_2", "host_3", "stack_3"}));
  EXPECT_TRUE(has(plan.slots, 2u) && has(plan.slots, 3u));
}

TEST(TakeoverPlan, RemovesWhatAnInterruptedOpenLeft) {
  Found found = two_vports();
  // Devices, entries and pins of vport 10, which was never written down; a pin that was not renamed.
  found.host_ends.push_back({.ifindex = 30, .vport = 10, .queue = 0});
  found.host_end_entries.push_back({30, {.vport = 10, .slot = 5}});
  found.link_pins.insert(found.link_pins.end(), {"stack_5", "new_host_5", "new_uplink_8"});
  const Plan plan = plan_takeover(found);
  EXPECT_EQ(ids(plan).size(), 2u);
  EXPECT_EQ(plan.host_ends, std::vector<std::uint32_t>{30});
  EXPECT_EQ(plan.host_end_entries, std::vector<std::uint32_t>{30});
  EXPECT_EQ(plan.link_pins, (std::vector<std::string>{"stack_5", "new_host_5", "new_uplink_8"}));
}

TEST(TakeoverPlan, RemovesClaimsThatAreNotWholeOrNobodys) {
  Found found = two_vports();
  found.claims = {{tuple(1), claim(7, 2, 2)},
                  {tuple(2), claim(7, 2, 2, MSTACK_CLAIM_PENDING)},
                  {tuple(6), claim(7, 2, 2, MSTACK_CLAIM_SUSPENDED)},  // its address may be back
                  {tuple(3), claim(8, 2, 2)},
                  {tuple(4), claim(7, 4, 2)},    // would be steered to another's slot
                  {tuple(5), claim(9, 4, 16)}};  // and to slots beyond its own
  EXPECT_EQ(ports(plan_takeover(found).claims), (std::vector<std::uint16_t>{2, 3, 4, 5}));
}

TEST(TakeoverPlan, RefusesRecordsThatCannotBe) {
  Found found = two_vports();
  found.vports = {{.id = 1, .record = record(2, 0), .alive = true},
                  {.id = 2, .record = record(2, MSTACK_MAX_QUEUES + 1), .alive = true},
                  {.id = 3, .record = record(1, 1), .alive = true},
                  {.id = 4, .record = record(MSTACK_MAX_SLOTS - 1, 2), .alive = true},
                  {.id = 5, .record = record(10, 4), .alive = true},
                  {.id = 6, .record = record(13, 1), .alive = true}};  // in the slots of 5
  const Plan plan = plan_takeover(found);
  EXPECT_EQ(ids(plan), std::vector<std::uint32_t>{5});
  EXPECT_EQ(plan.vports, (std::vector<std::uint32_t>{1, 2, 3, 4, 6}));
}

TEST(TakeoverPlan, AnEntryOfAnotherDeviceIsNotTheVports) {
  Found found = two_vports();
  found.host_end_entries[0].first = 50;          // the index of the device that vport 7 had, by now another's
  found.host_end_entries[1].second.slot = 4;     // vport 7 in a slot of vport 9
  found.host_end_entries[2].second.slot = 1000;  // beyond
  EXPECT_EQ(plan_takeover(found).host_end_entries, (std::vector<std::uint32_t>{50, 21, 22}));
}

TEST(TakeoverPlan, AVportMayHaveLostADevice) {
  Found found = two_vports();
  found.host_ends.erase(found.host_ends.begin());
  const Plan plan = plan_takeover(found);
  EXPECT_EQ(plan.adopted[0].host_ends[0], 0u);
  EXPECT_EQ(plan.adopted[0].host_ends[1], 21u);
  EXPECT_EQ(plan.host_end_entries, std::vector<std::uint32_t>{20});
}

TEST(TakeoverPlan, ADeviceOfAQueueTooManyIsRemoved) {
  Found found = two_vports();
  found.host_ends.push_back({.ifindex = 40, .vport = 9, .queue = 1});
  found.host_ends.push_back({.ifindex = 41, .vport = 9, .queue = 0xffffffff});
  EXPECT_EQ(plan_takeover(found).host_ends, (std::vector<std::uint32_t>{40, 41}));
}

TEST(TakeoverPlan, NothingFoundIsNothingToDo) {
  const Plan plan = plan_takeover({});
  EXPECT_TRUE(plan.adopted.empty());
  EXPECT_EQ(plan.slots.size(), std::size_t{MSTACK_MAX_SLOTS});
}

}  // namespace
}  // namespace mstack::daemon
