// SPDX-License-Identifier: BSD-2-Clause
//
// Descriptors that must not become claims. None of them changes a claim, none of them stays with mstackd.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>

#include "support/fixture.hpp"

namespace mstack::test {
namespace {

const Endpoint service{host4, 7000};

class ClaimInput : public NetTest {
 protected:
  void SetUp() override {
    NetTest::SetUp();
    client_.emplace(raw_client());
    ASSERT_EQ(client_->open_vport().error(), 0);
  }
  void TearDown() override {
    client_.reset();
    NetTest::TearDown();
  }

  RawClient& client() { return *client_; }

  // The descriptor is refused with this errno and a text, and no claim comes of it.
  void expect_refused(int fd, std::initializer_list<int> errors) {
    const auto before = pins().claims().size();
    const auto answer = client().claim(fd);
    const auto reply = answer.as<protocol::TuplesReply>();
    ASSERT_EQ(reply.count, 1U);
    EXPECT_TRUE(std::ranges::find(errors, reply.results[0].error) != errors.end())
        << strerrordesc_np(reply.results[0].error) << ": " << answer.text();
    EXPECT_EQ(reply.reply.error, reply.results[0].error);
    EXPECT_FALSE(answer.text().empty());
    EXPECT_EQ(answer.text().find('\n'), std::string::npos);
    EXPECT_EQ(pins().claims().size(), before);
  }
  void expect_refused(const Fd& fd, std::initializer_list<int> errors) { expect_refused(fd.get(), errors); }

 private:
  std::optional<RawClient> client_;
};

TEST_F(ClaimInput, NoSocket) {
  const Fd file{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  expect_refused(file, {ENOTSOCK});
  const Fd event{::eventfd(0, EFD_CLOEXEC)};
  expect_refused(event, {ENOTSOCK});
  const Fd path{::open("/dev/null", O_PATH | O_CLOEXEC)};
  expect_refused(path, {ENOTSOCK, EBADF});
}

TEST_F(ClaimInput, ThePipeToItself) {
  expect_refused(client().fd(), {EAFNOSUPPORT, ENOTSUP, EINVAL});
}

TEST_F(ClaimInput, OtherFamilies) {
  const Fd local{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  expect_refused(local, {EAFNOSUPPORT});
  const Fd netlink{::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0)};
  expect_refused(netlink, {EAFNOSUPPORT});
  const Fd packet =
      world().host().run([] { return Fd{::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL))}; });
  expect_refused(packet, {EAFNOSUPPORT});
}

TEST_F(ClaimInput, OtherProtocols) {
  for (const int family : {AF_INET, AF_INET6}) {
    const Fd raw = world().host().run([&] { return Fd{::socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP)}; });
    ASSERT_TRUE(raw);
    ASSERT_EQ(bind_error(raw.get(), family == AF_INET ? Endpoint{host4, 0} : Endpoint{host6, 0}), 0);
    expect_refused(raw, {EPROTONOSUPPORT, ESOCKTNOSUPPORT});
  }
  const Fd mptcp = world().host().run([] { return Fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP)}; });
  if (mptcp) {
    ASSERT_EQ(bind_error(mptcp.get(), service), 0);
    expect_refused(mptcp, {EPROTONOSUPPORT, ESOCKTNOSUPPORT});
  }
}

TEST_F(ClaimInput, Connected) {
  const Fd udp = bound_as(alice, IPPROTO_UDP, service);
  const SocketAddress peer{{wire4, 9}};
  ASSERT_EQ(::connect(udp.get(), peer.get(), peer.size), 0);
  expect_refused(udp, {EISCONN});

  const Fd server = world().wire().run([] { return bound(IPPROTO_TCP, {wire4, 9}); });
  ASSERT_EQ(::listen(server.get(), 1), 0);
  const Fd tcp = bound_as(alice, IPPROTO_TCP, service);
  ASSERT_EQ(::connect(tcp.get(), peer.get(), peer.size), 0);
  expect_refused(tcp, {EISCONN});
}

TEST_F(ClaimInput, Listening) {
  const Fd tcp = bound_as(alice, IPPROTO_TCP, service);
  ASSERT_EQ(::listen(tcp.get(), 1), 0);
  expect_refused(tcp, {EINVAL, EISCONN, EALREADY, EBUSY});
}

