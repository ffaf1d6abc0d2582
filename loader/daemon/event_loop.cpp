// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/event_loop.hpp"

#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <span>

namespace mstack::daemon {

Expected<EventLoop> EventLoop::create() {
  Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return system_failure(errno, "cannot make an epoll descriptor");
  return EventLoop(std::move(epoll));
}

Expected<EventLoop::Token> EventLoop::add(int fd, std::uint32_t events, Handler handler) {
  const Token token = next_++;
  epoll_event event = {.events = events, .data = {.u64 = token}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) < 0) return system_failure(errno, "cannot wait for events");
  handlers_.emplace(token, std::make_shared<Handler>(std::move(handler)));
  return token;
}

Expected<void> EventLoop::change(int fd, Token token, std::uint32_t events) {
  epoll_event event = {.events = events, .data = {.u64 = token}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) < 0) return system_failure(errno, "cannot wait for events");
  return {};
}

void EventLoop::remove(int fd, Token token) {
  (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  handlers_.erase(token);
}

Expected<void> EventLoop::run() {
  std::array<epoll_event, 256> events;
  while (!stopped_) {
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
    if (count < 0) {
      if (errno == EINTR) continue;
      return system_failure(errno, "cannot wait for events");
    }
    for (const epoll_event& event : std::span(events).first(static_cast<std::size_t>(count))) {
      const auto found = handlers_.find(event.data.u64);
      if (found == handlers_.end()) continue;
      const std::shared_ptr<Handler> handler = found->second;  // it may remove itself while it runs
      (*handler)(event.events);
    }
  }
  return {};
}

}  // namespace mstack::daemon
