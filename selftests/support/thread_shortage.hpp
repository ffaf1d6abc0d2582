// SPDX-License-Identifier: BSD-2-Clause
//
// A process that can start no more threads: in a cgroup of its own, of the pids controller, whichever version has it.
#pragma once

#include <sys/types.h>

#include <string>

namespace mstack::test {

class ThreadShortage {
 public:
  // Whether this machine lets us have such a cgroup.
  static bool available() { return !root().empty(); }

  explicit ThreadShortage(pid_t pid);
  ThreadShortage(ThreadShortage&&) = delete;
  ~ThreadShortage();

  // For the process, which goes on with what it has.
  void begin() const { set("1"); }
  void end() const { set("max"); }

 private:
  static std::string root();
  void set(const std::string& limit) const;
  pid_t pid_;
  std::string home_, cgroup_;
};

}  // namespace mstack::test
