// SPDX-License-Identifier: BSD-2-Clause
//
// While a claim lives, no other socket comes to share its tuple, whatever the kernel itself would allow.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <string>
#include <vector>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

constexpr BindOptions reuse_address{.reuse_address = true}, reuse_port{.reuse_port = true},
    both{.reuse_address = true, .reuse_port = true};
BindOptions dual(BindOptions options) {
  options.v6only = false;
  return options;
}
BindOptions six_only(BindOptions options) {
  options.v6only = true;
  return options;
}

// The kernel alone would allow every one of these pairs: a claim keeps them apart by having an owner that may not
// share, whose partner the kernel itself refuses then, whether or not the hook does. The hook alone is shown by
// BindConflict below, and rule by rule by SockConflictRules in selftests/bpf.
struct Pair {
  const char* name;
  Endpoint owner;
  BindOptions owner_options;
  Endpoint other;
  BindOptions other_options;
};

void PrintTo(const Pair& pair, std::ostream* out) {
  *out << pair.name;
}

const Pair conflicts[] = {
    {"SameReuseAddress", {host4, 7000}, reuse_address, {host4, 7000}, reuse_address},
    {"SameReusePort", {host4, 7000}, reuse_port, {host4, 7000}, reuse_port},
    {"SameBoth", {host4, 7000}, both, {host4, 7000}, both},
    {"WildcardOverSpecific", {host4, 7000}, reuse_address, {"0.0.0.0", 7000}, reuse_address},
    {"SpecificUnderWildcard", {"0.0.0.0", 7000}, reuse_address, {host4, 7000}, reuse_address},
    {"WildcardOverSpecificReusePort", {host4, 7000}, reuse_port, {"0.0.0.0", 7000}, reuse_port},
    {"SpecificUnderWildcardReusePort", {"0.0.0.0", 7000}, reuse_port, {host4, 7000}, reuse_port},
    {"WildcardOverWildcard", {"0.0.0.0", 7000}, reuse_address, {"0.0.0.0", 7000}, reuse_address},
    {"Same6", {host6, 7000}, reuse_address, {host6, 7000}, reuse_address},
    {"Wildcard6OverSpecific6", {host6, 7000}, reuse_address, {"::", 7000}, six_only(reuse_address)},
    {"Specific6UnderWildcard6", {"::", 7000}, six_only(reuse_address), {host6, 7000}, reuse_address},
    {"DualOverSpecific4", {host4, 7000}, reuse_address, {"::", 7000}, dual(reuse_address)},
    {"Specific4UnderDual", {"::", 7000}, dual(reuse_address), {host4, 7000}, reuse_address},
    {"DualOverWildcard4", {"0.0.0.0", 7000}, reuse_address, {"::", 7000}, dual(reuse_address)},
    {"Wildcard4UnderDual", {"::", 7000}, dual(reuse_address), {"0.0.0.0", 7000}, reuse_address},
    {"DualOverDual", {"::", 7000}, dual(reuse_address), {"::", 7000}, dual(reuse_address)},
    {"Mapped4OverSpecific4", {host4, 7000}, reuse_address, {"::ffff:192.0.2.1", 7000}, dual(reuse_address)},
    {"Specific4UnderMapped4", {"::ffff:192.0.2.1", 7000}, dual(reuse_address), {host4, 7000}, reuse_address},
    {"MappedWildcardOverSpecific4", {host4, 7000}, reuse_address, {"::ffff:0.0.0.0", 7000}, dual(reuse_address)},
};

const Pair neighbours[] = {
    {"SixOnlyBesideSpecific4", {host4, 7000}, {}, {"::", 7000}, six_only({})},
    {"SixOnlyBesideWildcard4", {"0.0.0.0", 7000}, {}, {"::", 7000}, six_only({})},
    {"Wildcard4BesideSixOnly", {"::", 7000}, six_only({}), {"0.0.0.0", 7000}, {}},
    {"OtherAddress", {host4, 7000}, {}, {host4_second, 7000}, {}},
    {"OtherAddress6", {host6, 7000}, {}, {host6_second, 7000}, {}},
    {"OtherPort", {host4, 7000}, {}, {host4, 7001}, {}},
    {"OtherPortWildcard", {"0.0.0.0", 7000}, {}, {"0.0.0.0", 7001}, {}},
};

class PairTest : public NetTest, public ::testing::WithParamInterface<std::tuple<int, Pair>> {
 protected:
  int protocol() const { return std::get<0>(GetParam()); }
  const Pair& pair() const { return std::get<1>(GetParam()); }
  Fd owner() const { return bound_as(alice, protocol(), pair().owner, pair().owner_options); }
  std::expected<Fd, int> other(uid_t uid = alice) const {
    return as_user(uid, [&] { return try_bind(protocol(), pair().other, pair().other_options); });
  }
};

