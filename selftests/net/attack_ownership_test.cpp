// SPDX-License-Identifier: BSD-2-Clause
//
// A claim may never stand on a tuple that another user's socket holds. bind() is watched, but the kernel also gives out
// ports unasked: connect() and sendto() on a socket that was never bound pick one, and no hook sees it. So an owner
// must hold its port against that as well, for as long as its claim lives, whatever its process does to it.
//
// In each test the attacker owns a port, then loosens its socket's hold on it, and a victim is given that very port: it
// is the only one of net.ipv4.ip_local_port_range. The victim's packets must reach the victim.
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/tcp.h>

#include <fstream>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

constexpr std::uint16_t contested = 40123;
const Endpoint remote{wire4, 4000};

void set_option(int fd, int level, int option, int value = 1) {
  check(::setsockopt(fd, level, option, &value, sizeof(value)), "setsockopt");
}

int connect_error(int fd, const Endpoint& to) {
  const SocketAddress address{to};
  return ::connect(fd, address.get(), address.size) < 0 ? errno : 0;
}

void disconnect(int fd) {
  const sockaddr nowhere{.sa_family = AF_UNSPEC, .sa_data = {}};
  (void)::connect(fd, &nowhere, sizeof(nowhere));
}

class Ownership : public NetTest {
 protected:
  Ownership() {
    world().host().run(
        [] { std::ofstream("/proc/sys/net/ipv4/ip_local_port_range") << contested << ' ' << contested; });
  }

  void TearDown() override {
    claim_.reset();
    stack_.reset();
    NetTest::TearDown();
  }

  // What bind() picks, on a socket of alice's; bound_as() would ask for it by its number.
  Fd bound_to_port_0(int protocol, const std::string& address) const {
    return as_user(alice, [&] {
      Fd made = make_socket(protocol, false);
      EXPECT_EQ(bind_error(made.get(), {address, 0}), 0);
      return made;
    });
  }

  // The attacker's vport and what it makes of a bound socket. Refusing the claim is a right answer too.
  void claim(const Fd& socket) {
    stack_.emplace(world(), alice);
    claim_ = stack_->try_claim(socket);
  }
  bool claimed() const {
    return as({}, [&] { return !pins().claims().empty(); });
  }

  Fd victim(int protocol = IPPROTO_UDP) const { return make_socket(protocol, false); }
  template <typename Body>
  auto as_victim(Body&& body) const {
    return as_user(bob, std::forward<Body>(body));
  }

  // Whoever has the port by now, a datagram of the victim's own peer is the victim's; and the attacker may not send
  // from there. A victim that got no port at all is no one's prey.
  void expect_victim_gets_its_own(const Fd& victim, const Endpoint& to) {
    ASSERT_EQ(local_endpoint(victim.get()).port, contested) << "the test did not give the port to the victim";
    world().send(World::udp(remote, to, "for the victim"));
    const auto got = receive_from(victim.get(), Deadline{5s});
    ASSERT_TRUE(got) << "the victim's datagram was taken" << (claimed() ? " by a claim on its tuple" : "");
    EXPECT_EQ(got->payload, "for the victim");
    const auto capture = world().capture();
    stack_->send(World::udp(to, remote, "spoof"));
    send_to_peer(victim);
    EXPECT_TRUE(capture->wait(udp_payload("mine")));
    EXPECT_EQ(capture->count(udp_payload("spoof")), 0U) << "the attacker sends from the victim's tuple";
  }

  std::optional<Stack> stack_;
  std::optional<Expected<Claim>> claim_;

 private:
  static void send_to_peer(const Fd& victim) { check(::send(victim.get(), "mine", 4, 0), "send"); }
};

