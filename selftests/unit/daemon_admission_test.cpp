// SPDX-License-Identifier: BSD-2-Clause
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "daemon/admission.hpp"

namespace mstack::daemon {
namespace {

constexpr std::uint64_t here = 4711, owner = 99;
constexpr std::uint8_t closed = 7, established = 1, listening = 10, syn_sent = 2, bound_inactive = 13;

mstack_tuple tuple(const char* address, std::uint16_t port = 53, std::uint8_t protocol = IPPROTO_UDP) {
  mstack_tuple tuple = {};
  if (std::strchr(address, ':')) {
    ::inet_pton(AF_INET6, address, tuple.addr);
  } else {
    tuple.addr[2] = htonl(0xffff);
    ::inet_pton(AF_INET, address, &tuple.addr[3]);
  }
  tuple.port = htons(port);
  tuple.protocol = protocol;
  return tuple;
}

SocketFacts bound(const mstack_tuple& to, int domain = AF_INET) {
  mstack_socket record = {};
  record.tuple = to;
  record.uid = 1000;
  record.netns_cookie = here;
  record.cookie = owner;
  return {.domain = domain,
          .type = to.protocol == IPPROTO_TCP    ? SOCK_STREAM
                  : to.protocol == IPPROTO_DCCP ? SOCK_DCCP
                                                : SOCK_DGRAM,
          .protocol = to.protocol,
          .listening = false,
          .cookie = owner,
          .netns_cookie = here,
          .record = record};
}

net::Holder holder(const mstack_tuple& of, std::uint64_t cookie = owner, std::uint8_t state = closed) {
  return {.cookie = cookie, .tuple = of, .family = AF_INET, .state = state, .v6only = false};
}

Whose all_local(const mstack_address&) {
  return Whose::hosts;
}
Whose none_local(const mstack_address&) {
  return Whose::nobodys;
}
Whose a_subnets(const mstack_address&) {
  return Whose::subnets;
}

int first(const SocketFacts& facts, const LookUp& look_up = all_local) {
  const auto looked = first_look(facts, here, look_up);
  if (looked) return 0;
  EXPECT_FALSE(looked.error().what.empty());
  return looked.error().code;
}

int second(const SocketFacts& before, const SocketFacts& now) {
  const auto looked = second_look(before, now);
  return looked ? 0 : looked.error().code;
}

int around(const SocketFacts& facts, const std::vector<net::Holder>& holders, bool bound_tcp_is_seen = true) {
  const auto looked = look_around(facts, holders, bound_tcp_is_seen);
  return looked ? 0 : looked.error().code;
}

TEST(FirstLook, AdmitsWhatIsBoundHere) {
  for (const mstack_tuple& to : {tuple("192.0.2.1"), tuple("0.0.0.0"), tuple("192.0.2.1", 80, IPPROTO_TCP)}) {
    const auto looked = first_look(bound(to), here, all_local);
    ASSERT_TRUE(looked) << looked.error().what;
    ASSERT_EQ(looked->count, 1u);
    EXPECT_TRUE(is_same(looked->tuple[0], to));
  }
  EXPECT_EQ(first(bound(tuple("2001:db8::1"), AF_INET6)), 0);
}

TEST(FirstLook, ADualStackWildcardIsTwoClaims) {
  auto facts = bound(tuple("::", 53), AF_INET6);
  facts.record->v6only = false;
  const auto looked = first_look(facts, here, none_local);
  ASSERT_TRUE(looked);
  ASSERT_EQ(looked->count, 2u);
  EXPECT_TRUE(is_same(looked->tuple[0], tuple("::")));
  EXPECT_TRUE(is_same(looked->tuple[1], tuple("0.0.0.0")));
  facts.record->v6only = true;
  EXPECT_EQ(first_look(facts, here, none_local)->count, 1u);
}

TEST(FirstLook, RefusesOtherKindsOfSockets) {
  auto facts = bound(tuple("192.0.2.1"));
  facts.domain = AF_UNIX;
  EXPECT_EQ(first(facts), EAFNOSUPPORT);
  facts.domain = AF_PACKET;
  EXPECT_EQ(first(facts), EAFNOSUPPORT);
  facts = bound(tuple("192.0.2.1"));
  facts.type = SOCK_RAW;
  EXPECT_EQ(first(facts), ESOCKTNOSUPPORT);
  facts = bound(tuple("192.0.2.1"));
  facts.protocol = IPPROTO_DCCP;
  EXPECT_EQ(first(facts), ESOCKTNOSUPPORT) << "a datagram socket of a protocol that has none";
  facts.protocol = IPPROTO_ICMP;
  EXPECT_EQ(first(facts), ESOCKTNOSUPPORT);
  facts = bound(tuple("192.0.2.1", 80, IPPROTO_TCP));
  facts.protocol = 262;  // MPTCP
  EXPECT_EQ(first(facts), ESOCKTNOSUPPORT);
  facts = bound(tuple("192.0.2.1", 80, IPPROTO_TCP));
  facts.listening = true;
  EXPECT_EQ(first(facts), EINVAL);
}

// bind() of SCTP runs no hook: there is no record, and to bind it again would be of no use.
TEST(FirstLook, SaysWhyAnSctpSocketOwnsNothing) {
  for (const int type : {SOCK_STREAM, SOCK_SEQPACKET}) {
    auto facts = bound(tuple("192.0.2.1", 80, IPPROTO_SCTP));
    facts.type = type;
    facts.record.reset();
    const auto looked = first_look(facts, here, all_local);
    ASSERT_FALSE(looked);
    EXPECT_EQ(looked.error().code, ESOCKTNOSUPPORT);
    EXPECT_NE(looked.error().what.find("SCTP"), std::string::npos);
  }
}

// What connect() may narrow with no hook that sees it.
TEST(FirstLook, TakesUdpliteAndDccpOfOneAddressAlone) {
  for (const std::uint8_t protocol : {IPPROTO_UDPLITE, IPPROTO_DCCP}) {
    EXPECT_EQ(first(bound(tuple("192.0.2.1", 53, protocol))), 0);
    EXPECT_EQ(first(bound(tuple("2001:db8::1", 53, protocol), AF_INET6)), 0);
    EXPECT_EQ(first(bound(tuple("0.0.0.0", 53, protocol))), EOPNOTSUPP);
    EXPECT_EQ(first(bound(tuple("::", 53, protocol), AF_INET6)), EOPNOTSUPP);
  }
}

TEST(FirstLook, TakesGroupsOfUdp) {
  for (const std::uint8_t protocol : {IPPROTO_UDP, IPPROTO_UDPLITE}) {
    for (const char* group : {"224.0.0.251", "239.255.255.255", "255.255.255.255"})
      EXPECT_EQ(first(bound(tuple(group, 53, protocol)), none_local), 0) << group;
    EXPECT_EQ(first(bound(tuple("ff05::2", 53, protocol), AF_INET6), none_local), 0);
  }
  for (const char* none : {"223.255.255.255", "240.0.0.1", "192.0.2.255"})
    EXPECT_EQ(first(bound(tuple(none)), none_local), EADDRNOTAVAIL) << none;
  EXPECT_EQ(first(bound(tuple("fe00::1"), AF_INET6), none_local), EADDRNOTAVAIL);
  EXPECT_EQ(first(bound(tuple("192.0.2.255", 53, IPPROTO_UDP)), a_subnets), 0);
  EXPECT_EQ(first(bound(tuple("192.0.2.255", 53, IPPROTO_TCP)), a_subnets), EADDRNOTAVAIL);
  EXPECT_EQ(first(bound(tuple("192.0.2.255", 53, IPPROTO_UDP)), none_local), EADDRNOTAVAIL);
  EXPECT_EQ(first(bound(tuple("224.0.0.251", 53, IPPROTO_TCP)), none_local), EADDRNOTAVAIL);
  EXPECT_EQ(first(bound(tuple("224.0.0.251", 53, IPPROTO_DCCP)), none_local), EADDRNOTAVAIL);
}

TEST(FirstLook, BelievesOnlyTheKernelsRecord) {
  auto facts = bound(tuple("192.0.2.1"));
  facts.record.reset();
  EXPECT_EQ(first(facts), ENOKEY);
  facts = bound(tuple("192.0.2.1"));
  facts.record->cookie = 0;
  EXPECT_EQ(first(facts), ENOKEY) << "of a bind that was refused";
  facts = bound(tuple("192.0.2.1"));
  facts.record->cookie = owner + 1;
  EXPECT_EQ(first(facts), ENOKEY) << "another's";
  facts = bound(tuple("192.0.2.1"));
  facts.record->tuple.protocol = IPPROTO_TCP;
  EXPECT_EQ(first(facts), ENOKEY);
  EXPECT_EQ(first(bound(tuple("192.0.2.1", 0))), ENOKEY);
}

TEST(FirstLook, RefusesSocketsThatCouldLoseTheirPort) {
  auto facts = bound(tuple("192.0.2.1"));
  facts.record->cookie = 0;
  facts.record->unfit = MSTACK_SOCKET_PICKED_PORT;
  EXPECT_EQ(first(facts), EOPNOTSUPP);
  facts.record->unfit = MSTACK_SOCKET_ON_DEVICE;
  EXPECT_EQ(first(facts), EOPNOTSUPP);
  facts.record->unfit = MSTACK_SOCKET_SHARES;
  EXPECT_EQ(first(facts), EOPNOTSUPP);
  facts.record->unfit = MSTACK_SOCKET_KERNEL;
  EXPECT_EQ(first(facts), EOPNOTSUPP);
  facts.record->unfit = MSTACK_SOCKET_CONNECTED;
  EXPECT_EQ(first(facts), EISCONN);
}

TEST(FirstLook, RefusesOtherNamespaces) {
  auto facts = bound(tuple("192.0.2.1"));
  facts.netns_cookie = here + 1;
  EXPECT_EQ(first(facts), EXDEV);
  facts = bound(tuple("192.0.2.1"));
  facts.record->netns_cookie = here + 1;
  EXPECT_EQ(first(facts), ENOKEY);
}

TEST(FirstLook, RefusesAddressesThatThisHostDoesNotHave) {
  EXPECT_EQ(first(bound(tuple("192.0.2.1")), none_local), EADDRNOTAVAIL);
  EXPECT_EQ(first(bound(tuple("2001:db8::1"), AF_INET6), none_local), EADDRNOTAVAIL);
  EXPECT_EQ(first(bound(tuple("0.0.0.0")), none_local), 0) << "every address of this host, whatever they are";
  EXPECT_EQ(first(bound(tuple("::"), AF_INET6), none_local), 0);
  // Even if an interface should have them.
  for (const char* address : {"127.0.0.1", "127.1.2.3"}) EXPECT_EQ(first(bound(tuple(address))), EADDRNOTAVAIL);
  for (const char* address : {"::1", "fe80::1"}) EXPECT_EQ(first(bound(tuple(address), AF_INET6)), EADDRNOTAVAIL);
}

TEST(SecondLook, WantsTheOwnerAsItWas) {
  const auto facts = bound(tuple("192.0.2.1"));
  EXPECT_EQ(second(facts, facts), 0);
  auto now = facts;
  now.record->tuple = tuple("192.0.2.1", 54);
  EXPECT_EQ(second(facts, now), ECONNABORTED);
  now = facts;
  now.record.reset();
  EXPECT_EQ(second(facts, now), ECONNABORTED);
  for (const auto unfit : {MSTACK_SOCKET_PICKED_PORT, MSTACK_SOCKET_CONNECTED, MSTACK_SOCKET_ON_DEVICE,
                           MSTACK_SOCKET_SHARES, MSTACK_SOCKET_KERNEL}) {
    now = facts;
    now.record = mstack_socket{};
    now.record->unfit = unfit;
    EXPECT_EQ(second(facts, now), ECONNABORTED) << unfit;
  }
  now = facts;
  now.listening = true;
  EXPECT_EQ(second(facts, now), EINVAL);
}

TEST(LookAround, WantsTheOwnerToHoldItsPort) {
  const auto facts = bound(tuple("192.0.2.1"));
  EXPECT_EQ(around(facts, {}), ESTALE);
  EXPECT_EQ(around(facts, {holder(tuple("192.0.2.9"))}), ESTALE) << "bound to what it was not";
  EXPECT_EQ(around(facts, {holder(tuple("192.0.2.1"), owner, established)}), EISCONN);
  const auto tcp = bound(tuple("192.0.2.1", 80, IPPROTO_TCP));
  EXPECT_EQ(around(tcp, {holder(tcp.record->tuple, owner, bound_inactive)}), 0);
  EXPECT_EQ(around(tcp, {holder(tcp.record->tuple, owner, syn_sent)}), EISCONN);
  EXPECT_EQ(around(tcp, {holder(tcp.record->tuple, owner, listening)}), EINVAL);
}

TEST(LookAround, AnOlderKernelDoesNotShowBoundTcpSockets) {
  const auto tcp = bound(tuple("192.0.2.1", 80, IPPROTO_TCP));
  EXPECT_EQ(around(tcp, {}, false), 0);
  EXPECT_EQ(around(tcp, {holder(tcp.record->tuple, owner, established)}, false), EISCONN);
  EXPECT_EQ(around(bound(tuple("192.0.2.1")), {}, false), ESTALE) << "UDP sockets it shows";
}

TEST(LookAround, WantsTheOwnerToBeTheOnlyHolder) {
  const auto facts = bound(tuple("192.0.2.1"));
  const auto own = holder(tuple("192.0.2.1"));
  EXPECT_EQ(around(facts, {own, holder(tuple("192.0.2.1"), 5)}), EADDRINUSE);
  EXPECT_EQ(around(facts, {own, holder(tuple("0.0.0.0"), 5)}), EADDRINUSE);
  EXPECT_EQ(around(facts, {own, holder(tuple("::"), 5)}), EADDRINUSE) << "dual-stack";
  EXPECT_EQ(around(facts, {own, holder(tuple("192.0.2.1"), 5, established)}), EADDRINUSE);
  EXPECT_EQ(around(facts, {own, holder(tuple("192.0.2.2"), 5)}), 0);
  EXPECT_EQ(around(facts, {own, holder(tuple("2001:db8::1"), 5)}), 0);
  auto only6 = holder(tuple("::"), 5);
  only6.v6only = true;
  EXPECT_EQ(around(facts, {own, only6}), 0);
}

TEST(LookAround, AWildcardIsSharedWithAnyAddress) {
  const auto any4 = bound(tuple("0.0.0.0"));
  EXPECT_EQ(around(any4, {holder(tuple("0.0.0.0")), holder(tuple("192.0.2.7"), 5)}), EADDRINUSE);
  EXPECT_EQ(around(any4, {holder(tuple("0.0.0.0")), holder(tuple("2001:db8::1"), 5)}), 0);
  auto dual = bound(tuple("::"), AF_INET6);
  dual.record->v6only = false;
  EXPECT_EQ(around(dual, {holder(tuple("::")), holder(tuple("192.0.2.7"), 5)}), EADDRINUSE);
  auto six = bound(tuple("::"), AF_INET6);
  six.record->v6only = true;
  EXPECT_EQ(around(six, {holder(tuple("::")), holder(tuple("192.0.2.7"), 5)}), 0);
}

TEST(Tuples, WildcardsAreKnown) {
  EXPECT_TRUE(is_wildcard(address_of(tuple("0.0.0.0"))));
  EXPECT_TRUE(is_wildcard(address_of(tuple("::"))));
  EXPECT_FALSE(is_wildcard(address_of(tuple("192.0.2.1"))));
  EXPECT_FALSE(is_wildcard(address_of(tuple("::1"))));
  EXPECT_FALSE(is_any_ipv6(address_of(tuple("0.0.0.0"))));
  EXPECT_TRUE(is_same(ipv4_wildcard(tuple("::", 99)), tuple("0.0.0.0", 99)));
}

}  // namespace
}  // namespace mstack::daemon
