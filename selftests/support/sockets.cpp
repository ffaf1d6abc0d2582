// SPDX-License-Identifier: BSD-2-Clause
#include "support/sockets.hpp"

#include <arpa/inet.h>

#include <array>
#include <cstring>
#include <sstream>

namespace mstack::test {

namespace {

Endpoint to_endpoint(const sockaddr_storage& storage) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (storage.ss_family == AF_INET) {
    sockaddr_in address{};
    std::memcpy(&address, &storage, sizeof(address));
    ::inet_ntop(AF_INET, &address.sin_addr, text.data(), text.size());
    return {.address = text.data(), .port = ntohs(address.sin_port)};
  }
  sockaddr_in6 address{};
  std::memcpy(&address, &storage, sizeof(address));
  ::inet_ntop(AF_INET6, &address.sin6_addr, text.data(), text.size());
  return {.address = text.data(), .port = ntohs(address.sin6_port)};
}

void enable(int fd, int level, int name, int value, const char* what) {
  check(::setsockopt(fd, level, name, &value, sizeof(value)), what);
}

}  // namespace

SocketAddress::SocketAddress(const Endpoint& endpoint) {
  const Bytes bytes = address_bytes(endpoint.address);
  if (endpoint.ipv6()) {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(endpoint.port);
    std::memcpy(&address.sin6_addr, bytes.data(), bytes.size());
    std::memcpy(&storage, &address, size = sizeof(address));
  } else {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(endpoint.port);
    std::memcpy(&address.sin_addr, bytes.data(), bytes.size());
    std::memcpy(&storage, &address, size = sizeof(address));
  }
}

Fd make_socket(int protocol, bool ipv6, const BindOptions& options) {
  const int type = protocol == IPPROTO_TCP ? SOCK_STREAM : protocol == IPPROTO_DCCP ? SOCK_DCCP : SOCK_DGRAM;
  Fd fd{check(::socket(ipv6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, protocol), "socket")};
  if (options.reuse_address) enable(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
  if (options.reuse_port) enable(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT");
  if (options.freebind) enable(fd.get(), IPPROTO_IP, IP_FREEBIND, 1, "IP_FREEBIND");
  if (options.v6only && ipv6) enable(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, *options.v6only ? 1 : 0, "IPV6_V6ONLY");
  return fd;
}

int bind_error(int fd, const Endpoint& endpoint) {
  const SocketAddress address{endpoint};
  return ::bind(fd, address.get(), address.size) == 0 ? 0 : errno;
}

std::expected<Fd, int> try_bind(int protocol, const Endpoint& endpoint, const BindOptions& options) {
  for (int tries = 0;; ++tries) {
    Fd fd = make_socket(protocol, endpoint.ipv6(), options);
    if (const int error = bind_error(fd.get(), endpoint); error != 0) return std::unexpected(error);
    if (endpoint.port != 0) return fd;
    // Bound to port 0 it could own no claim: the port that the kernel picked is asked for by its number.
    const Endpoint picked{endpoint.address, local_endpoint(fd.get()).port};
    fd = make_socket(protocol, endpoint.ipv6(), options);
    const int error = bind_error(fd.get(), picked);
    if (error == 0) return fd;
    if (error != EADDRINUSE || tries == 100) return std::unexpected(error);
  }
}

Fd bound(int protocol, const Endpoint& endpoint, const BindOptions& options) {
  auto fd = try_bind(protocol, endpoint, options);
  if (fd) return std::move(*fd);
  std::ostringstream what;
  what << "bind to " << endpoint;
  throw std::system_error(fd.error(), std::generic_category(), what.str());
}

Endpoint local_endpoint(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  check(::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size), "getsockname");
  return to_endpoint(storage);
}

std::uint64_t socket_cookie(int fd) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  check(::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size), "SO_COOKIE");
  return cookie;
}

void send_to(int fd, const Endpoint& to, const std::string& payload) {
  const SocketAddress address{to};
  check(::sendto(fd, payload.data(), payload.size(), 0, address.get(), address.size), "sendto");
}

std::optional<Datagram> receive_from(int fd, const Deadline& deadline) {
  std::string payload(65536, '\0');
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  for (;;) {
    if (!wait_for(fd, POLLIN, deadline)) return std::nullopt;
    const ssize_t got =
        ::recvfrom(fd, payload.data(), payload.size(), MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&storage), &size);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;  // a bad checksum wakes, and there is nothing
    check(got, "recvfrom");
    payload.resize(static_cast<std::size_t>(got));
    return Datagram{.payload = std::move(payload), .from = to_endpoint(storage)};
  }
}

}  // namespace mstack::test
