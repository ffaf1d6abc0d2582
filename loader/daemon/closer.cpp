// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/closer.hpp"

#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "daemon/log.hpp"

namespace mstack::daemon {
namespace {

constexpr int interrupt = SIGUSR1;

void ignore(int) {}

sigset_t all_signals() {
  sigset_t signals;
  ::sigfillset(&signals);
  return signals;
}

// Interrupts whatever the calling thread waits for, every millisecond. A signal ends the lingering of a socket: its
// data is then sent in the background, as without SO_LINGER.
class Interrupter {
 public:
  Interrupter() {
    sigset_t signals = all_signals();
    ::sigdelset(&signals, interrupt);
    ::pthread_sigmask(SIG_SETMASK, &signals, nullptr);
    sigevent event = {};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = interrupt;
    event._sigev_un._tid = ::gettid();
    exists_ = ::timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0;
  }
  Interrupter(const Interrupter&) = delete;
  void start() { set({.tv_sec = 0, .tv_nsec = 1'000'000}); }
  void stop() { set({.tv_sec = 0, .tv_nsec = 0}); }
  ~Interrupter() {
    if (exists_) (void)::timer_delete(timer_);
  }

 private:
  void set(const timespec& interval) {
    const itimerspec times = {.it_interval = interval, .it_value = interval};
    if (exists_) (void)::timer_settime(timer_, 0, &times, nullptr);
  }
  timer_t timer_ = {};
  bool exists_ = false;
};

}  // namespace

// Descriptors that are closed one after the other, by a thread that is there while there are any, and a second longer.
class Closer::Lane : public std::enable_shared_from_this<Lane> {
 public:
  void add(std::vector<Fd> descriptors) {
    {
      const std::lock_guard lock(mutex_);
      unclosed_ += descriptors.size();
      for (Fd& fd : descriptors) waiting_.push_back(std::move(fd));
      if (std::exchange(running_, true)) {
        more_.notify_one();
        return;
      }
    }
    // Detached: who hangs in close() can be neither joined nor stopped. It has a share in this lane, and the process
    // ends without it. Signals are the main thread's.
    const sigset_t all = all_signals();
    sigset_t before;
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      std::thread([lane = shared_from_this()] { lane->run(); }).detach();
    } catch (const std::system_error& error) {
      // They wait for the next that are added.
      log::warn("cannot start a thread: {}", error.what());
      const std::lock_guard lock(mutex_);
      running_ = false;
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  void wait_until_closed(std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    all_closed_.wait_for(lock, patience, [this] { return unclosed_ == 0; });
  }

  // Those that wait, and the one that is being closed.
  std::size_t unclosed() const {
    const std::lock_guard lock(mutex_);
    return unclosed_;
  }
  bool is_idle() const {
    const std::lock_guard lock(mutex_);
    return unclosed_ == 0 && !running_;
  }

 private:
  void run() {
    Interrupter interrupter;
    std::unique_lock lock(mutex_);
    do {
      interrupter.start();
      while (!waiting_.empty()) {
        Fd fd = std::move(waiting_.front());
        waiting_.pop_front();
        lock.unlock();
        fd.reset();
        lock.lock();
        if (--unclosed_ == 0) all_closed_.notify_one();
      }
      interrupter.stop();
    } while (more_.wait_for(lock, std::chrono::seconds(1), [this] { return !waiting_.empty(); }));
    running_ = false;
  }

  mutable std::mutex mutex_;
  std::condition_variable more_, all_closed_;
  std::deque<Fd> waiting_;
  std::size_t unclosed_ = 0;
  bool running_ = false;
};

Closer::Closer() {
  struct sigaction action = {};
  action.sa_handler = ignore;  // and no SA_RESTART
  (void)::sigaction(interrupt, &action, nullptr);
}

Closer::~Closer() = default;

Closer::User& Closer::user(std::uint32_t uid) {
  // Users come and go.
  if (users_.size() >= 64 && !users_.contains(uid))
    std::erase_if(
        users_, [](const auto& item) { return item.second.received->is_idle() && item.second.connections->is_idle(); });
  User& user = users_[uid];
  if (!user.received) user = {.received = std::make_shared<Lane>(), .connections = std::make_shared<Lane>()};
  return user;
}

void Closer::close(std::uint32_t uid, std::vector<Fd> descriptors) {
  if (descriptors.empty()) return;
  Lane& lane = *user(uid).received;
  lane.add(std::move(descriptors));
  lane.wait_until_closed(std::chrono::milliseconds(20));
}

void Closer::close_connection(std::uint32_t uid, Fd socket) {
  (void)::shutdown(socket.get(), SHUT_RDWR);
  std::vector<Fd> one;
  one.push_back(std::move(socket));
  user(uid).connections->add(std::move(one));
}

bool Closer::is_stuck(std::uint32_t uid) const {
  const auto found = users_.find(uid);
  return found != users_.end() && found->second.received->unclosed() > max_of_user;
}

bool Closer::is_full() const {
  std::size_t unclosed = 0;
  for (const auto& [uid, user] : users_) unclosed += user.received->unclosed() + user.connections->unclosed();
  return unclosed > max_in_all;
}

}  // namespace mstack::daemon
