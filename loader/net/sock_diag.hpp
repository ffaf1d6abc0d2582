// SPDX-License-Identifier: BSD-2-Clause
//
// Who holds a port: the sockets of the kernel, by sock_diag. bind() lets sockets share a tuple (SO_REUSEADDR,
// SO_REUSEPORT, SO_BINDTODEVICE, a TCP listener and its connections); a claim must have it alone.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "mstack/error.hpp"
#include "mstack_abi.h"

namespace mstack::net {

// A kernel socket that is bound to a port.
struct Holder {
  std::uint64_t cookie = 0;  // SO_COOKIE
  mstack_tuple tuple = {};   // local; IPv4 as ::ffff:a.b.c.d
  std::uint8_t family = 0;   // of the socket: AF_INET or AF_INET6
  std::uint8_t state = 0;    // as the kernel numbers TCP's; a UDP socket is 7 (CLOSE), connected 1 (ESTABLISHED)
  bool v6only = false;       // of a socket at ::, whether IPv4 is not its concern
  bool operator==(const Holder& other) const;
};

// Every socket of the calling thread's network namespace that holds one of the ports (host order) of the protocol,
// IPPROTO_TCP or IPPROTO_UDP, in either family and whatever state but TIME_WAIT; in order of their ports. A kernel that
// cannot tell (no tcp_diag or udp_diag module) is an error, never an empty answer.
//
// A socket that goes from bound to listening while this looks, or back, is seen all the same. For an instant in between
// it is in none of the kernel's tables: one whose thread is preempted right there is missed (a thread that does nothing
// but go to and fro, in about one look in 200). It was bound before its tuple was claimed, with SO_REUSEADDR on both
// sides, and receives nothing of the claim.
//
// A TCP socket that is bound but neither listens nor is connected is seen on 6.8 and later: sees_bound_tcp().
Expected<std::vector<Holder>> holders(std::uint8_t protocol, std::span<const std::uint16_t> ports);

// Whether this kernel shows TCP sockets that are only bound. Found out by binding one to an ephemeral port.
Expected<bool> sees_bound_tcp();

// Whether the holder could receive, or send, a packet of the tuple. `v6only` is of the tuple's owner, and counts when
// the tuple's address is ::. Pure.
bool overlaps(const mstack_tuple& tuple, bool v6only, const Holder& holder);

}  // namespace mstack::net
