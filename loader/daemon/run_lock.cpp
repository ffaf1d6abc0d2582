// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/run_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>

#include "daemon/log.hpp"
#include "daemon/process.hpp"

namespace mstack::daemon {
namespace {

Expected<Fd> open_lock(const std::string& name) {
  Fd lock(::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock) return system_failure(errno, "cannot open " + name);
  return lock;
}

pid_t holder_of(const Fd& lock) {
  std::array<char, 16> text = {};
  return ::pread(lock.get(), text.data(), text.size() - 1, 0) > 0 ? static_cast<pid_t>(std::atoi(text.data())) : 0;
}

// Who could write here could put a socket of their own in the place of ours.
Expected<void> check_owner(const std::string& path) {
  struct stat status = {};
  if (::lstat(path.c_str(), &status) < 0) return system_failure(errno, "cannot look at the run directory " + path);
  if (S_ISDIR(status.st_mode) && status.st_uid == ::geteuid() && (status.st_mode & (S_IWGRP | S_IWOTH)) == 0) return {};
  return failure(EPERM, "the run directory " + path +
                            " must be a directory that is mstackd's own and that nobody else may write to: change "
                            "that, or give another --run-dir");
}

}  // namespace

Expected<Fd> lock_run_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0755) < 0 && errno != EEXIST)
    return system_failure(errno, "cannot make the run directory " + path);
  if (auto checked = check_owner(path); !checked) return std::unexpected(checked.error());
  // Held for a moment only, so that the lock file can be looked at and replaced by one of us at a time. A file that
  // clients cannot open: whoever can open one can lock it.
  const auto starting = open_lock(path + "/mstackd.starting");
  if (!starting) return std::unexpected(starting.error());
  if (::flock(starting->get(), LOCK_EX) < 0) return system_failure(errno, "cannot lock " + path + "/mstackd.starting");

  const std::string name = path + "/mstackd.lock";
  auto lock = open_lock(name);
  if (!lock) return lock;
  if (::flock(lock->get(), LOCK_EX | LOCK_NB) < 0) {
    if (errno != EWOULDBLOCK) return system_failure(errno, "cannot lock " + name);
    const pid_t holder = holder_of(*lock);
    if (!is_dead(holder))
      return failure(EBUSY, "another mstackd (pid " + std::to_string(holder) + ") runs in " + path +
                                ": stop it, or give another --run-dir");
    log::warn("the mstackd of pid {} is dead but for a thread that hangs in the kernel: its lock does not count",
              holder);
    if (::unlink(name.c_str()) < 0) return system_failure(errno, "cannot remove " + name);
    lock = open_lock(name);
    if (!lock) return lock;
    if (::flock(lock->get(), LOCK_EX | LOCK_NB) < 0) return system_failure(errno, "cannot lock " + name);
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(lock->get(), 0) < 0 || ::pwrite(lock->get(), pid.data(), pid.size(), 0) < 0)
    return system_failure(errno, "cannot write " + name);
  return lock;
}

}  // namespace mstack::daemon