class NoConflict : public PairTest {};
class Sharing : public PairTest {};

std::string name_of(const ::testing::TestParamInfo<std::tuple<int, Pair>>& chosen) {
  return std::string(std::get<0>(chosen.param) == IPPROTO_UDP ? "Udp" : "Tcp") + std::get<1>(chosen.param).name;
}

INSTANTIATE_TEST_SUITE_P(Pairs, Sharing,
                         ::testing::Combine(::testing::Values(IPPROTO_UDP, IPPROTO_TCP),
                                            ::testing::ValuesIn(conflicts)),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Pairs, NoConflict,
                         ::testing::Combine(::testing::Values(IPPROTO_UDP, IPPROTO_TCP),
                                            ::testing::ValuesIn(neighbours)),
                         name_of);

TEST_P(NoConflict, IsAllowedWhileTheClaimLives) {
  Stack stack(world());
  const Fd first = owner();
  {
    const auto second = other(bob);
    ASSERT_TRUE(second);
    EXPECT_TRUE(stack.try_claim(first)) << "a socket beside it is no reason to refuse";
  }
  EXPECT_TRUE(other(alice));
  EXPECT_TRUE(other(bob));
  EXPECT_TRUE(pins().claimed(protocol(), pair().owner));
}

// Another may be there already; and of UDP, such a port may be given to a socket that is never bound, which no hook
// sees: see attack_ownership_test.cpp.
TEST_P(Sharing, CannotBeClaimed) {
  Stack stack(world());
  const Fd first = owner();
  ASSERT_TRUE(other()) << "the kernel itself does not allow this pair, so it would prove nothing";
  const auto claim = stack.try_claim(first);
  ASSERT_FALSE(claim);
  EXPECT_EQ(claim.error().code, EOPNOTSUPP) << claim.error().what;
  EXPECT_TRUE(pins().claims().empty());
  EXPECT_EQ(pins().gate_sum(), 0U);
}

TEST_P(Sharing, IsRefusedWhileTheClaimLives) {
  Stack stack(world());
  Fd first = bound_as(alice, protocol(), pair().owner, {.v6only = pair().owner_options.v6only});
  {
    const Claim claim = stack.claim(first);
    // A refused bind leaves the claim alone, however often, and the refused socket leaves nothing when it closes.
    for (int round = 0; round < 10; ++round) {
      for (const uid_t uid : {alice, bob}) {
        const auto refused = other(uid);
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error(), EADDRINUSE);
      }
    }
    EXPECT_TRUE(pins().claimed(protocol(), local_endpoint(first.get()))) << local_endpoint(first.get());
  }
  // The claim's end is the socket's, not the Claim object's.
  EXPECT_FALSE(other());
  first.reset();
  // mstackd's own copy may be the last for a moment.
  EXPECT_TRUE(eventually([&] { return pins().claims().empty(); }));
  EXPECT_TRUE(other(bob));
}

TEST_P(Sharing, IsAllowedAfterAReleaseAndAClose) {
  Stack stack(world());
  Fd first = bound_as(alice, protocol(), pair().owner, {.v6only = pair().owner_options.v6only});
  Claim claim = stack.claim(first);
  ASSERT_TRUE(stack.try_release(claim));
  EXPECT_TRUE(pins().claims().empty());
  first.reset();
  EXPECT_TRUE(eventually([&] { return other(bob).has_value(); }));
}

class BindConflict : public NetTest {};

// A kernel with more than ten UDP sockets on a port looks for those at the very address that is bound to, and at the
// wildcard: it lets a wildcard past a specific address.
TEST_F(BindConflict, AWildcardThatTheKernelLetInBesideAnAddressIsFound) {
  Stack stack(world());
  const Fd victim = bound_as(bob, IPPROTO_UDP, {host4, 7000});
  std::vector<Fd> crowd;
  for (int i = 1; i <= 12; ++i) crowd.push_back(bound_as(alice, IPPROTO_UDP, {"127.0.0." + std::to_string(i), 7000}));
  const auto wildcard = as_user(alice, [&] { return try_bind(IPPROTO_UDP, {"0.0.0.0", 7000}, {}); });
  if (!wildcard && wildcard.error() == EADDRINUSE) GTEST_SKIP() << "this kernel refuses the bind itself";
  ASSERT_TRUE(wildcard) << wildcard.error();
  const auto claim = stack.try_claim(*wildcard);
  ASSERT_FALSE(claim);
  EXPECT_EQ(claim.error().code, EADDRINUSE) << claim.error().what;
  world().send(World::udp({wire4, 4000}, {host4, 7000}, "for the victim"));
  const auto got = receive_from(victim.get());
  ASSERT_TRUE(got);
  EXPECT_EQ(got->payload, "for the victim");
}

