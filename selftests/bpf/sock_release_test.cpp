// SPDX-License-Identifier: BSD-2-Clause
// A claim lives until the last holder of its owner's socket lets go.
#include <string>

#include "owner_fixture.hpp"

namespace bpf_test {
namespace {

using SockRelease = Owners<SockLife>;

TEST_F(SockRelease, ByClose) {
  for (const char* address : {"192.0.2.1", "0.0.0.0", "2001:db8::1", "::", "::ffff:192.0.2.1"}) {
    for (const std::uint8_t protocol : {proto_udp, proto_tcp}) {
      SCOPED_TRACE(std::string(address) + " protocol " + std::to_string(protocol));
      const mstack_tuple key = tuple(address, owned_port, protocol);
      const int socket = owner(protocol, address);
      const std::uint64_t cookie = agent.cookie(socket);
      EXPECT_TRUE(programs.events().empty());
      EXPECT_TRUE(alive(key));
      EXPECT_EQ(agent.close(socket), 0);
      EXPECT_TRUE(released(key));
      // The other protocol's gate on that port, and its neighbours, are not touched.
      EXPECT_EQ(programs.gate(protocol == proto_udp ? proto_tcp : proto_udp, 0x0700), 0U);
      EXPECT_EQ(programs.gate(protocol, 0x0700), 0U);
      const std::vector<mstack_event> events = programs.events();
      ASSERT_EQ(events.size(), 1U);
      EXPECT_EQ(events[0].type, MSTACK_EVENT_CLAIM_RELEASED);
      EXPECT_EQ(events[0].vport, 1U);
      EXPECT_EQ(events[0].slot, 1U);
      EXPECT_EQ(events[0].cookie, cookie);
      EXPECT_TRUE(same(events[0].tuple, key));
    }
  }
}

TEST_F(SockRelease, ByTheLastOfTwoDescriptors) {
  const mstack_tuple key = tuple("192.0.2.1", owned_port, proto_udp);
  const int socket = owner(proto_udp, "192.0.2.1");
  const int copy = agent.dup(socket);
  ASSERT_GE(copy, 0);
  EXPECT_EQ(agent.close(socket), 0);
  EXPECT_TRUE(alive(key));
  EXPECT_EQ(agent.close(copy), 0);
  EXPECT_TRUE(released(key));
}

TEST_F(SockRelease, ByTheLastOfTwoProcesses) {
  const mstack_tuple key = tuple("192.0.2.1", owned_port, proto_tcp);
  const int socket = owner(proto_tcp, "192.0.2.1");
  const int child = agent.fork();
  ASSERT_GT(child, 0);
  EXPECT_EQ(agent.close(socket), 0);
  EXPECT_TRUE(alive(key)) << "the child has it";
  EXPECT_EQ(agent.end_child(child), child);
  EXPECT_TRUE(released(key));
}

// As when it is passed to a daemon: whoever holds it keeps it, and lets it go last.
TEST_F(SockRelease, ByTheLastHolderOfAPassedDescriptor) {
  const mstack_tuple key = tuple("2001:db8::1", owned_port, proto_udp);
  const int socket = owner(proto_udp, "2001:db8::1");
  Fd copy = agent.borrow(socket);
  EXPECT_EQ(agent.close(socket), 0);
  EXPECT_TRUE(alive(key));
  copy.reset();
  EXPECT_TRUE(released(key));
}

TEST_F(SockRelease, BySigkill) {
  for (const char* address : {"192.0.2.1", "2001:db8::1"}) owner(proto_udp, address, 8);
  const int socket = owner(proto_udp, "192.0.2.2");
  ASSERT_GE(socket, 0);
  agent.kill();
  EXPECT_FALSE(programs.claimed(tuple("192.0.2.2", owned_port, proto_udp)));
  EXPECT_EQ(programs.gate(proto_udp, owned_port), 4U);
  EXPECT_EQ(programs.slot_claims(1), 9U - 3);
  EXPECT_EQ(programs.events().size(), 3U);
}

TEST_F(SockRelease, OfADualStackWildcardIsOfBothClaims) {
  for (const std::uint8_t protocol : {proto_udp, proto_tcp}) {
    const int socket = bound(protocol, "::", owned_port);
    ASSERT_GE(socket, 0);
    claim_for(socket, tuple("::", owned_port, protocol));
    claim_for(socket, tuple("0.0.0.0", owned_port, protocol));
    programs.set_gate(protocol, owned_port, 5);
    programs.set_slot_claims(1, 9);
    EXPECT_EQ(agent.close(socket), 0);
    EXPECT_FALSE(programs.claimed(tuple("::", owned_port, protocol)));
    EXPECT_FALSE(programs.claimed(tuple("0.0.0.0", owned_port, protocol)));
    EXPECT_TRUE(counts(protocol, owned_port, 3, 7));
    const std::vector<mstack_event> events = programs.events();
    ASSERT_EQ(events.size(), 2U);
    EXPECT_FALSE(same(events[0].tuple, events[1].tuple));
  }
}

TEST_F(SockRelease, OfAnIpv6WildcardLeavesAnothersIpv4Wildcard) {
  const int socket = bound(proto_udp, "::", owned_port, true);
  ASSERT_GE(socket, 0);
  claim_for(socket, tuple("::", owned_port, proto_udp));
  programs.claim(tuple("0.0.0.0", owned_port, proto_udp), {.vport = 2, .slot = 2, .cookie = 12345});
  EXPECT_EQ(agent.close(socket), 0);
  EXPECT_FALSE(programs.claimed(tuple("::", owned_port, proto_udp)));
  EXPECT_TRUE(programs.claimed(tuple("0.0.0.0", owned_port, proto_udp)));
  EXPECT_EQ(programs.gate(proto_udp, owned_port), 1U);
  EXPECT_EQ(programs.slot_claims(1), 0U);
  EXPECT_EQ(programs.slot_claims(2), 1U);
}

// The tuple is another's by now: its claim says another cookie.
TEST_F(SockRelease, LeavesTheClaimOfAnotherCookie) {
  const mstack_tuple key = tuple("192.0.2.1", owned_port, proto_udp);
  const int socket = bound(proto_udp, "192.0.2.1", owned_port);
  ASSERT_GE(socket, 0);
  programs.claim(key, {.cookie = agent.cookie(socket) + 1});
  EXPECT_EQ(agent.close(socket), 0);
  EXPECT_TRUE(programs.claimed(key));
  EXPECT_TRUE(counts(proto_udp, owned_port, 1, 1));
  EXPECT_TRUE(programs.events().empty());
}

TEST_F(SockRelease, OfASocketWithoutAClaimChangesNothing) {
  programs.claim(tuple("192.0.2.2", owned_port, proto_udp));
  const int socket = bound(proto_udp, "192.0.2.1", owned_port);
  ASSERT_GE(socket, 0);
  EXPECT_EQ(agent.close(socket), 0);
  EXPECT_EQ(agent.close(opened(proto_udp, "192.0.2.1")), 0);
  EXPECT_TRUE(programs.claimed(tuple("192.0.2.2", owned_port, proto_udp)));
  EXPECT_TRUE(counts(proto_udp, owned_port, 1, 1));
  EXPECT_TRUE(programs.events().empty());
}

// It was counted before it was inserted, so whoever takes it away counts it down.
TEST_F(SockRelease, OfAPendingOrSuspendedClaimToo) {
  const mstack_tuple key = tuple("192.0.2.1", owned_port, proto_udp);
  for (const std::uint32_t state : {MSTACK_CLAIM_PENDING, MSTACK_CLAIM_SUSPENDED}) {
    const int socket = bound(proto_udp, "192.0.2.1", owned_port);
    ASSERT_GE(socket, 0);
    programs.claim(key, {.cookie = agent.cookie(socket), .state = state});
    programs.set_gate(proto_udp, owned_port, 5);
    programs.set_slot_claims(1, 9);
    EXPECT_EQ(agent.close(socket), 0);
    EXPECT_TRUE(released(key)) << state;
  }
}

// mstackd took the claim away first, and counted it down: not once more.
TEST_F(SockRelease, OfAClaimThatIsGoneCountsNothing) {
  const mstack_tuple key = tuple("192.0.2.1", owned_port, proto_udp);
  const int socket = owner(proto_udp, "192.0.2.1");
  programs.unclaim(key);
  EXPECT_EQ(agent.close(socket), 0);
  EXPECT_TRUE(counts(proto_udp, owned_port, 5, 9));
  EXPECT_TRUE(programs.events().empty());
}

TEST_F(SockRelease, CountsForTheVportsFirstSlot) {
  const int socket = bound(proto_udp, "192.0.2.1", owned_port);
  ASSERT_GE(socket, 0);
  programs.claim(tuple("192.0.2.1", owned_port, proto_udp),
                 {.vport = 77, .slot = 1000, .queues = 4, .cookie = agent.cookie(socket)});
  EXPECT_EQ(programs.slot_claims(1000), 1U);
  EXPECT_EQ(agent.close(socket), 0);
  EXPECT_EQ(programs.slot_claims(1000), 0U);
  EXPECT_EQ(programs.gate(proto_udp, owned_port), 0U);
  const std::vector<mstack_event> events = programs.events();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].vport, 77U);
  EXPECT_EQ(events[0].slot, 1000U);
}

// A connection's socket has the listener's tuple, and is not its owner.
TEST_F(SockRelease, NotByAnAcceptedConnection) {
  const mstack_tuple key = tuple("192.0.2.1", owned_port, proto_tcp);
  const int listener = owner(proto_tcp, "192.0.2.1");
  ASSERT_EQ(agent.listen(listener), 0);
  const int client = opened(proto_tcp, "192.0.2.2");
  ASSERT_EQ(agent.connect(client, "192.0.2.1", owned_port), 0);
  const int accepted = agent.accept(listener);
  ASSERT_GE(accepted, 0);
  EXPECT_EQ(agent.close(accepted), 0);
  EXPECT_EQ(agent.close(client), 0);
  EXPECT_TRUE(alive(key));
  EXPECT_EQ(agent.close(listener), 0);
  EXPECT_TRUE(released(key));
}

}  // namespace
}  // namespace bpf_test
