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

// Descriptors that are closed one after the other. All of it is for who holds the lock of Threads.
struct Closer::Lane {
  std::deque<Fd> waiting;
  std::size_t unclosed = 0;  // those that wait, and the one that is being closed
  bool in_turn = false;      // a thread is at it, or will be
};

// Lanes with descriptors, and the threads that take turns at them: each closes one of the first lane, which is then the
// last. There is a thread for each lane, up to the limits, and it is there a second longer.
class Closer::Threads : public std::enable_shared_from_this<Threads> {
 public:
  // False: it may wait long. Then, and whenever it is_starved(), start_some() is to be called again.
  bool add(const std::shared_ptr<Lane>& lane, std::vector<Fd> descriptors) {
    const std::lock_guard lock(mutex_);
    lane->unclosed += descriptors.size();
    unclosed_ += descriptors.size();
    for (Fd& fd : descriptors) lane->waiting.push_back(std::move(fd));
    if (!std::exchange(lane->in_turn, true)) turns_.push_back(lane);
    return start_enough();
  }
  bool start_some() {
    const std::lock_guard lock(mutex_);
    return start_enough();
  }
  bool is_starved() const {
    const std::lock_guard lock(mutex_);
    return turns_.size() > idle_;
  }

  void wait_until_closed(const Lane& lane, std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    lane_closed_.wait_for(lock, patience, [&lane] { return lane.unclosed == 0; });
  }
  std::size_t unclosed(const Lane& lane) const {
    const std::lock_guard lock(mutex_);
    return lane.unclosed;
  }
  std::size_t unclosed() const {
    const std::lock_guard lock(mutex_);
    return unclosed_;
  }

  // At the end of the process, which closes what waits. Whoever did it here might hang.
  void leave() {
    const std::lock_guard lock(mutex_);
    for (const auto& lane : std::exchange(turns_, {}))
      for (Fd& fd : std::exchange(lane->waiting, {})) (void)fd.release();
  }

 private:
  // One that is idle takes the next turn, also if it does not know yet.
  bool start_enough() {
    if (!turns_.empty()) work_.notify_one();
    while (turns_.size() > idle_ && threads_ < max_threads)
      if (!start_one()) return false;
    return turns_.size() <= idle_;
  }

  bool start_one() {
    // Detached: who hangs in close() can be neither joined nor stopped. It has a share in this, and the process ends
    // without it. Signals are the main thread's.
    const sigset_t all = all_signals();
    sigset_t before;
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = true;
    try {
      std::thread([self = shared_from_this()] { self->run(); }).detach();
      ++threads_;
      ++idle_;
    } catch (const std::system_error& error) {
      started = false;
      if (!told_) log::warn("cannot start a thread: {}; trying again every second", error.what());
    }
    told_ = !started;
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return started;
  }

  void run() {
    Interrupter interrupter;
    std::unique_lock lock(mutex_);
    while (work_.wait_for(lock, std::chrono::seconds(1), [this] { return !turns_.empty(); })) {
      interrupter.start();
      while (!turns_.empty()) take_turn(lock);
      interrupter.stop();
    }
    --threads_;
    --idle_;
  }

  void take_turn(std::unique_lock<std::mutex>& lock) {
    const std::shared_ptr<Lane> lane = std::move(turns_.front());
    turns_.pop_front();
    Fd fd = std::move(lane->waiting.front());
    lane->waiting.pop_front();
    --idle_;
    lock.unlock();
    fd.reset();
    lock.lock();
    ++idle_;
    --unclosed_;
    if (--lane->unclosed == 0) lane_closed_.notify_one();
    lane->in_turn = !lane->waiting.empty();
    if (!lane->in_turn) return;
    turns_.push_back(lane);
    if (turns_.size() > 1) work_.notify_one();  // this thread takes another first, and may hang there
  }

  mutable std::mutex mutex_;
  std::condition_variable work_, lane_closed_;
  std::deque<std::shared_ptr<Lane>> turns_;
  std::size_t threads_ = 0, idle_ = 0, unclosed_ = 0;
  bool told_ = false;
};

Closer::Closer(std::function<void()> starved) : on_starved_(std::move(starved)), threads_(std::make_shared<Threads>()) {
  struct sigaction action = {};
  action.sa_handler = ignore;  // and no SA_RESTART
  (void)::sigaction(interrupt, &action, nullptr);
}

Closer::~Closer() {
  threads_->leave();
}

Closer::User& Closer::user(std::uint32_t uid) {
  // Users come and go.
  if (users_.size() >= 64 && !users_.contains(uid))
    std::erase_if(users_, [this](const auto& item) {
      return threads_->unclosed(*item.second.received) == 0 && threads_->unclosed(*item.second.connections) == 0;
    });
  User& user = users_[uid];
  if (!user.received) user = {.received = std::make_shared<Lane>(), .connections = std::make_shared<Lane>()};
  return user;
}

void Closer::add(const std::shared_ptr<Lane>& lane, std::vector<Fd> descriptors) {
  if (!threads_->add(lane, std::move(descriptors))) on_starved_();
}

void Closer::close(std::uint32_t uid, std::vector<Fd> descriptors) {
  if (descriptors.empty()) return;
  const User& its = user(uid);
  const bool hangs = threads_->unclosed(*its.received) > 0;  // and was waited for
  add(its.received, std::move(descriptors));
  if (!hangs) threads_->wait_until_closed(*its.received, std::chrono::milliseconds(20));
}

void Closer::close_connection(std::uint32_t uid, Fd socket) {
  (void)::shutdown(socket.get(), SHUT_RDWR);
  std::vector<Fd> one;
  one.push_back(std::move(socket));
  add(user(uid).connections, std::move(one));
}

bool Closer::is_stuck(std::uint32_t uid) const {
  const auto found = users_.find(uid);
  return found != users_.end() && threads_->unclosed(*found->second.received) > max_of_user;
}

bool Closer::is_full() const {
  return threads_->unclosed() > max_in_all;
}

bool Closer::is_starved() const {
  return threads_->is_starved();
}

void Closer::retry() {
  (void)threads_->start_some();
}

}  // namespace mstack::daemon
