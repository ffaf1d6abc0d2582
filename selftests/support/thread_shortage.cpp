// SPDX-License-Identifier: BSD-2-Clause
#include "support/thread_shortage.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>
#include <system_error>

#include "support/fd.hpp"

namespace mstack::test {
namespace {

void write(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  if (!(file << text << std::flush)) throw std::system_error(errno, std::generic_category(), path);
}

std::string contents(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

// Where children have pids.max: of version 1 a mount of its own, of version 2 where it is given to children.
std::string ThreadShortage::root() {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string device, where, type, options;
    words >> device >> where >> type >> options;
    if (type == "cgroup" && (options + ',').find(",pids,") != std::string::npos) return where;
    if (type == "cgroup2" && contents(where + "/cgroup.subtree_control").find("pids") != std::string::npos)
      return where;
  }
  return {};
}

ThreadShortage::ThreadShortage(pid_t pid) : pid_(pid) {
  // Where it is now, to go back to: whoever cleans up after a test looks for it there.
  std::ifstream groups("/proc/" + std::to_string(pid) + "/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::size_t second = line.find(':', line.find(':') + 1);
    const std::string controllers = line.substr(0, second + 1);
    const bool is_v1 = controllers.find(":pids:") != std::string::npos;
    if (is_v1 || (home_.empty() && controllers == "0::")) home_ = root() + line.substr(second + 1);
  }
  cgroup_ = root() + "/mstack-test-threads-" + std::to_string(pid);
  check(::mkdir(cgroup_.c_str(), 0755), "mkdir " + cgroup_);
  write(cgroup_ + "/cgroup.procs", std::to_string(pid));
}

ThreadShortage::~ThreadShortage() {
  end();
  std::ofstream(home_ + "/cgroup.procs") << pid_ << std::flush;
  ::rmdir(cgroup_.c_str());
}

void ThreadShortage::set(const std::string& limit) const {
  write(cgroup_ + "/pids.max", limit);
}

}  // namespace mstack::test
