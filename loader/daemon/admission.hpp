// SPDX-License-Identifier: BSD-2-Clause
//
// Whether a socket may own a claim: what a claim admits, decided from facts that others gathered. No system calls.
//
// What the kernel says of the socket is believed, what the client says is not asked. A first look, before the claim is
// inserted as PENDING, says what the claim is; a second, after it, that the socket is what it was. The order matters:
// sock_bind writes a new record before it deletes the claims of the old one, so an owner that is bound anew meanwhile
// either shows a new record or deletes the entry.
//
// That an owner has its tuple alone is bind()'s rule: it gave it to a socket that never asked for reuse, and gives it
// to no other (see sock_life.bpf.c). Of wildcards the rule has had holes: past ten UDP sockets on a port, kernels do
// not look at those of single addresses. So for them there is a look around, after the claim is inserted: sock_bind
// refuses a conflicting bind from then on, so a socket that shares the tuple was bound before, and is seen.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "mstack/error.hpp"
#include "mstack_abi.h"
#include "net/sock_diag.hpp"

namespace mstack::daemon {

// What getsockopt() and the sockets map say of a descriptor. None of it waits for the socket's lock, which its holder
// can keep for as long as it likes: a send with MSG_MORE from memory that never arrives does it.
struct SocketFacts {
  int domain = 0, type = 0, protocol = 0;
  bool listening = false;
  std::uint64_t cookie = 0;
  std::uint64_t netns_cookie = 0;
  std::optional<mstack_socket> record;  // nothing: sock_bind has never seen it
};

// The claims of one socket: its tuple and, of a dual-stack ::, the IPv4 wildcard too.
struct Tuples {
  std::array<mstack_tuple, 2> tuple = {};
  std::size_t count = 0;
  [[nodiscard]] std::span<const mstack_tuple> all() const { return std::span(tuple).first(count); }
};

enum class Whose { nobodys, hosts, subnets };  // of this host; the broadcast address of a subnet that it is in
using LookUp = std::function<Whose(const mstack_address&)>;

// EAFNOSUPPORT, ESOCKTNOSUPPORT, EINVAL (listening), ENOKEY (no record), EXDEV (another namespace), EADDRNOTAVAIL.
Expected<Tuples> first_look(const SocketFacts& facts, std::uint64_t netns_cookie, const LookUp& look_up);

// `before` passed the first look. EINVAL (listening), ECONNABORTED (bound anew, or unfit since).
Expected<void> second_look(const SocketFacts& before, const SocketFacts& now);

// `holders` are all sockets that have the tuple's port, of its protocol and of either family; `bound_tcp_is_seen` is
// whether TCP sockets that are only bound are among them. EISCONN, EINVAL (listening), ESTALE (it lost the port that it
// was bound to), EADDRINUSE (another holder).
Expected<void> look_around(const SocketFacts& facts, std::span<const net::Holder> holders, bool bound_tcp_is_seen);

mstack_address address_of(const mstack_tuple& tuple);
bool is_wildcard(const mstack_address& address);  // 0.0.0.0 or ::
bool is_group(const mstack_address& address);     // multicast or 255.255.255.255
bool is_any_ipv6(const mstack_address& address);  // ::
bool is_same(const mstack_tuple& a, const mstack_tuple& b);
mstack_tuple ipv4_wildcard(const mstack_tuple& tuple);  // 0.0.0.0 of the same port and protocol

}  // namespace mstack::daemon