TEST_F(ClaimInput, Connecting) {
  World::in(world().wire(), "ip addr del 192.0.2.2/24 dev wire0");
  const Fd tcp = bound_as(alice, IPPROTO_TCP, service);
  ::fcntl(tcp.get(), F_SETFL, O_NONBLOCK);
  const SocketAddress peer{{wire4, 9}};
  ASSERT_EQ(::connect(tcp.get(), peer.get(), peer.size), -1);
  ASSERT_EQ(errno, EINPROGRESS);
  expect_refused(tcp, {EISCONN, EINVAL, EALREADY, EADDRINUSE});
}

TEST_F(ClaimInput, Unbound) {
  for (const int protocol : {IPPROTO_UDP, IPPROTO_TCP}) {
    for (const bool ipv6 : {false, true}) {
      const Fd socket = as_user(alice, [&] { return make_socket(protocol, ipv6); });
      expect_refused(socket, {ENOKEY, EINVAL, EDESTADDRREQ});
    }
  }
}

TEST_F(ClaimInput, BoundInAnotherNamespace) {
  // The same address and port exist there too.
  World::in(world().wire(), "ip addr add 192.0.2.1/32 dev lo");
  const Fd socket = as({.netns = &world().wire(), .uid = alice}, [] { return bound(IPPROTO_UDP, service); });
  expect_refused(socket, {EXDEV, ENOKEY, EINVAL, EPERM, ENETUNREACH});
}

// IP_FREEBIND lets anyone bind any address.
TEST_F(ClaimInput, AnAddressThatThisHostDoesNotHave) {
  for (const std::string address : {"203.0.113.9", "192.0.2.2", "2001:db8:9::9", "2001:db8::2"}) {
    const Fd socket = as_user(alice, [&] {
      Fd fd = make_socket(IPPROTO_UDP, address.find(':') != std::string::npos);
      const int one = 1;
      ::setsockopt(fd.get(), IPPROTO_IP, IP_FREEBIND, &one, sizeof(one));
      ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_FREEBIND, &one, sizeof(one));
      EXPECT_EQ(bind_error(fd.get(), {address, 7000}), 0);
      return fd;
    });
    expect_refused(socket, {EADDRNOTAVAIL});
  }
}

TEST_F(ClaimInput, LoopbackAddressesAndThoseOfADevice) {
  for (const std::string address : {"127.0.0.1", "127.9.9.9", "127.255.255.255", "::1", "ff02::fb"}) {
    SCOPED_TRACE(address);
    const Fd socket = as_user(alice, [&] { return make_socket(IPPROTO_UDP, address.find(':') != std::string::npos); });
    SocketAddress where{{address, 7000}};
    reinterpret_cast<sockaddr_in6*>(&where.storage)->sin6_scope_id =
        address.starts_with("ff02") ? world().uplink_index() : 0;
    ASSERT_EQ(::bind(socket.get(), where.get(), where.size), 0);
    expect_refused(socket, {EADDRNOTAVAIL, EOPNOTSUPP});  // a scope makes it a socket of one device
  }
}

TEST_F(ClaimInput, SomeoneElsesTuple) {
  const Fd owner = bound_as(alice, IPPROTO_UDP, service);
  ASSERT_EQ(client().claim(owner.get()).error(), 0);
  // Nobody else gets to bind it: what another user could pass is a socket of another tuple, which says so itself.
  const RawClient other = raw_client(bob);
  ASSERT_EQ(other.open_vport().error(), 0);
  const Fd own = bound_as(bob, IPPROTO_UDP, {host4, 7001});
  const auto reply = other.claim(own.get()).as<protocol::TuplesReply>();
  EXPECT_EQ(reply.reply.error, 0);
  EXPECT_TRUE(same(reply.results[0].tuple, tuple(IPPROTO_UDP, {host4, 7001})));
  EXPECT_EQ(pins().claims().size(), 2U);
}

// Whoever holds the bound socket may claim it, but only once.
TEST_F(ClaimInput, ClaimedAlready) {
  const Fd owner = bound_as(alice, IPPROTO_UDP, service);
  ASSERT_EQ(client().claim(owner.get()).error(), 0);
  expect_refused(owner, {EADDRINUSE, EALREADY});
  const RawClient other = raw_client(bob);
  ASSERT_EQ(other.open_vport().error(), 0);
  EXPECT_EQ(other.claim(owner.get()).error(), EADDRINUSE);
  EXPECT_TRUE(pins().claimed(IPPROTO_UDP, service));
  EXPECT_EQ(pins().gate_sum(), 1U);
  EXPECT_EQ(pins().slot_claims_sum(), 1U);
}

