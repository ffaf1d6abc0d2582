// SPDX-License-Identifier: BSD-2-Clause
//
// SOCK_SEQPACKET unix sockets that carry descriptors. All sockets made here are close-on-exec and non-blocking; send(),
// receive() and accept() never block; connect() and wait() do, no longer than they are told.
#pragma once

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "fd.hpp"
#include "mstack/error.hpp"

namespace mstack::unix_socket {

using Deadline = std::chrono::steady_clock::time_point;

struct Received {
  std::size_t size = 0;  // bytes put into the buffer
  bool end = false;      // the peer closed, or sent an empty message, which looks the same and means nothing here
  // The message was longer than the buffer, or came with more descriptors than were allowed or could be opened:
  // whatever it said, it must not be acted on.
  bool truncated = false;
  // All that came, also of a message that is not to be acted on: closing them may take as long as who sent them likes,
  // so the caller decides how.
  std::vector<Fd> descriptors;
};

// Removes a socket that is there already: the caller holds the lock which says that nobody listens on it.
Expected<Fd> listen(const std::string& path, int backlog);
Expected<Fd> accept(int listener);
// Waits while the listener has no room for another connection. EAGAIN: it had none for that long.
Expected<Fd> connect(const std::string& path, std::chrono::milliseconds patience = std::chrono::seconds(1));
Expected<std::pair<Fd, Fd>> pair();

// One message, whole or not at all. EAGAIN: the peer does not read.
Expected<void> send(int fd, std::span<const std::byte> message, std::span<const int> descriptors = {});

// One message. EAGAIN: there is none. At most `max_descriptors` (250 or fewer) are allowed.
Expected<Received> receive(int fd, std::span<std::byte> buffer, std::size_t max_descriptors);

// Until the socket has one of the poll() events, an error, or its end. ETIMEDOUT at the deadline.
Expected<void> wait(int fd, short events, Deadline deadline);

}  // namespace mstack::unix_socket
