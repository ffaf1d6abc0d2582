// SPDX-License-Identifier: BSD-2-Clause
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "daemon/vlan_plan.hpp"

namespace mstack::daemon {
namespace {

constexpr std::uint16_t dot1q = 0x8100, dot1ad = 0x88a8;
constexpr std::uint32_t uplink = 2;

net::Link vlan(std::uint32_t ifindex, std::uint32_t lower, std::uint16_t protocol, std::uint16_t id) {
  net::Link link;
  link.ifindex = ifindex;
  link.name = "v" + std::to_string(ifindex);
  link.kind = net::vlan_kind;
  link.lower = lower;
  link.tag = {.protocol = protocol, .id = id};
  link.up = link.running = link.ethernet = true;
  return link;
}

mstack_vlan tags(std::vector<net::VlanTag> tags, std::uint32_t on = uplink) {
  mstack_vlan vlan = {};
  vlan.uplink = on;
  for (std::size_t i = 0; i < tags.size(); ++i)
    vlan.tags[i] = {.protocol = htons(tags[i].protocol), .id = htons(tags[i].id)};
  return vlan;
}

TEST(VlanPlan, OfOneTag) {
  const auto plan = plan_vlans(std::vector{vlan(5, uplink, dot1q, 100), vlan(6, uplink, dot1ad, 100)}, {uplink});
  ASSERT_EQ(2u, plan.size());
  EXPECT_TRUE(is_same_vlan(tags({{dot1q, 100}}), plan.at(5).vlan));
  EXPECT_TRUE(is_same_vlan(tags({{dot1ad, 100}}), plan.at(6).vlan));
  EXPECT_STREQ("v5", plan.at(5).name);
}

TEST(VlanPlan, OfTwoTagsTheOuterIsFirst) {
  // In whatever order they are listed.
  const auto plan = plan_vlans(std::vector{vlan(6, 5, dot1q, 300), vlan(5, uplink, dot1ad, 200)}, {uplink});
  ASSERT_EQ(2u, plan.size());
  EXPECT_TRUE(is_same_vlan(tags({{dot1ad, 200}}), plan.at(5).vlan));
  EXPECT_TRUE(is_same_vlan(tags({{dot1ad, 200}, {dot1q, 300}}), plan.at(6).vlan));
}

TEST(VlanPlan, ThreeTagsAreOneTooMany) {
  const std::vector devices{vlan(5, uplink, dot1q, 1), vlan(6, 5, dot1q, 2), vlan(7, 6, dot1q, 3),
                            vlan(8, 7, dot1q, 4)};
  const auto plan = plan_vlans(devices, {uplink});
  EXPECT_EQ(2u, plan.size());
  EXPECT_FALSE(plan.contains(7));
  EXPECT_FALSE(plan.contains(8));
}

TEST(VlanPlan, OnAnUplinkThatIsOne) {
  // The nearest: what it sends goes by the uplink's own tag.
  const auto plan = plan_vlans(std::vector{vlan(5, uplink, dot1q, 1), vlan(6, 5, dot1q, 2)}, {uplink, 5});
  EXPECT_TRUE(is_same_vlan(tags({{dot1q, 1}}), plan.at(5).vlan));
  EXPECT_TRUE(is_same_vlan(tags({{dot1q, 2}}, 5), plan.at(6).vlan));
}

TEST(VlanPlan, OfNoUplink) {
  EXPECT_TRUE(plan_vlans(std::vector{vlan(5, 3, dot1q, 100)}, {uplink}).empty());
  EXPECT_TRUE(plan_vlans(std::vector{vlan(5, 0, dot1q, 100)}, {uplink}).empty()) << "below it is another namespace";
  EXPECT_TRUE(plan_vlans(std::vector{vlan(5, uplink, dot1q, 100)}, {}).empty());
  EXPECT_TRUE(plan_vlans(std::vector{vlan(5, 5, dot1q, 100)}, {uplink}).empty());
  EXPECT_TRUE(plan_vlans(std::vector{vlan(5, 6, dot1q, 1), vlan(6, 5, dot1q, 2)}, {uplink}).empty());
  EXPECT_TRUE(plan_vlans({}, {uplink}).empty());
  net::Link macvlan = vlan(5, uplink, dot1q, 1);
  macvlan.tag.reset();
  EXPECT_TRUE(plan_vlans(std::vector{macvlan, vlan(6, 5, dot1q, 2)}, {uplink}).empty());
}

TEST(VlanPlan, DownOrAPartOfSomethingItIsTheKernels) {
  net::Link down = vlan(5, uplink, dot1q, 100), bridged = down;
  down.up = false;
  bridged.master = 9;
  for (const net::Link& outer : {down, bridged}) {
    EXPECT_TRUE(plan_vlans(std::vector{outer}, {uplink}).empty());
    EXPECT_TRUE(plan_vlans(std::vector{outer, vlan(6, 5, dot1q, 300)}, {uplink}).empty()) << "and what is on it";
  }
  net::Link without_carrier = vlan(5, uplink, dot1q, 100);
  without_carrier.running = false;
  EXPECT_EQ(1u, plan_vlans(std::vector{without_carrier}, {uplink}).size()) << "it comes back by itself";
}

TEST(VlanPlan, ALongNameIsCutOff) {
  net::Link long_name = vlan(5, uplink, dot1q, 100);
  long_name.name = "a-name-of-more-than-15-bytes";
  EXPECT_STREQ("a-name-of-more-", plan_vlans(std::vector{long_name}, {uplink}).at(5).name);
}

}  // namespace
}  // namespace mstack::daemon
