// SPDX-License-Identifier: BSD-2-Clause
//
// One thread that waits for many descriptors.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>

#include "fd.hpp"
#include "mstack/error.hpp"

namespace mstack::daemon {

class EventLoop {
 public:
  using Handler = std::function<void(std::uint32_t events)>;
  using Token = std::uint64_t;  // never used twice, unlike a descriptor

  static Expected<EventLoop> create();

  // Level-triggered: a handler that leaves something unread is called again in the next round.
  Expected<Token> add(int fd, std::uint32_t events, Handler handler);
  Expected<void> change(int fd, Token token, std::uint32_t events);
  // Before the descriptor is closed. A handler may remove itself or any other; events that were already fetched for it
  // are then dropped.
  void remove(int fd, Token token);

  // Until stop(). Each round calls the handler of every descriptor that is ready once.
  Expected<void> run();
  void stop() { stopped_ = true; }

 private:
  explicit EventLoop(Fd epoll) : epoll_(std::move(epoll)) {}
  Fd epoll_;
  Token next_ = 1;
  bool stopped_ = false;
  std::unordered_map<Token, std::shared_ptr<Handler>> handlers_;
};

}  // namespace mstack::daemon
