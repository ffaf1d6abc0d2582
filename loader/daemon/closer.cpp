// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/closer.hpp"

#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>

#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "daemon/log.hpp"

namespace mstack::daemon {
namespace {

int option(int socket, int name) {
  int value = -1;
  socklen_t size = sizeof(value);
  return ::getsockopt(socket, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

// What it is cannot change, unlike whether it is connected.
bool closes_at_once(const Fd& fd) {
  const int domain = option(fd.get(), SO_DOMAIN);
  return (domain == AF_INET || domain == AF_INET6) && option(fd.get(), SO_PROTOCOL) == IPPROTO_UDP;
}

}  // namespace

struct Closer::Queue {
  std::mutex mutex;
  std::deque<Fd> waiting;
  std::size_t unclosed = 0;  // those that wait, and the one that is being closed
  bool running = false;
};

void Closer::run(const std::shared_ptr<Queue>& queue) {
  std::unique_lock lock(queue->mutex);
  while (!queue->waiting.empty()) {
    Fd fd = std::move(queue->waiting.front());
    queue->waiting.pop_front();
    lock.unlock();
    fd.reset();
    lock.lock();
    --queue->unclosed;
  }
  queue->running = false;
}

void Closer::close(std::uint32_t uid, std::vector<Fd> descriptors) {
  std::erase_if(descriptors, closes_at_once);
  if (descriptors.empty()) return;
  forget_idle();
  std::shared_ptr<Queue>& queue = queues_[uid];
  if (!queue) queue = std::make_shared<Queue>();
  {
    const std::lock_guard lock(queue->mutex);
    queue->unclosed += descriptors.size();
    for (Fd& fd : descriptors) queue->waiting.push_back(std::move(fd));
    if (std::exchange(queue->running, true)) return;
  }
  // Detached: who is stuck in close() can be neither joined nor stopped. It owns its queue, and the process ends
  // without it. Signals are the main thread's.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    std::thread(run, queue).detach();
  } catch (const std::system_error& error) {
    // No thread is to be had: they wait for the next that is.
    log::warn("cannot start a thread: {}", error.what());
    const std::lock_guard lock(queue->mutex);
    queue->running = false;
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

bool Closer::is_stuck(std::uint32_t uid) const {
  const auto found = queues_.find(uid);
  if (found == queues_.end()) return false;
  const std::lock_guard lock(found->second->mutex);
  return found->second->unclosed > max_waiting;
}

// Users come and go.
void Closer::forget_idle() {
  if (queues_.size() < 64) return;
  std::erase_if(queues_, [](const auto& item) {
    const std::lock_guard lock(item.second->mutex);
    return item.second->unclosed == 0 && !item.second->running;
  });
}

Closer::~Closer() = default;

}  // namespace mstack::daemon
