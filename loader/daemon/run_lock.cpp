// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/run_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace mstack::daemon {

Expected<Fd> lock_run_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0755) < 0 && errno != EEXIST)
    return system_failure(errno, "cannot make the run directory " + path);
  const std::string name = path + "/mstackd.lock";
  Fd lock(::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock) return system_failure(errno, "cannot open " + name);
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) < 0) {
    if (errno == EWOULDBLOCK)
      return failure(EBUSY, "another mstackd runs in " + path + ": stop it, or give another --run-dir");
    return system_failure(errno, "cannot lock " + name);
  }
  return lock;
}

}  // namespace mstack::daemon
