// SPDX-License-Identifier: BSD-2-Clause
//
// Closes descriptors that came from clients.
//
// close() can wait for whoever is behind a descriptor, and for as long as they like: a file on a FUSE mount asks the
// user's own file server, a TCP socket with SO_LINGER waits for its peer, a UDP socket leaves its multicast groups one
// by one. The end of a connection can, too: with it go the descriptors of messages that were never received. A daemon
// that does this itself can be stopped by any client. So all of them go to other threads, the only ones there are, and
// at most two of them at a time are busy with what is one user's: who hangs there holds up nobody else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "fd.hpp"

namespace mstack::daemon {

class Closer {
 public:
  // As many descriptors of one user may wait before that user is refused, and of all users before everybody is: they
  // stay open all the while.
  static constexpr std::size_t max_of_user = 1024, max_in_all = 16384;
  // As many users may hang before descriptors of others wait too.
  static constexpr std::size_t max_threads = 512;

  // `starved` is called when no thread can be started: descriptors then wait for better times, of which retry() asks.
  explicit Closer(std::function<void()> starved);
  Closer(const Closer&) = delete;
  ~Closer();

  // Descriptors that were received. Those of a FUSE mount may stay for ever: is_stuck(). Waits up to 20 ms for all of
  // this user's to be closed: who learns that a claim stands may close and bind anew at once.
  void close(std::uint32_t uid, std::vector<Fd> descriptors);
  // A connection, of which the peer learns at once. What is behind it can only linger, and that is cut short.
  void close_connection(std::uint32_t uid, Fd socket);
  // Whether too many of this user's received descriptors wait.
  [[nodiscard]] bool is_stuck(std::uint32_t uid) const;
  // Whether too many of all wait, so that descriptors might run out.
  [[nodiscard]] bool is_full() const;
  // Whether some wait for a thread.
  [[nodiscard]] bool is_starved() const;
  void retry();

 private:
  struct Lane;
  class Threads;
  struct User {
    std::shared_ptr<Lane> received, connections;
  };
  User& user(std::uint32_t uid);
  void add(const std::shared_ptr<Lane>& lane, std::vector<Fd> descriptors);

  std::function<void()> on_starved_;
  std::shared_ptr<Threads> threads_;
  std::unordered_map<std::uint32_t, User> users_;  // by uid
};

}  // namespace mstack::daemon
