// SPDX-License-Identifier: BSD-2-Clause
// A claim lives exactly as long as its owner: until the last holder of the socket lets go, or binds it anew.
#include <string>

#include "sock_fixture.hpp"

namespace bpf_test {
namespace {

class SockRelease : public SockLife {
 protected:
  static constexpr std::uint16_t owned_port = 7;

  // A bound socket that owns its tuple, and counts to see what becomes of them: 5 on its gate, 9 on its slot.
  int owner(std::uint8_t protocol, std::string_view address, std::uint16_t port = owned_port) {
    const int socket = bound(protocol, address, port);
    EXPECT_GE(socket, 0);
    const std::uint16_t real = agent.port(socket);
    claim_for(socket, tuple(address, real, protocol));
    programs.set_gate(protocol, real, 5);
    programs.set_slot_claims(1, 9);
    return socket;
  }

  testing::AssertionResult counts(std::uint8_t protocol, std::uint16_t port, std::uint32_t gate, std::uint32_t slot) {
    const std::uint32_t real_gate = programs.gate(protocol, port);
    const std::uint32_t real_slot = programs.slot_claims(1);
    if (real_gate == gate && real_slot == slot) return testing::AssertionSuccess();
    return testing::AssertionFailure() << "gate " << real_gate << ", slot_claims " << real_slot << ", expected " << gate
                                       << " and " << slot;
  }

  testing::AssertionResult alive(const mstack_tuple& tuple) {
    if (!programs.claimed(tuple)) return testing::AssertionFailure() << "the claim is gone";
    return counts(tuple.protocol, port_of(tuple), 5, 9);
  }

  testing::AssertionResult released(const mstack_tuple& tuple) {
    if (programs.claimed(tuple)) return testing::AssertionFailure() << "the claim is still there";
    return counts(tuple.protocol, port_of(tuple), 4, 8);
  }

  static std::uint16_t port_of(const mstack_tuple& tuple) {
    return static_cast<std::uint16_t>(tuple.port >> 8 | tuple.port << 8);
  }
};

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
  for (const char* address : {"192.0.2.1", "2001:db8::1"}) owner(proto_udp, address, 0);
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
TEST_F(SockRelease, OfAPendingClaimToo) {
  const mstack_tuple key = tuple("192.0.2.1", owned_port, proto_udp);
  const int socket = bound(proto_udp, "192.0.2.1", owned_port);
  ASSERT_GE(socket, 0);
  programs.claim(key, {.cookie = agent.cookie(socket), .state = MSTACK_CLAIM_PENDING});
  programs.set_gate(proto_udp, owned_port, 5);
  programs.set_slot_claims(1, 9);
  EXPECT_EQ(agent.close(socket), 0);
  EXPECT_TRUE(released(key));
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

// A UDP socket whose port the kernel chose gives it up on connect(AF_UNSPEC), and may bind another.
TEST_F(SockRelease, ByBindingAnew) {
  for (const char* address : {"192.0.2.1", "2001:db8::1", "0.0.0.0", "::"}) {
    SCOPED_TRACE(address);
    const int socket = owner(proto_udp, address, 0);
    const mstack_tuple old = tuple(address, agent.port(socket), proto_udp);
    ASSERT_EQ(agent.disconnect(socket), 0);
    EXPECT_TRUE(programs.claimed(old)) << "until it binds anew, nobody else can have it";
    EXPECT_EQ(bound(proto_udp, address, port_of(old)), -EADDRINUSE);
    ASSERT_EQ(agent.bind(socket, address, 4242), 0);
    EXPECT_TRUE(released(old));
    EXPECT_EQ(programs.events().size(), 1U);
    EXPECT_EQ(agent.close(socket), 0);
    EXPECT_TRUE(released(old)) << "and not once more at the end";
    EXPECT_TRUE(programs.events().empty());
  }
}

// A listening TCP socket does so on disconnect.
TEST_F(SockRelease, ByBindingATcpSocketAnew) {
  const int socket = owner(proto_tcp, "192.0.2.1", 0);
  const mstack_tuple old = tuple("192.0.2.1", agent.port(socket), proto_tcp);
  ASSERT_EQ(agent.listen(socket), 0);
  ASSERT_EQ(agent.disconnect(socket), 0);
  ASSERT_EQ(agent.bind(socket, "192.0.2.1", 4242), 0);
  EXPECT_TRUE(released(old));
}

// To the very tuple that it owns: its own claim is not in its way, and goes like any other.
TEST_F(SockRelease, ByBindingTheSameAnew) {
  const int socket = owner(proto_udp, "192.0.2.1", 0);
  const mstack_tuple key = tuple("192.0.2.1", agent.port(socket), proto_udp);
  ASSERT_EQ(agent.disconnect(socket), 0);
  ASSERT_EQ(agent.bind(socket, "192.0.2.1", port_of(key)), 0);
  EXPECT_TRUE(released(key));
  const auto found = record(socket);
  ASSERT_TRUE(found.has_value());
  EXPECT_TRUE(same(found->tuple, key));
}

// Refused on the way, it owns what it owned or nothing; at the end the claim is gone and counted down once.
TEST_F(SockRelease, AfterARefusedBindAnew) {
  programs.claim(tuple("192.0.2.1", 4242, proto_udp), {.vport = 2, .slot = 2, .cookie = 12345});
  const int socket = owner(proto_udp, "192.0.2.1", 0);
  const mstack_tuple old = tuple("192.0.2.1", agent.port(socket), proto_udp);
  ASSERT_EQ(agent.disconnect(socket), 0);
  EXPECT_EQ(agent.bind(socket, "192.0.2.1", 4242), -EADDRINUSE);
  const auto found = record(socket);
  EXPECT_TRUE(!found.has_value() || same(found->tuple, old));
  EXPECT_EQ(agent.close(socket), 0);
  EXPECT_TRUE(released(old));
  EXPECT_TRUE(programs.claimed(tuple("192.0.2.1", 4242, proto_udp)));
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

// Neither shutdown() nor a connection ends a claim: the socket is still bound.
TEST_F(SockRelease, NotByConnectOrShutdown) {
  const mstack_tuple key = tuple("192.0.2.1", owned_port, proto_udp);
  const int socket = owner(proto_udp, "192.0.2.1");
  ASSERT_EQ(agent.connect(socket, "192.0.2.2", 9), 0);
  EXPECT_TRUE(alive(key));
  EXPECT_EQ(agent.shutdown(socket), 0);
  EXPECT_TRUE(alive(key));
  EXPECT_EQ(agent.disconnect(socket), 0);
  EXPECT_TRUE(alive(key)) << "a port that was asked for stays";
  EXPECT_EQ(agent.close(socket), 0);
  EXPECT_TRUE(released(key));
}

}  // namespace
}  // namespace bpf_test
