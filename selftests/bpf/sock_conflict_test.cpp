// SPDX-License-Identifier: BSD-2-Clause
// Whoever binds what is claimed gets EADDRINUSE, whatever the kernel itself would allow: here no other socket holds
// the port, so that every refusal is ours.
#include <cctype>
#include <cerrno>
#include <string>
#include <system_error>

#include "sock_fixture.hpp"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

namespace bpf_test {
namespace {

using SockConflict = SockLife;

struct Rule {
  const char* bind_to;
  bool v6only;
  // Whether a claim of these on the same port stands in the way.
  bool by_exact4, by_any4, by_exact6, by_any6;
};

constexpr const char* claimed_addresses[] = {"192.0.2.1", "0.0.0.0", "2001:db8::1", "::"};

constexpr Rule rules[] = {
    {"192.0.2.1", false, true, true, false, false},
    {"192.0.2.2", false, false, true, false, false},
    {"0.0.0.0", false, true, true, false, false},
    {"2001:db8::1", false, false, false, true, true},
    {"2001:db8::2", false, false, false, false, true},
    {"::", true, false, false, true, true},
    {"::", false, true, true, true, true},
    {"::ffff:192.0.2.1", false, true, true, false, false},
    {"::ffff:192.0.2.2", false, false, true, false, false},
    {"::ffff:0.0.0.0", false, true, true, false, false},
};

class SockConflictRules : public SockLife, public testing::WithParamInterface<Rule> {};

TEST_P(SockConflictRules, Hold) {
  const Rule& rule = GetParam();
  const bool expected[] = {rule.by_exact4, rule.by_any4, rule.by_exact6, rule.by_any6};
  for (const std::uint8_t protocol : {proto_udp, proto_tcp}) {
    for (std::size_t i = 0; i < std::size(claimed_addresses); ++i) {
      // A claim in the making stands in the way as much, and so does one whose address may come back.
      for (const std::uint32_t state : {MSTACK_CLAIM_ACTIVE, MSTACK_CLAIM_PENDING, MSTACK_CLAIM_SUSPENDED}) {
        SCOPED_TRACE(std::string(claimed_addresses[i]) + " state " + std::to_string(state) + ", bind to " +
                     rule.bind_to + (rule.v6only ? " v6only" : "") + ", protocol " + std::to_string(protocol));
        const mstack_tuple key = tuple(claimed_addresses[i], 7, protocol);
        programs.claim(key, {.state = state});

        const int socket = bound(protocol, rule.bind_to, 7, rule.v6only);
        if (expected[i]) {
          EXPECT_EQ(socket, -EADDRINUSE);
        } else {
          EXPECT_GE(socket, 0);
        }
        if (socket >= 0) agent.close(socket);

        const int other_port = bound(protocol, rule.bind_to, 0x0700, rule.v6only);
        EXPECT_GE(other_port, 0) << "another port";
        agent.close(other_port);
        const int other_protocol = bound(protocol == proto_udp ? proto_tcp : proto_udp, rule.bind_to, 7, rule.v6only);
        EXPECT_GE(other_protocol, 0) << "another protocol";
        agent.close(other_protocol);

        EXPECT_TRUE(programs.claimed(key)) << "no bind of another takes a claim away";
        programs.unclaim(key);
        programs.set_gate(protocol, 7, 0);
        const int after = bound(protocol, rule.bind_to, 7, rule.v6only);
        EXPECT_GE(after, 0) << "without the claim";
        agent.close(after);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Every, SockConflictRules, testing::ValuesIn(rules), [](const auto& tested) {
  std::string name = tested.param.v6only ? "V6only" : "";
  for (const char c : std::string_view(tested.param.bind_to)) name += std::isalnum(c) != 0 ? c : '_';
  return name;
});

// With SO_REUSEADDR or SO_REUSEPORT on both, the kernel would let them share: so such a socket owns nothing. And with
// it on the other alone, none is let in.
TEST_F(SockConflict, TheReuseOptionsDoNotShareAClaim) {
  for (const char* address : {"192.0.2.1", "2001:db8::1"}) {
    for (const std::uint8_t protocol : {proto_udp, proto_tcp}) {
      for (const int option : {SO_REUSEADDR, SO_REUSEPORT}) {
        SCOPED_TRACE(std::string(address) + " protocol " + std::to_string(protocol) + " option " +
                     std::to_string(option));
        const int owner = opened(protocol, address);
        const int second = opened(protocol, address);
        ASSERT_EQ(agent.set(second, SOL_SOCKET, option, 1), 0);
        ASSERT_EQ(agent.bind(owner, address, 7), 0);
        claim_for(owner, tuple(address, 7, protocol));
        EXPECT_EQ(agent.bind(second, address, 7), -EADDRINUSE);
        agent.close(owner);
        EXPECT_EQ(agent.bind(second, address, 7), 0) << "once the owner is gone";
        agent.close(second);
      }
    }
  }
}

struct Return {
  const char* bound_to;
  bool v6only;
  const char* peer;
  bool taken;
};

// A socket of a wildcard has its port on one address while it is connected, and all the others are free to bind. When
// it is connected anew the kernel asks nobody: it would share a tuple that was claimed meanwhile.
TEST_F(SockConflict, AWildcardDoesNotComeBackToWhatIsClaimed) {
  for (const std::uint8_t protocol : {proto_udp, proto_tcp}) {
    for (const char* claimed : {"192.0.2.1", "2001:db8::1"}) {
      const bool six = std::string_view(claimed).contains(':');
      for (const Return& way : {Return{"0.0.0.0", false, "192.0.2.2", !six},
                                {"::", false, "::ffff:192.0.2.2", !six},
                                {"::", false, "2001:db8::2", six},
                                {"::", true, "2001:db8::2", six},
                                {"::ffff:0.0.0.0", false, "::ffff:192.0.2.2", !six},
                                {"192.0.2.2", false, "192.0.2.2", false},
                                {"2001:db8::2", false, "2001:db8::2", false}}) {
        SCOPED_TRACE(std::string(claimed) + ", bound to " + way.bound_to + (way.v6only ? " v6only" : "") + ", to " +
                     way.peer + ", protocol " + std::to_string(protocol));
        const int socket = bound(protocol, way.bound_to, 7, way.v6only);
        ASSERT_GE(socket, 0);
        const mstack_tuple key = tuple(claimed, 7, protocol);
        programs.claim(key);
        const int free = protocol == proto_udp ? 0 : -ECONNREFUSED;
        EXPECT_EQ(agent.connect(socket, way.peer, 9), way.taken ? -EADDRINUSE : free);
        programs.unclaim(key);
        programs.set_gate(protocol, 7, 0);
        if (way.taken) {
          EXPECT_EQ(agent.connect(socket, way.peer, 9), free) << "once it is released";
        }
        EXPECT_EQ(agent.close(socket), 0);
      }
    }
  }
}

// Nor does its own claim stand in the way of an owner that connects, nor does any where the kernel picks the port.
TEST_F(SockConflict, ConnectIsAsEverWithoutAClaimOfAnothers) {
  const int owner = bound(proto_udp, "0.0.0.0", 7);
  ASSERT_GE(owner, 0);
  claim_for(owner, tuple("0.0.0.0", 7, proto_udp));
  EXPECT_EQ(agent.connect(owner, "192.0.2.2", 9), 0);
  EXPECT_FALSE(programs.claimed(tuple("0.0.0.0", 7, proto_udp)));

  Netns::sysctl("ipv4/ip_local_port_range", "50000 50000");
  programs.claim(tuple("192.0.2.1", 50000, proto_udp));
  const int unbound = opened(proto_udp, "192.0.2.2");
  EXPECT_EQ(agent.connect(unbound, "192.0.2.2", 9), 0);
  EXPECT_EQ(agent.port(unbound), 50000);
}

// A refused socket is as good as new.
TEST_F(SockConflict, ARefusedSocketCanBindElsewhere) {
  for (const char* address : {"192.0.2.1", "2001:db8::1"}) {
    programs.claim(tuple(address, 7, proto_tcp));
    const int socket = opened(proto_tcp, address);
    EXPECT_EQ(agent.bind(socket, address, 7), -EADDRINUSE);
    EXPECT_FALSE(record(socket).has_value());
    EXPECT_EQ(agent.port(socket), 0);
    EXPECT_EQ(agent.bind(socket, address, 8), 0);
    const auto found = record(socket);
    ASSERT_TRUE(found.has_value());
    EXPECT_TRUE(same(found->tuple, tuple(address, 8, proto_tcp)));
    EXPECT_EQ(agent.close(socket), 0);
    EXPECT_TRUE(programs.claimed(tuple(address, 7, proto_tcp)));
  }
}

// The kernel picks ports that no socket holds; one that is claimed all the same (its owner is between two binds) is
// refused, not shared.
TEST_F(SockConflict, AnEphemeralPortIsNoExcuse) {
  Netns::sysctl("ipv4/ip_local_port_range", "50000 50001");
  for (const std::uint16_t port : {std::uint16_t{50000}, std::uint16_t{50001}}) {
    programs.claim(tuple("192.0.2.1", port, proto_udp));
  }
  EXPECT_EQ(bound(proto_udp, "192.0.2.1", 0), -EADDRINUSE);
  EXPECT_GE(bound(proto_udp, "192.0.2.2", 0), 0);
}

// The one claim that matters among as many as there can be.
TEST_F(SockConflict, AWildcardFindsTheOneClaimInItsWay) {
  // Among many addresses too.
  for (int i = 0; i < 1000; ++i) {
    programs.local("203.0.113." + std::to_string(i % 250));
    programs.local("2001:db8:b::" + std::to_string(i));
  }
  programs.claim(tuple("192.0.2.1", 7, proto_udp));
  programs.claim(tuple("2001:db8::1", 9, proto_udp));
  for (std::uint32_t i = 0; i < 60000; ++i) {
    const std::string address = "198.51." + std::to_string(100 + (i >> 15)) + "." + std::to_string(i % 200 + 1);
    programs.claim(tuple(address, static_cast<std::uint16_t>(1000 + i / 2), proto_udp), {.slot = 3});
  }
  EXPECT_EQ(bound(proto_udp, "0.0.0.0", 7), -EADDRINUSE);
  EXPECT_EQ(bound(proto_udp, "::", 7), -EADDRINUSE);
  EXPECT_EQ(bound(proto_udp, "::", 9), -EADDRINUSE);
  EXPECT_EQ(bound(proto_udp, "::", 9, true), -EADDRINUSE);
  EXPECT_GE(bound(proto_udp, "0.0.0.0", 9), 0);
  EXPECT_GE(bound(proto_udp, "0.0.0.0", 8), 0);
  EXPECT_GE(bound(proto_udp, "::", 999), 0);
}

// A multipath TCP socket binds TCP's ports by a socket of the kernel's own below it.
TEST_F(SockConflict, MultipathTcpIsTcp) {
  programs.claim(tuple("192.0.2.1", 7, proto_tcp));
  const int socket = agent.open(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
  if (socket == -EPROTONOSUPPORT || socket == -ENOPROTOOPT)
    GTEST_SKIP() << "this kernel has no multipath TCP: " << std::generic_category().message(-socket);
  ASSERT_GE(socket, 0);
  EXPECT_EQ(agent.bind(socket, "192.0.2.1", 7), -EADDRINUSE);
}

}  // namespace
}  // namespace bpf_test