// What the hook alone refuses, on any kernel: what was bound to a wildcard has one address while it is connected, and
// connected anew it gets one of which the kernel asks nobody who has it.
TEST_F(BindConflict, AWildcardIsKeptFromAClaimedAddressByTheHook) {
  Stack stack(world());
  const auto connect_error = [](const Fd& fd) {
    const SocketAddress peer{{wire4, 4000}};
    return ::connect(fd.get(), peer.get(), peer.size) == 0 ? 0 : errno;
  };
  const auto disconnect = [](const Fd& fd) {
    const sockaddr nowhere{.sa_family = AF_UNSPEC, .sa_data = {}};
    check(::connect(fd.get(), &nowhere, sizeof(nowhere)), "disconnect");
  };
  const Fd wildcard = bound_as(bob, IPPROTO_UDP, {"0.0.0.0", 7000});
  ASSERT_EQ(as_user(bob, [&] { return connect_error(wildcard); }), 0);
  ASSERT_EQ(local_endpoint(wildcard.get()), (Endpoint{host4, 7000}));
  const Fd owner = bound_as(alice, IPPROTO_UDP, {host4_second, 7000});
  Claim claim = stack.claim(owner);
  disconnect(wildcard);
  for (int round = 0; round < 10; ++round) EXPECT_EQ(as_user(bob, [&] { return connect_error(wildcard); }), EADDRINUSE);
  EXPECT_TRUE(pins().claimed(IPPROTO_UDP, {host4_second, 7000}));
  ASSERT_TRUE(stack.try_release(claim));
  EXPECT_EQ(as_user(bob, [&] { return connect_error(wildcard); }), 0) << "the claim is gone, the owner's socket is not";
}

TEST_F(BindConflict, OtherNamespacesAreLeftAlone) {
  World::in(world().wire(), "ip addr add 192.0.2.1/32 dev lo");
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, {host4, 7000});
  const Fd same = world().wire().run([] { return bound(IPPROTO_UDP, {host4, 7000}); });
  EXPECT_TRUE(pins().claimed(IPPROTO_UDP, {host4, 7000}));
}

TEST_F(BindConflict, TheOtherProtocolIsLeftAlone) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, {host4, 7000});
  const Fd tcp = bound_as(bob, IPPROTO_TCP, {host4, 7000});
  EXPECT_EQ(::listen(tcp.get(), 1), 0);
}

// A TCP socket that is shared by a listener of the same user.
TEST_F(BindConflict, OneThatSharesWithAListenerIsRefused) {
  Stack stack(world());
  const Fd first = bound_as(alice, IPPROTO_TCP, {host4, 7000}, reuse_port);
  const Fd listener = bound_as(alice, IPPROTO_TCP, {host4, 7000}, reuse_port);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  const auto claim = stack.try_claim(first);
  ASSERT_FALSE(claim);
  EXPECT_EQ(claim.error().code, EOPNOTSUPP);
}

// Connections that came in by a listener now closed still have the tuple.
TEST_F(BindConflict, OneThatSharesWithAConnectionIsRefused) {
  Stack stack(world());
  Fd connection, client;
  {
    const Fd listener = bound_as(bob, IPPROTO_TCP, {host4, 7000}, reuse_address);
    ASSERT_EQ(::listen(listener.get(), 1), 0);
    client = world().wire().run([] { return make_socket(IPPROTO_TCP, false); });
    const SocketAddress address{{host4, 7000}};
    ASSERT_EQ(::connect(client.get(), address.get(), address.size), 0);
    connection = Fd{::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)};
    ASSERT_TRUE(connection);
  }
  const auto first = as_user(alice, [&] { return try_bind(IPPROTO_TCP, {host4, 7000}, reuse_address); });
  if (!first && first.error() == EADDRINUSE) GTEST_SKIP() << "the kernel refuses the bind itself";
  ASSERT_TRUE(first) << first.error();
  const auto claim = stack.try_claim(*first);
  ASSERT_FALSE(claim);
  EXPECT_EQ(claim.error().code, EOPNOTSUPP);
  EXPECT_EQ(::send(client.get(), "still there", 11, MSG_NOSIGNAL), 11);
  EXPECT_TRUE(receive_from(connection.get()));
}

TEST_F(BindConflict, TheOwnerMayBindAnewToItsOwnTuple) {
  Stack stack(world());
  Fd first = bound_as(alice, IPPROTO_UDP, {host4, 7000});
  { const Claim claim = stack.claim(first); }
  first.reset();
  for (int round = 0; round < 20; ++round) {
    const Claim claim = stack.claim(IPPROTO_UDP, {host4, 7000});
    EXPECT_TRUE(pins().claimed(IPPROTO_UDP, {host4, 7000}));
  }
  EXPECT_TRUE(pins().claims().empty());
}

}  // namespace
}  // namespace mstack::test
