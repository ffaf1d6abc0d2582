// SPDX-License-Identifier: BSD-2-Clause
//
// Quotas are per uid, exact, and refuse clearly. Nothing half-made stays: NetTest checks that at the end of each.
#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

class Quota : public NetTest {
 protected:
  void SetUp() override {}  // each test starts mstackd with its own limits
  void limit(std::vector<std::string> arguments) { start({.arguments = std::move(arguments), .environment = {}}); }
  Endpoint port(std::uint16_t offset) const { return {host4, static_cast<std::uint16_t>(7000 + offset)}; }
};

void expect_over_quota(const auto& result, const std::string& word) {
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, EDQUOT);
  EXPECT_NE(result.error().what.find(word), std::string::npos) << result.error().what;
}

TEST_F(Quota, Vports) {
  limit({"--max-vports", "2"});
  std::optional<Stack> first(std::in_place, world(), alice);
  Stack second(world(), alice);
  expect_over_quota(Stack::try_open(world(), alice, {.frames = 64}), "vport");
  EXPECT_EQ(pins().vports().size(), 2U);
  Stack other(world(), bob);
  first.reset();
  EXPECT_TRUE(eventually([&] { return Stack::try_open(world(), alice, {.frames = 64}).has_value(); }));
}

TEST_F(Quota, RootIsNotExempt) {
  limit({"--max-vports", "1"});
  const RawClient first = raw_client(0);
  EXPECT_EQ(first.open_vport().error(), 0);
  const RawClient second = raw_client(0);
  EXPECT_EQ(second.open_vport().error(), EDQUOT);
}

TEST_F(Quota, Queues) {
  limit({"--max-queues", "6"});
  // Over all vports of the user.
  std::optional<Stack> first(std::in_place, world(), alice, VportOptions{.queues = 4, .frames = 64});
  expect_over_quota(Stack::try_open(world(), alice, {.queues = 3, .frames = 64}), "queues");
  Stack second(world(), alice, {.queues = 2, .frames = 64});
  expect_over_quota(Stack::try_open(world(), alice, {.frames = 64}), "queues");
  Stack other(world(), bob, {.queues = 6, .frames = 64});
  first.reset();
  EXPECT_TRUE(eventually([&] { return Stack::try_open(world(), alice, {.queues = 4, .frames = 64}).has_value(); }));
}

// The third of its four devices cannot be made. What was made before goes, and counts no more.
TEST_F(Quota, AVportThatFailsHalfwayLeavesNothing) {
  limit({"--max-vports", "1", "--max-queues", "4", "--max-umem-mb", "1"});
  const auto of_vports = [&] {
    std::vector<std::string> all;
    for (const std::string& link : world().host_links())
      if (link.starts_with("ms")) all.push_back(link);
    for (const auto& pin : std::filesystem::directory_iterator(world().pin_dir() + "/links"))
      if (const std::string name = pin.path().filename(); name.starts_with("host_") || name.starts_with("stack_"))
        all.push_back(name);
    return all;
  };
  const VportOptions options{.queues = 4, .frames = 128};  // all of the quota
  for (int round = 0; round < 3; ++round) {
    const std::string in_the_way = "ms" + std::to_string(pins().meta().next_vport) + "q2";
    World::in(world().host(), "ip link add " + in_the_way + " type veth peer name aside0");
    const auto failed = Stack::try_open(world(), alice, options);
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, EEXIST) << failed.error().what;
    EXPECT_TRUE(failed.error().what.starts_with("cannot make the vport: ")) << failed.error().what;
    World::in(world().host(), "ip link del " + in_the_way);
    EXPECT_TRUE(eventually([&] { return of_vports().empty(); })) << ::testing::PrintToString(of_vports());
    expect_idle();
    EXPECT_TRUE(Stack::try_open(world(), alice, options));
    EXPECT_TRUE(eventually([&] { return of_vports().empty(); })) << ::testing::PrintToString(of_vports());
  }
}

TEST_F(Quota, Claims) {
  limit({"--max-claims", "3"});
  // Over all vports of the user.
  Stack first(world(), alice), second(world(), alice), other(world(), bob);
  std::optional<Claim> one = first.claim(IPPROTO_UDP, port(0));
  const Claim two = first.claim(IPPROTO_TCP, port(0)), three = second.claim(IPPROTO_UDP, port(1));
  expect_over_quota(second.try_claim(IPPROTO_UDP, port(2)), "claim");
  EXPECT_EQ(pins().claims().size(), 3U);
  const Claim bobs = other.claim(IPPROTO_UDP, port(2));
  // A claim that the kernel releases counts no more at once.
  one.reset();
  EXPECT_TRUE(second.try_claim(IPPROTO_UDP, port(3)));
}

