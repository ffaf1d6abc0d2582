// SPDX-License-Identifier: BSD-2-Clause
//
// Closes descriptors that came from clients.
//
// close() can wait for whoever is behind a descriptor, and for as long as they like: a file on a FUSE mount asks the
// user's own file server, a connected TCP socket with SO_LINGER waits for its peer. A client that sends such a one
// would stop a daemon that closes it itself. So only UDP sockets, which never wait, are closed here; everything else
// goes to a thread of its user's, which can hold up no one else. It is the only other thread there is.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "fd.hpp"

namespace mstack::daemon {

class Closer {
 public:
  // As many may wait before their sender is refused: the descriptors stay open all the while.
  static constexpr std::size_t max_waiting = 1024;

  Closer() = default;
  Closer(const Closer&) = delete;
  ~Closer();

  void close(std::uint32_t uid, std::vector<Fd> descriptors);
  // Whether too many of this user's descriptors wait.
  [[nodiscard]] bool is_stuck(std::uint32_t uid) const;

 private:
  struct Queue;
  static void run(const std::shared_ptr<Queue>& queue);
  void forget_idle();
  std::unordered_map<std::uint32_t, std::shared_ptr<Queue>> queues_;  // by uid
};

}  // namespace mstack::daemon
