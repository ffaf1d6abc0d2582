// SPDX-License-Identifier: BSD-2-Clause
#include "workers.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace mstack_lwip {

Workers::Workers(std::size_t queues) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
    error_ = errno;
    return;
  }
  all_done_ = ends[0];
  done_ = ends[1];
  const pid_t first = ::getpid();
  for (std::size_t queue = 1; queue < queues; ++queue) {
    const pid_t pid = ::fork();
    if (pid < 0) {
      error_ = errno;
      return;
    }
    if (pid == 0) {
      // Nobody serves queue 0 once the first is gone.
      ::prctl(PR_SET_PDEATHSIG, SIGTERM);
      if (::getppid() != first) ::_exit(1);
      queue_ = queue;
      others_.clear();
      return;
    }
    others_.push_back(pid);
  }
}

Workers::~Workers() {
  if (done_ >= 0) ::close(done_);
  if (all_done_ >= 0) ::close(all_done_);
  end();
  for (const pid_t pid : others_)
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
}

void Workers::end() const {
  for (const pid_t pid : others_) ::kill(pid, SIGTERM);
}

bool Workers::all_done() {
  if (done_ >= 0) ::close(std::exchange(done_, -1));
  char nothing = 0;
  return ::read(all_done_, &nothing, sizeof(nothing)) == 0;
}

bool Workers::lost_one() {
  for (std::size_t i = 0; i < others_.size(); ++i) {
    if (::waitpid(others_[i], nullptr, WNOHANG) != others_[i]) continue;
    others_.erase(others_.begin() + static_cast<std::ptrdiff_t>(i));
    return true;
  }
  return false;
}

}  // namespace mstack_lwip
