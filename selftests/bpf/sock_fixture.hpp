// SPDX-License-Identifier: BSD-2-Clause
// The programs that watch sockets, attached to a cgroup with one process in it.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <initializer_list>
#include <optional>
#include <string_view>

#include "cgroup.hpp"
#include "netns.hpp"
#include "programs.hpp"

namespace bpf_test {

// What writes and reads records, alone: without the hooks that keep unfit sockets from having one, a socket can lose
// its port and bind another.
class SockRecords : public testing::Test {
 protected:
  SockRecords() {
    Netns::ip(
        "addr add 192.0.2.1/32 dev lo\naddr add 192.0.2.2/32 dev lo\n"
        "addr add 2001:db8::1/128 dev lo nodad\naddr add 2001:db8::2/128 dev lo nodad");
    for (const char* address : {"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"}) programs.local(address);
    attach({"sock_bind4", "sock_bind6", "sock_release"});
  }

  void attach(std::initializer_list<const char*> names) {
    for (const char* name : names) programs.attach_to_cgroup(name, cgroup.fd());
  }

  // A socket of the address's family, bound; the negative errno where bind() refused, and then it is closed.
  int bound(std::uint8_t protocol, std::string_view address, std::uint16_t port, bool v6only = false) {
    const int socket = opened(protocol, address, v6only);
    const int result = agent.bind(socket, address, port);
    if (result == 0) return socket;
    agent.close(socket);
    return result;
  }

  int opened(std::uint8_t protocol, std::string_view address, bool v6only = false) {
    const bool six = address.contains(':');
    const int socket = agent.open(six ? AF_INET6 : AF_INET, protocol == proto_udp ? SOCK_DGRAM : SOCK_STREAM);
    if (six) agent.set(socket, IPPROTO_IPV6, IPV6_V6ONLY, v6only ? 1 : 0);
    return socket;
  }

  // A record of cookie 0 is none: of a socket that is unfit, or was refused when it bound anew.
  std::optional<mstack_socket> record(int socket) {
    auto found = programs.record(agent.borrow(socket).get());
    if (found && found->cookie == 0) found.reset();
    return found;
  }

  // As mstackd would, for the agent's socket.
  void claim_for(int socket, const mstack_tuple& tuple) { programs.claim(tuple, {.cookie = agent.cookie(socket)}); }

  Netns netns;
  Cgroup cgroup;
  Programs programs{netns.cookie(),
                    {"sock_bind4", "sock_bind6", "sock_release", "sock_port4", "sock_port6", "sock_connect4",
                     "sock_connect6", "sock_option"}};
  Agent agent{cgroup};
};

// As mstackd attaches them.
class SockLife : public SockRecords {
 protected:
  SockLife() { attach({"sock_port4", "sock_port6", "sock_connect4", "sock_connect6", "sock_option"}); }

  // Why the socket can have no record, ever: enum mstack_socket_unfit.
  std::uint32_t unfit(int socket) {
    const auto found = programs.record(agent.borrow(socket).get());
    return found ? found->unfit : 0;
  }
};

}  // namespace bpf_test
