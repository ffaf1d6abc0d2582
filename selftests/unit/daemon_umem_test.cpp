// SPDX-License-Identifier: BSD-2-Clause
#include <gtest/gtest.h>

#include <set>

#include "daemon/umem.hpp"

namespace mstack::daemon {
namespace {

TEST(StandIn, IsNobodyThatThereIs) {
  for (const std::uint32_t uid : {0u, 1u, 1000u, 65534u, 60001u, 0x7fffffffu, 0xfffffffeu}) {
    for (const std::uint64_t cookie : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{12345}, ~std::uint64_t{0}}) {
      EXPECT_GE(stand_in(uid, cookie), 0x80000000u);
      EXPECT_NE(stand_in(uid, cookie), 0xffffffffu) << "would be no change";
    }
  }
}

TEST(StandIn, IsEachUsersOwn) {
  std::set<std::uint32_t> seen;
  for (std::uint32_t uid = 0; uid < 70000; ++uid) EXPECT_TRUE(seen.insert(stand_in(uid, 1)).second) << uid;
  EXPECT_NE(stand_in(1000, 1), stand_in(1000, 2));
}

}  // namespace
}  // namespace mstack::daemon