// A port that bind() picked is not locked: connect(AF_UNSPEC) alone gives it back to the kernel.
TEST_F(Ownership, AnEphemeralUdpPortIsGivenBackByDisconnecting) {
  const Fd owner = bound_to_port_0(IPPROTO_UDP, host4);
  ASSERT_EQ(local_endpoint(owner.get()).port, contested);
  claim(owner);
  disconnect(owner.get());
  const Fd socket = as_victim([&] {
    Fd made = victim();
    EXPECT_EQ(connect_error(made.get(), remote), 0);
    return made;
  });
  if (local_endpoint(socket.get()).port != contested) return;  // the attacker still has it
  expect_victim_gets_its_own(socket, {host4, contested});
}

TEST_F(Ownership, AnEphemeralUdpPortIsGivenBackAfterConnecting) {
  const Fd owner = bound_to_port_0(IPPROTO_UDP, "0.0.0.0");
  claim(owner);
  connect_error(owner.get(), remote);
  disconnect(owner.get());
  const Fd socket = as_victim([&] {
    Fd made = victim();
    EXPECT_EQ(connect_error(made.get(), remote), 0);
    return made;
  });
  if (local_endpoint(socket.get()).port != contested) return;
  expect_victim_gets_its_own(socket, {host4, contested});
}

// Before the claim: what the socket was bound to, it has lost by then.
TEST_F(Ownership, ADisconnectedSocketClaimsNothing) {
  const Fd owner = bound_to_port_0(IPPROTO_UDP, host4);
  disconnect(owner.get());
  claim(owner);
  EXPECT_FALSE(*claim_);
  EXPECT_FALSE(claimed());
}

// The end of a connection, refused or reset, gives an ephemeral TCP port back.
TEST_F(Ownership, AnEphemeralTcpPortIsGivenBackByARefusedConnection) {
  const Fd owner = bound_to_port_0(IPPROTO_TCP, host4);
  ASSERT_EQ(local_endpoint(owner.get()).port, contested);
  claim(owner);
  // If it is claimed, the wire's RST goes to the stack, and the kernel waits for it in vain; disconnecting ends that.
  set_option(owner.get(), IPPROTO_TCP, TCP_SYNCNT, 1);
  const int flags = ::fcntl(owner.get(), F_GETFL);
  ::fcntl(owner.get(), F_SETFL, flags | O_NONBLOCK);
  connect_error(owner.get(), remote);
  disconnect(owner.get());
  const Fd listener = world().wire().run([] {
    Fd made = bound(IPPROTO_TCP, remote, {.reuse_address = true, .v6only = {}});
    check(::listen(made.get(), 4), "listen");
    return made;
  });
  const Fd socket = as_victim([&] {
    Fd made = victim(IPPROTO_TCP);
    set_option(made.get(), IPPROTO_TCP, TCP_SYNCNT, 2);
    const int error = connect_error(made.get(), remote);
    // Nothing was to be had but the attacker's port, and that is still the attacker's.
    if (error == EADDRNOTAVAIL) return Fd{};
    EXPECT_EQ(error, 0) << "the victim's connection was taken" << (claimed() ? " by a claim on its tuple" : "");
    return made;
  });
}