TEST_F(Quota, ADualStackWildcardIsTwoClaimsOrNone) {
  limit({"--max-claims", "1"});
  Stack stack(world());
  expect_over_quota(stack.try_claim(IPPROTO_UDP, {"::", 7000}), "claim");
  EXPECT_TRUE(pins().claims().empty());
  EXPECT_EQ(pins().gate_sum(), 0U);
  EXPECT_TRUE(stack.try_claim(IPPROTO_UDP, {"::", 7000}, {.v6only = true}));
}

TEST_F(Quota, ABatchGetsWhatThereIsRoomFor) {
  limit({"--max-claims", "5"});
  Stack stack(world());
  std::vector<Fd> sockets;
  std::vector<int> fds;
  for (std::uint16_t i = 0; i < 8; ++i)
    fds.push_back(sockets.emplace_back(bound_as(alice, IPPROTO_UDP, port(i))).get());
  const auto results = stack.try_claim_all(fds);
  ASSERT_EQ(results.size(), 8U);
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (i < 5) {
      EXPECT_TRUE(results[i]) << i << ": " << results[i].error().what;
    } else {
      ASSERT_FALSE(results[i]);
      EXPECT_EQ(results[i].error().code, EDQUOT);
    }
  }
  expect_over_quota(results[5], "claim");  // of a message, the first that failed says why
  EXPECT_EQ(pins().claims().size(), 5U);
}

TEST_F(Quota, UmemBytes) {
  limit({"--max-umem-mb", "2"});
  // 512 frames of 2,048 bytes are 1 MiB.
  std::optional<Stack> first(std::in_place, world(), alice, VportOptions{.frames = 512});
  expect_over_quota(Stack::try_open(world(), alice, {.frames = 1024}), "UMEM");
  Stack second(world(), alice, {.frames = 512});
  expect_over_quota(Stack::try_open(world(), alice, {.frames = 64}), "UMEM");
  Stack other(world(), bob, {.queues = 2, .frames = 512});
  first.reset();
  EXPECT_TRUE(eventually([&] { return Stack::try_open(world(), alice, {.frames = 512}).has_value(); }));
}

TEST_F(Quota, ZeroIsNoLimit) {
  limit({"--max-vports", "0", "--max-queues", "0", "--max-claims", "0", "--max-umem-mb", "0"});
  std::vector<Stack> stacks;
  for (int i = 0; i < 3; ++i) stacks.emplace_back(world());
  EXPECT_TRUE(stacks[2].try_claim(IPPROTO_UDP, port(0)));
}

// They are kept over a restart: what was made under the old mstackd still counts.
TEST_F(Quota, ARestartForgetsNothing) {
  limit({"--max-vports", "1", "--max-claims", "1"});
  Stack stack(world(), alice);
  const Claim claim = stack.claim(IPPROTO_UDP, port(0));
  crash();
  // The fixture's own first client is another user, within the same limits.
  limit({"--max-vports", "1", "--max-claims", "1"});
  expect_over_quota(stack.try_claim(IPPROTO_UDP, port(1)), "claim");
  expect_over_quota(Stack::try_open(world(), alice, {.frames = 64}), "vport");
}

TEST_F(Quota, AFullClaimsMapIsSaidSo) {
  limit({"--claims", "4"});
  Stack stack(world());
  std::vector<Claim> claims;
  for (std::uint16_t i = 0; i < 4; ++i) claims.push_back(stack.claim(IPPROTO_UDP, port(i)));
  const auto full = stack.try_claim(IPPROTO_UDP, port(4));
  ASSERT_FALSE(full);
  EXPECT_TRUE(full.error().code == ENOSPC || full.error().code == E2BIG) << full.error().what;
  EXPECT_FALSE(full.error().what.empty());
  EXPECT_EQ(pins().claims().size(), 4U);
  EXPECT_EQ(pins().gate_sum(), 4U);
  claims.pop_back();
  EXPECT_TRUE(stack.try_claim(IPPROTO_UDP, port(4)));
}

}  // namespace
}  // namespace mstack::test
