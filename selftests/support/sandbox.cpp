// SPDX-License-Identifier: BSD-2-Clause
#include "support/sandbox.hpp"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <system_error>

#include "support/fd.hpp"

namespace mstack::test {

namespace {

Sandbox* current = nullptr;

std::string cgroup2_mount() {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string device, where, type;
    words >> device >> where >> type;
    if (type == "cgroup2") return where;
  }
  throw std::runtime_error(
      "no cgroup2 mount in /proc/self/mounts: mount one, such as mount -t cgroup2 none /sys/fs/cgroup");
}

std::string own_cgroup() {
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    if (line.starts_with("0::")) return line.substr(3);
  }
  throw std::runtime_error("no cgroup2 in /proc/self/cgroup");
}

// Everything below a cgroup of ours, deepest first; processes in it are killed until none is left.
void remove_cgroup(const std::string& path) {
  std::error_code ignored;
  for (int attempt = 0; attempt < 1000 && std::filesystem::exists(path, ignored); ++attempt) {
    std::ofstream(path + "/cgroup.kill") << 1;
    for (const auto& entry : std::filesystem::directory_iterator(path, ignored)) {
      if (entry.is_directory(ignored)) remove_cgroup(entry.path());
    }
    if (::rmdir(path.c_str()) == 0) return;
    ::poll(nullptr, 0, 5);  // a killed process leaves its cgroup when it has ended
  }
}

[[noreturn]] void janitor(int pipe, const std::string& cgroup, const std::string& directory) {
  ::setsid();
  ::prctl(PR_SET_NAME, "mstack-janitor");
  const int null = ::open("/dev/null", O_RDWR);
  for (int fd = 0; null >= 0 && fd < 3; ++fd) ::dup2(null, fd);
  ::dup2(pipe, 3);
  ::close_range(4, ~0U, 0);
  char byte = 0;
  while (::read(3, &byte, 1) < 0 && errno == EINTR) {
  }
  remove_cgroup(cgroup);
  ::rmdir(directory.c_str());
  ::_exit(0);
}

void mount_at(const char* type, const std::string& where, const char* options) {
  check(::mount(type, where.c_str(), type, 0, options), "mount " + std::string(type) + " at " + where);
}

}  // namespace

Sandbox& Sandbox::get() {
  if (current == nullptr) throw std::logic_error("no sandbox: support/main.cpp makes it");
  return *current;
}

Sandbox::Sandbox() {
  const std::string mount = cgroup2_mount();
  home_cgroup_ = mount + own_cgroup();
  std::string name = "/tmp/mstack-test-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) check(-1, "mkdtemp " + name);
  directory_ = name;
  cgroup_ = mount + "/mstack-test-" + std::to_string(::getpid()) + "-" + name.substr(name.size() - 6);
  check(::mkdir(cgroup_.c_str(), 0755), "mkdir " + cgroup_);

  std::array<int, 2> ends{};
  check(::pipe2(ends.data(), O_CLOEXEC), "pipe");
  janitor_pid_ = check(::fork(), "fork");
  if (janitor_pid_ == 0) {
    ::close(ends[1]);
    janitor(ends[0], cgroup_, directory_);
  }
  ::close(ends[0]);
  janitor_pipe_ = ends[1];

  // CLONE_NEWNET: from here on no mistake of a test can touch the machine's own interfaces.
  check(::unshare(CLONE_NEWNS | CLONE_NEWNET), "unshare: run the tests as root");
  check(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "make mounts private");
  mount_at("tmpfs", directory_, "mode=0755");
  enter_cgroup(cgroup_);
  current = this;
}

Sandbox::~Sandbox() {
  current = nullptr;
  // Failing that, the janitor kills us with the rest: it is the end of the process in any case.
  std::ofstream(home_cgroup_ + "/cgroup.procs") << "0";
  ::close(janitor_pipe_);
  int status = 0;
  ::waitpid(janitor_pid_, &status, 0);
}

void Sandbox::enter_cgroup(const std::string& path) const {
  std::ofstream procs(path + "/cgroup.procs");
  if (!(procs << "0" << std::flush)) throw std::system_error(errno, std::generic_category(), "join " + path);
}

}  // namespace mstack::test