// For a client whose answer was lost with mstackd: only its own vport's claim for the same socket counts as done.
TEST_F(ClaimInput, ARepeatedClaimIsDone) {
  const Fd owner = bound_as(alice, IPPROTO_UDP, service), both = bound_as(alice, IPPROTO_UDP, {"::", 7010});
  const std::array owners{owner.get(), both.get()};
  for (const std::uint32_t flags : {0U, protocol::claim_repeated, protocol::claim_repeated}) {
    EXPECT_EQ(client().claim(owners, flags).error(), 0);
    EXPECT_EQ(pins().gate_sum(), 3U);
    EXPECT_EQ(pins().slot_claims_sum(), 3U);
  }
  const RawClient other = raw_client(bob);
  ASSERT_EQ(other.open_vport().error(), 0);
  EXPECT_EQ(other.claim(owners, protocol::claim_repeated).error(), EADDRINUSE);
  // One of the two tuples of a :: has been released by itself: it comes back, and the other stays.
  const mstack_tuple second = tuple(IPPROTO_UDP, {"0.0.0.0", 7010});
  ASSERT_EQ(client().release(std::span(&second, 1)).error(), 0);
  EXPECT_EQ(client().claim(owners, protocol::claim_repeated).error(), 0);
  EXPECT_EQ(pins().gate_sum(), 3U);
  EXPECT_EQ(pins().slot_claims_sum(), 3U);
  EXPECT_EQ(client().claim(owners, 2).error(), EINVAL);
}

TEST_F(ClaimInput, TheSameDescriptorTwiceInOneMessage) {
  const Fd owner = bound_as(alice, IPPROTO_UDP, service);
  const Fd copy = owner.duplicate();
  const auto reply = client().claim(std::array{owner.get(), copy.get()}).as<protocol::TuplesReply>();
  ASSERT_EQ(reply.count, 2U);
  EXPECT_EQ(reply.results[0].error, 0);
  EXPECT_TRUE(reply.results[1].error == EADDRINUSE || reply.results[1].error == EALREADY);
  EXPECT_EQ(pins().claims().size(), 1U);
  EXPECT_EQ(pins().gate_sum(), 1U);
}

TEST_F(ClaimInput, BoundOutsideTheCgroup) {
  Process outside = Process::function(
      [](Channel& channel) {
        const Fd socket = bound(IPPROTO_UDP, service);
        const int fd = socket.get();
        channel.send("bound", {&fd, 1});
        channel.expect("end");
        return 0;
      },
      {.who = {.netns = &world().host(), .uid = alice, .cgroup = world().outside_cgroup()}});
  const auto message = outside.channel().expect("bound");
  expect_refused(message.fds.at(0), {ENOKEY});
}

TEST_F(ClaimInput, ClosedRightAfterSending) {
  for (int round = 0; round < 50; ++round) {
    Fd socket = bound_as(alice, IPPROTO_UDP, service);
    const int fd = socket.get();
    ASSERT_EQ(client().send(protocol::Claim{.header = RawClient::header(protocol::Type::claim), .count = 1, .flags = 0},
                            {&fd, 1}),
              0);
    socket.reset();
    // mstackd's copy may have been the last: then the claim has come and gone, or was never made.
    ASSERT_TRUE(client().receive());
    EXPECT_TRUE(eventually([&] { return pins().claims().empty() && pins().gate_sum() == 0; }));
  }
}

// connect(AF_UNSPEC) takes the port from a socket that bind() gave an ephemeral one, with no hook to see it: such a
// socket is no sure owner.
TEST_F(ClaimInput, APortThatTheKernelPicked) {
  for (const int protocol : {IPPROTO_UDP, IPPROTO_TCP}) {
    const Fd socket = as_user(alice, [&] {
      Fd fd = make_socket(protocol, false);
      EXPECT_EQ(bind_error(fd.get(), {host4, 0}), 0);
      return fd;
    });
    expect_refused(socket, {EOPNOTSUPP});
    sockaddr unspecified{};
    unspecified.sa_family = AF_UNSPEC;
    ASSERT_EQ(::connect(socket.get(), &unspecified, sizeof(unspecified)), 0);
    expect_refused(socket, {EOPNOTSUPP, ENOKEY, ESTALE});
  }
}

