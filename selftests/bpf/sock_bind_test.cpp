// SPDX-License-Identifier: BSD-2-Clause
// What bind() leaves behind in a socket's storage: the record that mstackd admits claims by.
#include <string>

#include "sock_fixture.hpp"

namespace bpf_test {
namespace {

using SockBind = SockLife;

TEST_F(SockBind, RecordsTheTupleAsBound) {
  struct Case {
    const char* bind_to;
    bool v6only;
  };
  for (const Case& bind_to : {Case{"192.0.2.1", false},
                              {"192.0.2.2", false},
                              {"0.0.0.0", false},
                              {"2001:db8::1", false},
                              {"::", true},
                              {"::", false},
                              {"::ffff:192.0.2.1", false},
                              {"::ffff:0.0.0.0", false}}) {
    for (const std::uint8_t protocol : {proto_udp, proto_tcp}) {
      SCOPED_TRACE(std::string(bind_to.bind_to) + " protocol " + std::to_string(protocol));
      const int socket = bound(protocol, bind_to.bind_to, 0x1234, bind_to.v6only);
      ASSERT_GE(socket, 0);
      const auto found = record(socket);
      ASSERT_TRUE(found.has_value());
      EXPECT_TRUE(same(found->tuple, tuple(bind_to.bind_to, 0x1234, protocol)));
      EXPECT_EQ(found->uid, 0U);
      EXPECT_EQ(found->netns_cookie, netns.cookie());
      EXPECT_EQ(found->cookie, agent.cookie(socket));
      EXPECT_NE(found->cookie, 0U);
      EXPECT_EQ(agent.close(socket), 0);
    }
  }
}

// The kernel locks a port that it picked less than one that it was asked for: connect(AF_UNSPEC) gives it back, and
// no hook is run. So such a socket can own nothing, not even when it binds another port later.
TEST_F(SockBind, APortThatTheKernelPickedIsNoTuple) {
  for (const char* address : {"192.0.2.1", "0.0.0.0", "2001:db8::1", "::", "::ffff:192.0.2.1"}) {
    for (const std::uint8_t protocol : {proto_udp, proto_tcp}) {
      SCOPED_TRACE(std::string(address) + " protocol " + std::to_string(protocol));
      const int socket = bound(protocol, address, 0);
      ASSERT_GE(socket, 0);
      EXPECT_NE(agent.port(socket), 0);
      EXPECT_FALSE(record(socket).has_value());
      EXPECT_EQ(unfit(socket), MSTACK_SOCKET_PICKED_PORT);
      if (protocol == proto_udp) {
        ASSERT_EQ(agent.disconnect(socket), 0);
        ASSERT_EQ(agent.port(socket), 0) << "the kernel took the port back";
        ASSERT_EQ(agent.bind(socket, address, 4242), 0);
        EXPECT_FALSE(record(socket).has_value());
        EXPECT_EQ(unfit(socket), MSTACK_SOCKET_PICKED_PORT);
      }
      EXPECT_EQ(agent.close(socket), 0);
    }
  }
}

// It holds the port on that device alone, and others may have it on another.
TEST_F(SockBind, ASocketOnADeviceHasNoRecord) {
  for (const char* address : {"192.0.2.1", "0.0.0.0", "2001:db8::1", "::"}) {
    for (const std::uint8_t protocol : {proto_udp, proto_tcp}) {
      const int socket = opened(protocol, address);
      ASSERT_EQ(agent.set(socket, SOL_SOCKET, SO_BINDTOIFINDEX, 1), 0);
      ASSERT_EQ(agent.bind(socket, address, 7), 0);
      EXPECT_FALSE(record(socket).has_value()) << address;
      EXPECT_EQ(unfit(socket), MSTACK_SOCKET_ON_DEVICE);
      EXPECT_EQ(agent.close(socket), 0);
    }
  }
}

TEST_F(SockBind, RecordsWhoBound) {
  ASSERT_EQ(agent.become(54321), 0);
  for (const char* address : {"192.0.2.1", "2001:db8::1"}) {
    const int socket = bound(proto_udp, address, 7777);
    ASSERT_GE(socket, 0);
    const auto found = record(socket);
    ASSERT_TRUE(found.has_value());
    EXPECT_EQ(found->uid, 54321U);
  }
}

TEST_F(SockBind, AnUnboundSocketHasNoRecord) {
  for (const char* address : {"192.0.2.1", "2001:db8::1"}) {
    for (const std::uint8_t protocol : {proto_udp, proto_tcp})
      EXPECT_FALSE(record(opened(protocol, address)).has_value());
  }
  // An address without a port is no tuple yet.
  const int socket = opened(proto_tcp, "192.0.2.1");
  ASSERT_EQ(agent.set(socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1), 0);
  ASSERT_EQ(agent.bind(socket, "192.0.2.1", 0), 0);
  EXPECT_FALSE(record(socket).has_value());
}

TEST_F(SockBind, AFailedBindLeavesNoRecord) {
  const int first = bound(proto_udp, "192.0.2.1", 7);
  ASSERT_GE(first, 0);
  const int second = opened(proto_udp, "192.0.2.1");
  EXPECT_EQ(agent.bind(second, "192.0.2.1", 7), -EADDRINUSE) << "the kernel's own rule";
  EXPECT_FALSE(record(second).has_value());
  EXPECT_EQ(agent.bind(second, "198.51.100.1", 7), -EADDRNOTAVAIL);
  EXPECT_FALSE(record(second).has_value());
}

TEST_F(SockBind, ASocketOfAnotherProtocolHasNoRecord) {
  const int raw = agent.open(AF_INET, SOCK_RAW, IPPROTO_ICMP);
  if (raw < 0) GTEST_SKIP() << "no raw sockets here";
  EXPECT_EQ(agent.bind(raw, "192.0.2.1", 0), 0);
  EXPECT_FALSE(record(raw).has_value());
}

// Its netns cookie is not the uplinks', so nothing it binds is about our tuples.
TEST_F(SockBind, AnotherNetworkNamespaceIsNoneOfOurs) {
  programs.claim(tuple("0.0.0.0", 7, proto_udp));
  programs.claim(tuple("::", 7, proto_udp));
  ASSERT_EQ(agent.leave_netns(), 0);
  for (const char* address : {"0.0.0.0", "::"}) {
    const int socket = bound(proto_udp, address, 7);
    EXPECT_GE(socket, 0) << "a claim of this host's refused " << address << " in another namespace";
    if (socket < 0) continue;
    const auto found = record(socket);
    EXPECT_TRUE(!found.has_value() || found->netns_cookie != netns.cookie());
    EXPECT_EQ(agent.close(socket), 0);
  }
  EXPECT_TRUE(programs.claimed(tuple("0.0.0.0", 7, proto_udp)));
  EXPECT_TRUE(programs.claimed(tuple("::", 7, proto_udp)));
}

TEST_F(SockRecords, BindingAnewWritesTheRecordAnew) {
  for (const char* address : {"192.0.2.1", "2001:db8::1"}) {
    const int socket = bound(proto_udp, address, 0);  // a port that was asked for would stay
    ASSERT_GE(socket, 0);
    ASSERT_EQ(agent.disconnect(socket), 0);
    ASSERT_EQ(agent.port(socket), 0) << "the kernel took the port back";
    ASSERT_EQ(agent.bind(socket, address, 4242), 0);
    const auto found = record(socket);
    ASSERT_TRUE(found.has_value());
    EXPECT_TRUE(same(found->tuple, tuple(address, 4242, proto_udp)));
  }
}

}  // namespace
}  // namespace bpf_test
