// SPDX-License-Identifier: BSD-2-Clause
#include "workers.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace mstack_lwip {

Workers::Workers(std::size_t queues) {
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
  for (const pid_t pid : others_) ::kill(pid, SIGTERM);
  for (const pid_t pid : others_)
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
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
