// SPDX-License-Identifier: BSD-2-Clause
#include <gtest/gtest.h>

#include <cerrno>

#include "daemon/events.hpp"
#include "daemon/quota.hpp"

namespace mstack::daemon {
namespace {

constexpr Quota few = {.vports = 2, .queues = 5, .claims = 10, .umem_bytes = 100};
constexpr VportSize small = {.queues = 1, .umem_bytes = 1};

int code_of(const Expected<void>& result) {
  return result ? 0 : result.error().code;
}

TEST(Ledger, LimitsVportsOfAUser) {
  Ledger ledger(few);
  const LedgerEntry first(ledger, 1000, small);
  EXPECT_TRUE(ledger.check_vport(1000, small));
  {
    const LedgerEntry second(ledger, 1000, small);
    EXPECT_EQ(code_of(ledger.check_vport(1000, small)), EDQUOT);
    EXPECT_TRUE(ledger.check_vport(1001, small)) << "of each user, not of all";
  }
  EXPECT_TRUE(ledger.check_vport(1000, small));
}

TEST(Ledger, DoesNotExemptRoot) {
  Ledger ledger(few);
  const LedgerEntry first(ledger, 0, small), second(ledger, 0, small);
  EXPECT_EQ(code_of(ledger.check_vport(0, small)), EDQUOT);
}

TEST(Ledger, LimitsQueues) {
  Ledger ledger(few);
  EXPECT_TRUE(ledger.check_vport(1, {.queues = 5, .umem_bytes = 1}));
  EXPECT_EQ(code_of(ledger.check_vport(1, {.queues = 6, .umem_bytes = 1})), EDQUOT);
  const LedgerEntry first(ledger, 1, {.queues = 3, .umem_bytes = 1});
  EXPECT_TRUE(ledger.check_vport(1, {.queues = 2, .umem_bytes = 1}));
  EXPECT_EQ(code_of(ledger.check_vport(1, {.queues = 3, .umem_bytes = 1})), EDQUOT);
}

TEST(Ledger, LimitsMemoryExactlyAndWithoutWrapping) {
  Ledger ledger(few);
  EXPECT_TRUE(ledger.check_vport(1, {.queues = 1, .umem_bytes = 100}));
  EXPECT_EQ(code_of(ledger.check_vport(1, {.queues = 1, .umem_bytes = 101})), EDQUOT);
  EXPECT_EQ(code_of(ledger.check_vport(1, {.queues = 1, .umem_bytes = UINT64_MAX})), EDQUOT);
  const LedgerEntry first(ledger, 1, {.queues = 1, .umem_bytes = 60});
  EXPECT_TRUE(ledger.check_vport(1, {.queues = 1, .umem_bytes = 40}));
  EXPECT_EQ(code_of(ledger.check_vport(1, {.queues = 1, .umem_bytes = 41})), EDQUOT);
  EXPECT_EQ(code_of(ledger.check_vport(1, {.queues = 1, .umem_bytes = UINT64_MAX - 59})), EDQUOT);
}

TEST(Ledger, LetsStandWhatWasTakenOverAndNothingMore) {
  Ledger ledger(few);
  const LedgerEntry taken_over(ledger, 1, {.queues = 16, .umem_bytes = 1000});
  EXPECT_EQ(code_of(ledger.check_vport(1, small)), EDQUOT);
  EXPECT_EQ(ledger.claims_left(11), 0u);
}

TEST(Ledger, ZeroIsNoLimit) {
  Ledger ledger({.vports = 0, .queues = 0, .claims = 0, .umem_bytes = 0});
  const LedgerEntry first(ledger, 1, {.queues = 16, .umem_bytes = UINT64_MAX / 2});
  EXPECT_TRUE(ledger.check_vport(1, {.queues = 16, .umem_bytes = UINT64_MAX / 2}));
  EXPECT_GT(ledger.claims_left(1 << 30), 1u << 30);
}

TEST(Ledger, CountsClaimsDown) {
  const Ledger ledger(few);
  EXPECT_EQ(ledger.claims_left(0), 10u);
  EXPECT_EQ(ledger.claims_left(9), 1u);
  EXPECT_EQ(ledger.claims_left(10), 0u);
}

TEST(LogBudget, AllowsABurstAndThenOneASecond) {
  LogBudget budget;
  for (std::uint64_t i = 0; i < LogBudget::burst; ++i) EXPECT_TRUE(budget.spend(100));
  EXPECT_FALSE(budget.spend(100));
  EXPECT_TRUE(budget.spend(101));
  EXPECT_FALSE(budget.spend(101));
  EXPECT_TRUE(budget.spend(103));
  EXPECT_TRUE(budget.spend(103));
  EXPECT_FALSE(budget.spend(103));
  for (std::uint64_t i = 0; i < LogBudget::burst; ++i) EXPECT_TRUE(budget.spend(1'000'000)) << "a long silence";
  EXPECT_FALSE(budget.spend(1'000'000)) << "saves up no more than a burst";
}

}  // namespace
}  // namespace mstack::daemon
