// SPDX-License-Identifier: BSD-2-Clause
//
// The kernel's own sockets, in whatever namespace the calling thread is in.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <expected>
#include <optional>
#include <string>

#include "support/deadline.hpp"
#include "support/fd.hpp"
#include "support/frame.hpp"

namespace mstack::test {

struct BindOptions {
  bool reuse_address = false;
  bool reuse_port = false;
  bool freebind = false;
  std::optional<bool> v6only = {};  // else the system's default
};

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  explicit SocketAddress(const Endpoint& endpoint);
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

// socket() and the options, not bound.
Fd make_socket(int protocol, bool ipv6, const BindOptions& options = {});
// The errno of bind(), 0 if it went well.
int bind_error(int fd, const Endpoint& endpoint);
// socket() and bind(); the errno of bind() if it was refused. Port 0 is a free port, bound to by its number.
std::expected<Fd, int> try_bind(int protocol, const Endpoint& endpoint, const BindOptions& options = {});
// The same for what a test cannot go on without.
Fd bound(int protocol, const Endpoint& endpoint, const BindOptions& options = {});

Endpoint local_endpoint(int fd);
std::uint64_t socket_cookie(int fd);

void send_to(int fd, const Endpoint& to, const std::string& payload);
struct Datagram {
  std::string payload;
  Endpoint from;
};
std::optional<Datagram> receive_from(int fd, const Deadline& deadline = Deadline{});
// What is already there, without waiting.
inline std::optional<Datagram> pending(int fd) {
  return receive_from(fd, Deadline{0ms});
}

}  // namespace mstack::test
