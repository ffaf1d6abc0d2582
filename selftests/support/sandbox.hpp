// SPDX-License-Identifier: BSD-2-Clause
//
// What the whole test process lives in, made by main() before anything else: mount and network namespaces of its own
// (the machine's interfaces are out of reach from here on), a scratch directory, and a cgroup.
#pragma once

#include <string>

#include "support/netns.hpp"

namespace mstack::test {

class Sandbox {
 public:
  // Also forks the janitor: it waits for this process to end, however that happens, SIGKILL by ctest and SIGINT by
  // hand included, and kills and removes what is left of it.
  Sandbox();
  Sandbox(Sandbox&&) = delete;
  ~Sandbox();

  static Sandbox& get();
  const std::string& directory() const { return directory_; }  // mode 0755, on a tmpfs; mounts below it are private
  const std::string& cgroup() const { return cgroup_; }        // where the test itself is between two worlds
  void enter_cgroup(const std::string& path) const;
  const Namespace& machine() const { return machine_; }  // the network namespace we came from

 private:
  std::string directory_;
  std::string cgroup_;
  std::string home_cgroup_;  // where we came from
  Namespace machine_ = Namespace::current();
  int janitor_pipe_ = -1;
  int janitor_pid_ = -1;
};

}  // namespace mstack::test