// A port that was asked for by its number is the socket's for good.
TEST_F(ClaimInput, ADisconnectKeepsThePortAndTheClaim) {
  for (const int protocol : {IPPROTO_UDP, IPPROTO_TCP}) {
    const Fd socket = bound_as(alice, protocol, service);
    ASSERT_EQ(client().claim(socket.get()).error(), 0);
    sockaddr unspecified{};
    unspecified.sa_family = AF_UNSPEC;
    ASSERT_EQ(::connect(socket.get(), &unspecified, sizeof(unspecified)), 0);
    EXPECT_EQ(local_endpoint(socket.get()), service);
    EXPECT_TRUE(pins().claimed(protocol, service));
    EXPECT_EQ(bind_error(socket.get(), {host4_second, 7002}), EINVAL) << "a bound socket cannot be bound anew";
  }
}

// An owner that begins to use its socket in the kernel's stack owns nothing more.
TEST_F(ClaimInput, AnOwnerThatConnectsLosesItsClaim) {
  const Fd server = world().wire().run([] { return bound(IPPROTO_TCP, {wire4, 9}); });
  ASSERT_EQ(::listen(server.get(), 1), 0);
  const SocketAddress peer{{wire4, 9}};
  for (const int protocol : {IPPROTO_UDP, IPPROTO_TCP}) {
    const Fd socket = bound_as(alice, protocol, service);
    ASSERT_EQ(client().claim(socket.get()).error(), 0);
    ASSERT_EQ(::connect(socket.get(), peer.get(), peer.size), 0);
    EXPECT_TRUE(pins().claims().empty());
    EXPECT_EQ(pins().gate_sum(), 0U);
  }
}

TEST_F(ClaimInput, OneBadDescriptorDoesNotSpoilTheOthers) {
  const Fd good = bound_as(alice, IPPROTO_UDP, service);
  const Fd bad{::eventfd(0, EFD_CLOEXEC)};
  const Fd good6 = bound_as(alice, IPPROTO_TCP, {host6, 7000});
  const auto reply = client().claim(std::array{good.get(), bad.get(), good6.get()}).as<protocol::TuplesReply>();
  ASSERT_EQ(reply.count, 3U);
  EXPECT_EQ(reply.reply.error, ENOTSOCK);
  EXPECT_EQ(reply.results[0].error, 0);
  EXPECT_EQ(reply.results[1].error, ENOTSOCK);
  EXPECT_EQ(reply.results[2].error, 0);
  EXPECT_TRUE(pins().claimed(IPPROTO_UDP, service));
  EXPECT_TRUE(pins().claimed(IPPROTO_TCP, {host6, 7000}));
}

TEST_F(ClaimInput, WithoutAVport) {
  const RawClient other = raw_client(bob);
  const Fd socket = bound_as(bob, IPPROTO_UDP, service);
  EXPECT_NE(other.claim(socket.get()).error(), 0);
  EXPECT_TRUE(pins().claims().empty());
}

TEST_F(ClaimInput, OthersClaimsCannotBeReleased) {
  const Fd owner = bound_as(alice, IPPROTO_UDP, service);
  ASSERT_EQ(client().claim(owner.get()).error(), 0);
  const RawClient other = raw_client(bob);
  ASSERT_EQ(other.open_vport().error(), 0);
  const std::array tuples{tuple(IPPROTO_UDP, service), tuple(IPPROTO_UDP, {host4, 7999})};
  const auto reply = other.release(tuples).as<protocol::TuplesReply>();
  ASSERT_EQ(reply.count, 2U);
  EXPECT_NE(reply.results[0].error, 0);
  EXPECT_NE(reply.results[1].error, 0);
  EXPECT_TRUE(pins().claimed(IPPROTO_UDP, service));
  EXPECT_EQ(client().release({tuples.data(), 1}).error(), 0);
  EXPECT_FALSE(pins().claimed(IPPROTO_UDP, service));
}

// Bound while no hook was there to write it down.
TEST(ClaimBeforeMstackd, IsRefusedUntilBoundAgain) {
  const World world;
  const auto make = [&] {
    return as({.netns = &world.host(), .uid = alice}, [] { return bound(IPPROTO_UDP, service); });
  };
  Fd early = make();
  Daemon daemon(world);
  const RawClient client = as({.netns = &world.host(), .uid = alice}, [&] { return RawClient{world.run_dir()}; });
  ASSERT_EQ(client.open_vport().error(), 0);
  const auto answer = client.claim(early.get());
  EXPECT_EQ(answer.error(), ENOKEY);
  EXPECT_NE(answer.text().find("bind it again"), std::string::npos) << answer.text();
  EXPECT_TRUE(world.pins().claims().empty());
  early.reset();
  early = make();
  EXPECT_EQ(client.claim(early.get()).error(), 0);
}

}  // namespace
}  // namespace mstack::test
