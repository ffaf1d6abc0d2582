// SPDX-License-Identifier: BSD-2-Clause
#include "unix_socket.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

#include "protocol.hpp"

namespace mstack::unix_socket {
namespace {

constexpr int socket_type = SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK;
// The kernel's own limit, SCM_MAX_FD: with room for all, none is cut off and closed where nobody can say how.
constexpr std::size_t most_descriptors = 253;
static_assert(protocol::max_descriptors <= most_descriptors);
constexpr std::size_t control_size = CMSG_SPACE(sizeof(int) * most_descriptors);

Expected<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  // The last byte stays 0. An empty path would be an abstract or unnamed socket: never meant.
  if (path.empty() || path.size() >= sizeof(address.sun_path) || path.find('\0') != std::string::npos)
    return failure(ENAMETOOLONG, "\"" + path + "\" cannot be a socket's path: it must have 1 to " +
                                     std::to_string(sizeof(address.sun_path) - 1) +
                                     " bytes; use a run directory with a shorter name");
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// Takes ownership of every descriptor in the message, wanted or not: those that nobody owns stay open for ever.
std::vector<Fd> take_descriptors(msghdr& message) {
  std::vector<Fd> taken;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
      taken.emplace_back(fd);
    }
  }
  return taken;
}

}  // namespace

Expected<Fd> listen(const std::string& path, int backlog) {
  const auto address = address_of(path);
  if (!address) return std::unexpected(address.error());
  Fd fd(::socket(AF_UNIX, socket_type, 0));
  if (!fd) return system_failure(errno, "cannot make a unix socket");
  if (::unlink(path.c_str()) < 0 && errno != ENOENT) return system_failure(errno, "cannot remove the old " + path);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) < 0)
    return system_failure(errno, "cannot make " + path);
  if (::listen(fd.get(), backlog) < 0) return system_failure(errno, "cannot listen on " + path);
  return fd;
}

Expected<Fd> accept(int listener) {
  Fd fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd) return system_failure(errno, "cannot accept a connection");
  return fd;
}

Expected<Fd> connect(const std::string& path, std::chrono::milliseconds patience) {
  const auto address = address_of(path);
  if (!address) return std::unexpected(address.error());
  // Blocking until it is connected: a listener whose queue is full makes us wait, and poll() would not tell when it has
  // room.
  Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd) return system_failure(errno, "cannot make a unix socket");
  const auto wait = std::max(patience, std::chrono::milliseconds(1));  // 0 would be for ever
  const timeval timeout = {.tv_sec = wait.count() / 1000, .tv_usec = wait.count() % 1000 * 1000};
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0)
    return system_failure(errno, "cannot bound the wait for " + path);
  int connected;
  do connected = ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(*address));
  while (connected < 0 && errno == EINTR);
  if (connected < 0) return system_failure(errno, "cannot connect to " + path);
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) < 0)
    return system_failure(errno, "cannot make a unix socket non-blocking");
  return fd;
}

Expected<std::pair<Fd, Fd>> pair() {
  int fds[2];
  if (::socketpair(AF_UNIX, socket_type, 0, fds) < 0) return system_failure(errno, "cannot make a socket pair");
  return std::pair(Fd(fds[0]), Fd(fds[1]));
}

Expected<void> send(int fd, std::span<const std::byte> message, std::span<const int> descriptors) {
  if (descriptors.size() > protocol::max_descriptors)
    return failure(EINVAL, "a message carries at most " + std::to_string(protocol::max_descriptors) + " descriptors");
  iovec part = {.iov_base = const_cast<std::byte*>(message.data()), .iov_len = message.size()};
  alignas(cmsghdr) std::array<std::byte, control_size> control = {};
  msghdr header = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (!descriptors.empty()) {
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
  }
  ssize_t sent;
  do sent = ::sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent < 0) return system_failure(errno, "cannot send a message");
  return {};
}

Expected<Received> receive(int fd, std::span<std::byte> buffer, std::size_t max_descriptors) {
  iovec part = {.iov_base = buffer.data(), .iov_len = buffer.size()};
  alignas(cmsghdr) std::array<std::byte, control_size> control = {};
  msghdr header = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  ssize_t size;
  do size = ::recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  while (size < 0 && errno == EINTR);
  if (size < 0) return system_failure(errno, "cannot receive a message");

  Received received;
  received.descriptors = take_descriptors(header);
  received.size = static_cast<std::size_t>(size);
  received.end = size == 0;
  received.truncated = (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || received.descriptors.size() > max_descriptors;
  return received;
}

Expected<void> wait(int fd, short events, Deadline deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    pollfd poll = {.fd = fd, .events = events, .revents = 0};
    const int ready = ::poll(&poll, 1, static_cast<int>(std::clamp<decltype(left)>(left, 0, INT_MAX)));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return system_failure(errno, "cannot wait for a socket");
    if (left <= 0) return failure(ETIMEDOUT, error_text(ETIMEDOUT));
  }
}

}  // namespace mstack::unix_socket
