// SPDX-License-Identifier: BSD-2-Clause
// An owner holds its tuple for as long as it is bound as it was when it claimed: what makes it hold less ends the
// claim.
#include <string>

#include "owner_fixture.hpp"

namespace bpf_test {
namespace {

using SockHold = Owners<SockLife>;
using SockRebind = Owners<SockRecords>;

// A UDP socket whose port the kernel picked gives it up on connect(AF_UNSPEC), and may bind another. It can own nothing
// (SockBind.APortThatTheKernelPickedIsNoTuple); were it to, its claim would go all the same.
TEST_F(SockRebind, ByBindingAnew) {
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
TEST_F(SockRebind, ByBindingATcpSocketAnew) {
  const int socket = owner(proto_tcp, "192.0.2.1", 0);
  const mstack_tuple old = tuple("192.0.2.1", agent.port(socket), proto_tcp);
  ASSERT_EQ(agent.listen(socket), 0);
  ASSERT_EQ(agent.disconnect(socket), 0);
  ASSERT_EQ(agent.bind(socket, "192.0.2.1", 4242), 0);
  EXPECT_TRUE(released(old));
}

// To the very tuple that it owns: its own claim is not in its way, and goes like any other.
TEST_F(SockRebind, ByBindingTheSameAnew) {
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
TEST_F(SockRebind, AfterARefusedBindAnew) {
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

// Connected, a wildcard holds one address only, and it is that for good.
TEST_F(SockHold, ByConnect) {
  for (const auto& [address, peer] :
       {std::pair{"192.0.2.1", "192.0.2.2"}, std::pair{"0.0.0.0", "192.0.2.2"}, std::pair{"2001:db8::1", "2001:db8::2"},
        std::pair{"::", "2001:db8::2"}, std::pair{"::ffff:192.0.2.1", "::ffff:192.0.2.2"}}) {
    SCOPED_TRACE(address);
    const mstack_tuple key = tuple(address, owned_port, proto_udp);
    const int socket = owner(proto_udp, address);
    EXPECT_TRUE(alive(key));
    ASSERT_EQ(agent.connect(socket, peer, 9), 0);
    EXPECT_TRUE(released(key));
    EXPECT_EQ(programs.events().size(), 1U);
    EXPECT_FALSE(record(socket).has_value());
    EXPECT_EQ(unfit(socket), MSTACK_SOCKET_CONNECTED);
    EXPECT_EQ(agent.close(socket), 0);
    EXPECT_TRUE(released(key)) << "and not once more at the end";
  }
}

TEST_F(SockHold, ByConnectOfATcpSocket) {
  const int listener = bound(proto_tcp, "192.0.2.2", 9);
  ASSERT_EQ(agent.listen(listener), 0);
  const mstack_tuple key = tuple("192.0.2.1", owned_port, proto_tcp);
  const int socket = owner(proto_tcp, "192.0.2.1");
  ASSERT_EQ(agent.connect(socket, "192.0.2.2", 9), 0);
  EXPECT_TRUE(released(key));
}

// What a program remembers of a claim, it forgets by this.
TEST_F(SockHold, EveryEndOfAClaimBeginsAnEpoch) {
  const auto moves_on = [&](auto&& end) {
    const std::uint64_t before = programs.epoch();
    end();
    return programs.epoch() > before;
  };
  int socket = owner(proto_udp, "192.0.2.1");
  EXPECT_TRUE(moves_on([&] { agent.close(socket); })) << "closed";
  socket = owner(proto_udp, "192.0.2.1");
  EXPECT_TRUE(moves_on([&] { agent.connect(socket, "192.0.2.2", 9); })) << "connected";
  EXPECT_FALSE(moves_on([&] { agent.close(socket); })) << "there was none left";
  socket = owner(proto_udp, "192.0.2.1");
  EXPECT_TRUE(moves_on([&] { agent.set(socket, SOL_SOCKET, SO_REUSEADDR, 1); })) << "shared";
  agent.close(socket);
}

// A dual-stack wildcard that connects has two claims to lose.
TEST_F(SockHold, ByConnectOfADualStackWildcard) {
  const int socket = bound(proto_udp, "::", owned_port);
  claim_for(socket, tuple("::", owned_port, proto_udp));
  claim_for(socket, tuple("0.0.0.0", owned_port, proto_udp));
  programs.set_gate(proto_udp, owned_port, 5);
  programs.set_slot_claims(1, 9);
  ASSERT_EQ(agent.connect(socket, "::ffff:192.0.2.2", 9), 0);
  EXPECT_FALSE(programs.claimed(tuple("::", owned_port, proto_udp)));
  EXPECT_FALSE(programs.claimed(tuple("0.0.0.0", owned_port, proto_udp)));
  EXPECT_TRUE(counts(proto_udp, owned_port, 3, 7));
}

TEST_F(SockHold, ByBindingToADevice) {
  for (const char* address : {"192.0.2.1", "::"}) {
    for (const std::uint8_t protocol : {proto_udp, proto_tcp}) {
      for (const bool by_name : {true, false}) {
        const mstack_tuple key = tuple(address, owned_port, protocol);
        const int socket = owner(protocol, address);
        ASSERT_EQ(by_name ? agent.set(socket, SOL_SOCKET, SO_BINDTODEVICE, Bytes{'l', 'o', 0})
                          : agent.set(socket, SOL_SOCKET, SO_BINDTOIFINDEX, 1),
                  0);
        EXPECT_TRUE(released(key)) << address;
        EXPECT_EQ(unfit(socket), MSTACK_SOCKET_ON_DEVICE);
        EXPECT_EQ(agent.close(socket), 0);
        EXPECT_TRUE(released(key));
      }
    }
  }
}

// Asked for reuse, a socket may have to share its port: a UDP one even with a socket that is never bound.
TEST_F(SockHold, ByReuseOfItsPort) {
  for (const char* address : {"192.0.2.1", "::"}) {
    for (const std::uint8_t protocol : {proto_udp, proto_tcp}) {
      for (const int option : {SO_REUSEADDR, SO_REUSEPORT}) {
        SCOPED_TRACE(std::string(address) + " protocol " + std::to_string(protocol) + " option " +
                     std::to_string(option));
        const mstack_tuple key = tuple(address, owned_port, protocol);
        const int socket = owner(protocol, address);
        ASSERT_EQ(agent.set(socket, SOL_SOCKET, option, 1), 0);
        EXPECT_TRUE(released(key));
        EXPECT_EQ(unfit(socket), MSTACK_SOCKET_SHARES);
        EXPECT_EQ(agent.close(socket), 0);

        const int before = opened(protocol, address);
        ASSERT_EQ(agent.set(before, SOL_SOCKET, option, 1), 0);
        EXPECT_EQ(agent.set(before, SOL_SOCKET, option, 0), 0);
        ASSERT_EQ(agent.bind(before, address, owned_port), 0);
        EXPECT_FALSE(record(before).has_value());
        EXPECT_EQ(unfit(before), MSTACK_SOCKET_SHARES) << "for good";
        EXPECT_EQ(agent.close(before), 0);
      }
    }
  }
}

// Every other option is the socket's own affair, and works as without us: also one of many bytes.
TEST_F(SockHold, NotByAnotherOption) {
  const mstack_tuple key = tuple("192.0.2.1", owned_port, proto_udp);
  const int socket = owner(proto_udp, "192.0.2.1");
  for (const int option : {SO_BROADCAST, SO_RCVBUF, SO_MARK}) {
    EXPECT_EQ(agent.set(socket, SOL_SOCKET, option, 1), 0) << option;
  }
  EXPECT_EQ(agent.set(socket, IPPROTO_IP, IP_TTL, 9), 0);
  EXPECT_EQ(agent.set(socket, IPPROTO_IP, IP_OPTIONS, Bytes(40, 1)), 0);
  EXPECT_EQ(agent.set(socket, IPPROTO_IP, SO_BINDTODEVICE, 1), 0) << "the number at another level: IP_RECVFRAGSIZE";
  EXPECT_EQ(agent.set(socket, SOL_SOCKET, 12345, 1), -ENOPROTOOPT);
  EXPECT_TRUE(alive(key));
}

// The socket is as bound as before.
TEST_F(SockHold, NotByShutdownListenOrDisconnect) {
  const mstack_tuple udp = tuple("192.0.2.1", owned_port, proto_udp);
  const int datagrams = owner(proto_udp, "192.0.2.1");
  agent.shutdown(datagrams);
  EXPECT_TRUE(alive(udp));
  EXPECT_EQ(agent.disconnect(datagrams), 0);
  EXPECT_EQ(agent.port(datagrams), owned_port) << "a port that was asked for stays";
  EXPECT_TRUE(alive(udp));
  EXPECT_EQ(agent.close(datagrams), 0);
  EXPECT_TRUE(released(udp));

  const mstack_tuple tcp = tuple("192.0.2.1", owned_port, proto_tcp);
  const int listener = owner(proto_tcp, "192.0.2.1");
  EXPECT_EQ(agent.listen(listener), 0);
  EXPECT_TRUE(alive(tcp));
  EXPECT_EQ(agent.disconnect(listener), 0);
  EXPECT_EQ(agent.port(listener), owned_port);
  EXPECT_TRUE(alive(tcp));
  EXPECT_EQ(agent.close(listener), 0);
  EXPECT_TRUE(released(tcp));
}

}  // namespace
}  // namespace bpf_test
