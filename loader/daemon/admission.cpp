// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/admission.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "net/addresses.hpp"

namespace mstack::daemon {
namespace {

// States as sock_diag tells them, of TCP and UDP alike.
enum State : std::uint8_t { established = 1, closed = 7, listening = 10, bound_inactive = 13 };

bool is_only_bound(const net::Holder& holder) {
  return holder.state == closed || holder.state == bound_inactive;
}

std::unexpected<Error> refuse_listening() {
  return failure(EINVAL,
                 "the socket listens: a claim takes its packets from the kernel, so claim one that is only "
                 "bound");
}

// Sockets that would let go of their port while a claim stands on it, for the kernel to give it to another.
std::unexpected<Error> refuse_unfit(std::uint32_t unfit) {
  if (unfit & MSTACK_SOCKET_PICKED_PORT)
    return failure(EOPNOTSUPP,
                   "the socket was bound to port 0, and can lose the port that the kernel picked: bind a new "
                   "one to a port by its number");
  if (unfit & MSTACK_SOCKET_CONNECTED)
    return failure(EISCONN, "the socket is or was connected: bind a new one and claim that");
  if (unfit & MSTACK_SOCKET_SHARES)
    return failure(EOPNOTSUPP,
                   "the socket has SO_REUSEADDR or SO_REUSEPORT, with which the kernel may give its port to another "
                   "socket: bind one without");
  if (unfit & MSTACK_SOCKET_KERNEL)
    return failure(EOPNOTSUPP,
                   "the socket was made by the kernel below one of another kind (SMC), and its close goes unseen: bind "
                   "a socket of TCP itself");
  return failure(EOPNOTSUPP,
                 "the socket is bound to a device (SO_BINDTODEVICE), and a claim is of all: bind a new one");
}

std::unexpected<Error> refuse_connected() {
  return failure(EISCONN, "the socket is connected: claim one that is only bound");
}

struct Kind {
  int type, protocol;
  bool operator==(const Kind&) const = default;
};
constexpr std::array owners = {Kind{SOCK_STREAM, IPPROTO_TCP}, Kind{SOCK_DGRAM, IPPROTO_UDP},
                               Kind{SOCK_DGRAM, IPPROTO_UDPLITE}, Kind{SOCK_DCCP, IPPROTO_DCCP}};

Expected<void> check_kind(const SocketFacts& facts) {
  if (facts.domain != AF_INET && facts.domain != AF_INET6)
    return failure(EAFNOSUPPORT, "only sockets of IPv4 or IPv6 can own a claim: pass one of those");
  if (facts.protocol == IPPROTO_SCTP)
    return failure(
        ESOCKTNOSUPPORT,
        "SCTP sockets cannot own a claim: the kernel runs no hook at their bind(), so nobody knows who holds "
        "the port; SCTP stays with the kernel");
  if (std::ranges::find(owners, Kind{facts.type, facts.protocol}) == owners.end())
    return failure(ESOCKTNOSUPPORT, "only TCP, UDP, UDP-Lite and DCCP sockets can own a claim: pass one of those");
  return {};
}

// What holds its port of one address whatever its holder does. connect() of these runs no hook, and of a wildcard would
// leave one address, with the others' ports there for anybody to be given.
bool holds_wildcards(int protocol) {
  return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;
}

bool has_groups(int protocol) {
  return protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE;
}

}  // namespace

mstack_address address_of(const mstack_tuple& tuple) {
  mstack_address address;
  std::memcpy(address.addr, tuple.addr, sizeof(address.addr));
  return address;
}

bool is_any_ipv6(const mstack_address& address) {
  return std::ranges::all_of(address.addr, [](__be32 part) { return part == 0; });
}

bool is_wildcard(const mstack_address& address) {
  const bool any_ipv4 =
      address.addr[0] == 0 && address.addr[1] == 0 && address.addr[2] == htonl(0xffff) && address.addr[3] == 0;
  return any_ipv4 || is_any_ipv6(address);
}

bool is_same(const mstack_tuple& a, const mstack_tuple& b) {
  return std::memcmp(&a, &b, sizeof(a)) == 0;
}

bool is_group(const mstack_address& address) {
  const bool ipv4 = address.addr[0] == 0 && address.addr[1] == 0 && address.addr[2] == htonl(0xffff);
  if (!ipv4) return (address.addr[0] & htonl(0xff000000)) == htonl(0xff000000);
  return (address.addr[3] & htonl(0xf0000000)) == htonl(0xe0000000) || address.addr[3] == htonl(INADDR_BROADCAST);
}

mstack_tuple ipv4_wildcard(const mstack_tuple& tuple) {
  mstack_tuple wildcard = tuple;
  wildcard.addr[0] = wildcard.addr[1] = wildcard.addr[3] = 0;
  wildcard.addr[2] = htonl(0xffff);
  return wildcard;
}

Expected<Tuples> first_look(const SocketFacts& facts, std::uint64_t netns_cookie, const LookUp& look_up) {
  if (auto kind = check_kind(facts); !kind) return std::unexpected(kind.error());
  if (facts.listening) return refuse_listening();
  // Ports of another namespace are other ports.
  if (facts.netns_cookie != netns_cookie)
    return failure(EXDEV, "the socket is of another network namespace than mstackd's uplinks");
  if (facts.record && facts.record->unfit) return refuse_unfit(facts.record->unfit);
  // No record: never bound, or bound where the hooks are not, so that its release would not be seen either. A record of
  // cookie 0 is of a bind that was refused.
  if (!facts.record || facts.record->cookie == 0)
    return failure(ENOKEY,
                   "the socket is not bound, or was bound before mstackd ran or outside its cgroup: bind it "
                   "again now that mstackd runs");
  const mstack_socket& record = *facts.record;
  // sock_bind wrote all of these itself; a clone of the socket, such as accept() makes, would not match.
  if (record.cookie != facts.cookie || record.netns_cookie != netns_cookie || record.tuple.port == 0 ||
      record.tuple.protocol != facts.protocol)
    return failure(ENOKEY, "the kernel's record of the socket is another's: bind a new one");

  const mstack_address address = address_of(record.tuple);
  if (is_wildcard(address)) {
    if (!holds_wildcards(facts.protocol))
      return failure(EOPNOTSUPP,
                     "a UDP-Lite or DCCP socket that is bound to no address holds its port less firmly than a claim "
                     "must: bind it to an address of this host");
  } else if (!is_group(address) || !has_groups(facts.protocol)) {
    if (!net::is_claimable_address(address))
      return failure(EADDRNOTAVAIL, "loopback and link-local addresses cannot be claimed: bind to another");
    // IP_FREEBIND and IP_TRANSPARENT let a socket bind to addresses that this host does not have.
    const Whose whose = look_up(address);
    if (whose == Whose::nobodys || (whose == Whose::subnets && !has_groups(facts.protocol)))
      return failure(EADDRNOTAVAIL, "the address is none of this host's: bind to one that an interface has");
  }
  // A group's or a subnet's packets go to all who are in it, but its port is bound like any other, and an owner never
  // asked for reuse: nobody else's socket can have the two. So the claim takes nothing from anybody.

  Tuples tuples = {.tuple = {record.tuple}, .count = 1};
  if (is_any_ipv6(address) && !record.v6only) tuples.tuple[tuples.count++] = ipv4_wildcard(record.tuple);
  return tuples;
}

Expected<void> second_look(const SocketFacts& before, const SocketFacts& now) {
  if (now.listening) return refuse_listening();
  if (!now.record || std::memcmp(&*before.record, &*now.record, sizeof(*now.record)) != 0)
    return failure(ECONNABORTED, "the socket was bound anew or has changed while it was claimed: claim it again");
  return {};
}

Expected<void> look_around(const SocketFacts& facts, std::span<const net::Holder> holders, bool bound_tcp_is_seen) {
  const mstack_socket& record = *facts.record;
  const auto own = std::ranges::find(holders, record.cookie, &net::Holder::cookie);
  if (own == holders.end()) {
    // It has a record, and is fit to own: what lets go of a port is marked as unfit, so this is the last line of
    // defence.
    const bool hidden = record.tuple.protocol == IPPROTO_TCP && !bound_tcp_is_seen;
    if (!hidden) return failure(ESTALE, "the socket no longer holds its port: bind a new one");
  } else {
    if (own->state == listening) return refuse_listening();
    if (!is_only_bound(*own)) return refuse_connected();
    if (!is_same(own->tuple, record.tuple))
      return failure(ESTALE, "the socket is no longer bound to the address it was: bind a new one");
  }

  const bool shared = std::ranges::any_of(holders, [&](const net::Holder& holder) {
    return holder.cookie != record.cookie && net::overlaps(record.tuple, record.v6only != 0, holder);
  });
  if (shared)
    return failure(EADDRINUSE, "another socket holds this port of one of the addresses: a claim must have it alone");
  return {};
}

}  // namespace mstack::daemon