// Connecting a wildcard's owner leaves it one address of the host: the port of the others is free.
TEST_F(Ownership, AWildcardOwnerThatConnectsHoldsOneAddress) {
  const Fd owner = bound_as(alice, IPPROTO_UDP, {"0.0.0.0", contested});
  claim(owner);
  EXPECT_TRUE(*claim_);
  as_user(alice, [&] { connect_error(owner.get(), remote); });
  const Fd socket = as_victim([&] {
    Fd made = victim();
    set_option(made.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
    EXPECT_EQ(bind_error(made.get(), {host4_second, 0}), 0);
    if (connect_error(made.get(), remote) != 0) return Fd{};
    return made;
  });
  if (socket) expect_victim_gets_its_own(socket, {host4_second, contested});
}

// The other way round: the victim has a wildcard, and while it is connected over one address of the host the attacker
// binds and claims its port on another. The victim's next peer is reached from there: natively its connected socket
// would win, and with a claim on the tuple its answers would be the attacker's.
TEST_F(Ownership, AWildcardThatConnectsAnewSharesNoTuple) {
  const Fd socket = bound_as(bob, IPPROTO_UDP, {"0.0.0.0", contested});
  as_user(bob, [&] { ASSERT_EQ(connect_error(socket.get(), {"127.0.0.1", 9}), 0); });
  const Fd owner = bound_as(alice, IPPROTO_UDP, {host4, contested});
  claim(owner);
  ASSERT_TRUE(*claim_);
  as_user(bob, [&] {
    disconnect(socket.get());
    EXPECT_EQ(connect_error(socket.get(), remote), EADDRINUSE);
    EXPECT_EQ(connect_error(socket.get(), {"127.0.0.1", 9}), EADDRINUSE) << "it knows no more than the peer";
  });
  claim_.reset();
  stack_.reset();
  // mstackd hears a moment later that the stack has gone.
  EXPECT_TRUE(eventually([&] { return as_user(bob, [&] { return connect_error(socket.get(), remote); }) == 0; }));
}

// Tying an owner to a device loosens its hold as well.
TEST_F(Ownership, AnOwnerTiedToADeviceHoldsThePortThere) {
  const Fd owner = bound_as(alice, IPPROTO_UDP, {host4, contested});
  claim(owner);
  EXPECT_TRUE(*claim_);
  as_user(alice, [&] { ::setsockopt(owner.get(), SOL_SOCKET, SO_BINDTODEVICE, "lo", 3); });
  const Fd socket = as_victim([&] {
    Fd made = victim();
    check(::setsockopt(made.get(), SOL_SOCKET, SO_BINDTODEVICE, uplink.c_str(), uplink.size() + 1), "to device");
    if (connect_error(made.get(), remote) != 0) return Fd{};
    return made;
  });
  if (socket) expect_victim_gets_its_own(socket, {host4, contested});
}

TEST_F(Ownership, AnOwnerOnADeviceClaimsNothing) {
  const Fd owner = as_user(alice, [] {
    Fd made = make_socket(IPPROTO_UDP, false);
    check(::setsockopt(made.get(), SOL_SOCKET, SO_BINDTODEVICE, "lo", 3), "to device");
    EXPECT_EQ(bind_error(made.get(), {host4, contested}), 0);
    return made;
  });
  claim(owner);
  const Fd socket = as_victim([&] {
    Fd made = victim();
    check(::setsockopt(made.get(), SOL_SOCKET, SO_BINDTODEVICE, uplink.c_str(), uplink.size() + 1), "to device");
    if (connect_error(made.get(), remote) != 0) return Fd{};
    return made;
  });
  if (socket) expect_victim_gets_its_own(socket, {host4, contested});
}

// The hook on setsockopt() sees every option of every socket, and must be in nobody's way: not of values of any size.
TEST_F(Ownership, OtherOptionsAreAsEver) {
  const Fd socket = bound_as(alice, IPPROTO_UDP, {host4, contested});
  for (const int size : {1 << 10, 1 << 14, 1 << 17}) {
    ASSERT_EQ(::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)), 0);
    int got = 0;
    socklen_t length = sizeof(got);
    ASSERT_EQ(::getsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &got, &length), 0);
    EXPECT_GE(got, size);
  }
  // IP_MSFILTER with more sources than are allowed: what the kernel itself says of it, with and without the hook.
  const std::vector<char> large(3 * 4096);
  const Fd outside = world().wire().run([] { return make_socket(IPPROTO_UDP, false); });
  errno = 0;
  ::setsockopt(outside.get(), IPPROTO_IP, IP_MSFILTER, large.data(), static_cast<socklen_t>(large.size()));
  const int expected = errno;
  errno = 0;
  ::setsockopt(socket.get(), IPPROTO_IP, IP_MSFILTER, large.data(), static_cast<socklen_t>(large.size()));
  EXPECT_EQ(errno, expected);
  claim(socket);
  EXPECT_TRUE(*claim_) << "none of these loosens its hold";
}

}  // namespace
}  // namespace mstack::test
