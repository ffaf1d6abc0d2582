// SPDX-License-Identifier: BSD-2-Clause
#include "support/process.hpp"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <stdexcept>

#include "support/passing.hpp"

namespace mstack::test {

namespace {

constexpr std::size_t max_text = 65536;

// The raw system calls change this thread alone; glibc's would change every thread of the test.
void become(uid_t uid) {
  check(::syscall(SYS_setgroups, 0, nullptr), "setgroups");
  check(::syscall(SYS_setresgid, uid, uid, uid), "setresgid");
  check(::syscall(SYS_setresuid, uid, uid, uid), "setresuid");
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, 2> none{};
  check(::syscall(SYS_capset, &header, none.data()), "capset");
  check(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
}

void close_all_but(std::vector<int> keep) {
  std::ranges::sort(keep);
  unsigned first = 3;
  for (const int fd : keep) {
    if (fd < 3) continue;
    if (first < static_cast<unsigned>(fd)) ::close_range(first, static_cast<unsigned>(fd) - 1, 0);
    first = static_cast<unsigned>(fd) + 1;
  }
  ::close_range(first, ~0U, 0);
}

Fd memory_file(const char* name) {
  Fd file{check(::memfd_create(name, MFD_CLOEXEC), "memfd_create")};
  // Processes that share it write at its end: of a memfd the kernel does not guard the offset that they share.
  check(::fcntl(file.get(), F_SETFL, O_APPEND), "fcntl");
  return file;
}

}  // namespace

void assume(const Identity& who) {
  if (!who.cgroup.empty()) {
    std::ofstream procs(who.cgroup + "/cgroup.procs");
    if (!(procs << "0" << std::flush)) throw std::system_error(errno, std::generic_category(), "join " + who.cgroup);
  }
  if (who.netns != nullptr) check(::setns(who.netns->fd(), CLONE_NEWNET), "setns");
  if (who.uid) become(*who.uid);
}

std::pair<Channel, Channel> Channel::pair() {
  std::array<int, 2> ends{};
  check(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), "socketpair");
  return {Channel{Fd{ends[0]}}, Channel{Fd{ends[1]}}};
}

bool Channel::send(const std::string& text, std::span<const int> fds) const {
  const std::span bytes{reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
  return send_descriptors(fd_.get(), bytes, fds) == static_cast<ssize_t>(text.size());
}

std::optional<Channel::Message> Channel::receive(const Deadline& deadline) const {
  if (!wait_for(fd_.get(), POLLIN, deadline)) return std::nullopt;
  Message result{.text = std::string(max_text, '\0'), .fds = {}};
  const std::span bytes{reinterpret_cast<std::uint8_t*>(result.text.data()), result.text.size()};
  const ssize_t size = receive_descriptors(fd_.get(), bytes, result.fds);
  if (size <= 0) return std::nullopt;
  result.text.resize(static_cast<std::size_t>(size));
  return result;
}

Channel::Message Channel::expect(const std::string& text, const Deadline& deadline) const {
  auto message = receive(deadline);
  if (!message)
    throw std::runtime_error("waited for \"" + text + "\" from the other process: it ended or said nothing");
  if (message->text != text) throw std::runtime_error("waited for \"" + text + "\", got \"" + message->text + '"');
  return std::move(*message);
}

std::ostream& operator<<(std::ostream& out, const Exit& exit) {
  if (exit.signal != 0) return out << "killed by signal " << exit.signal;
  return out << "exit code " << exit.code;
}

Process Process::start(const std::function<int(Channel&)>& body, const ProcessOptions& options) {
  Process process;
  process.out_ = memory_file("stdout");
  process.err_ = memory_file("stderr");
  auto [ours, theirs] = Channel::pair();
  process.channel_ = std::move(ours);
  std::fflush(nullptr);
  process.pid_ = check(::fork(), "fork");
  if (process.pid_ == 0) {
    int code = 99;
    try {
      ::dup2(process.out_.get(), STDOUT_FILENO);
      ::dup2(process.err_.get(), STDERR_FILENO);
      const Fd null{::open("/dev/null", O_RDONLY)};
      ::dup2(null.get(), STDIN_FILENO);
      assume(options.who);
      auto keep = options.keep;
      keep.push_back(theirs.fd());
      close_all_but(keep);
      for (const auto& [name, value] : options.environment) ::setenv(name.c_str(), value.c_str(), 1);
      ::signal(SIGPIPE, SIG_IGN);
      code = body(theirs);
    } catch (const std::exception& error) {
      std::cerr << error.what() << '\n';
    }
    std::cout.flush();
    std::fflush(nullptr);
    ::_exit(code);
  }
  process.pidfd_ = Fd{static_cast<int>(check(::syscall(SYS_pidfd_open, process.pid_, 0), "pidfd_open"))};
  return process;
}

Process Process::function(const std::function<int(Channel&)>& body, const ProcessOptions& options) {
  return start(body, options);
}

Process Process::command(const std::vector<std::string>& arguments, const ProcessOptions& options) {
  return start(
      [&](Channel&) -> int {
        ::signal(SIGPIPE, SIG_DFL);
        for (const int fd : options.keep) ::fcntl(fd, F_SETFD, 0);
        std::vector<char*> argv;
        argv.reserve(arguments.size() + 1);
        for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
        argv.push_back(nullptr);
        ::execvp(argv[0], argv.data());
        throw std::system_error(errno, std::generic_category(), "exec " + arguments[0]);
      },
      options);
}

Process& Process::operator=(Process&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(pidfd_, other.pidfd_);
  std::swap(out_, other.out_);
  std::swap(err_, other.err_);
  std::swap(channel_, other.channel_);
  std::swap(exit_, other.exit_);
  return *this;
}

Process::~Process() {
  if (pidfd_ && !exit_) kill();
}

bool Process::running() {
  return pidfd_ && !wait(Deadline{0ms});
}

void Process::signal(int number) const {
  ::syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0);
}

std::optional<Exit> Process::wait(const Deadline& deadline) {
  if (exit_) return exit_;
  if (!wait_for(pidfd_.get(), POLLIN, deadline)) return std::nullopt;
  int status = 0;
  check(::waitpid(pid_, &status, 0), "waitpid");
  if (WIFSIGNALED(status)) {
    exit_ = Exit{.code = -1, .signal = WTERMSIG(status)};
  } else {
    exit_ = Exit{.code = WEXITSTATUS(status), .signal = 0};
  }
  return exit_;
}

Exit Process::kill() {
  if (!exit_) signal(SIGKILL);
  return wait().value_or(Exit{});
}

std::string Process::read_all(const Fd& file) {
  std::string text;
  std::array<char, 4096> part{};
  for (;;) {
    const ssize_t size = ::pread(file.get(), part.data(), part.size(), static_cast<off_t>(text.size()));
    if (size <= 0) return text;
    text.append(part.data(), static_cast<std::size_t>(size));
  }
}

Completed run(const std::vector<std::string>& arguments, const ProcessOptions& options, const Deadline& deadline) {
  Process process = Process::command(arguments, options);
  const auto exit = process.wait(deadline);
  return {.exit = exit ? *exit : process.kill(), .out = process.out(), .err = process.err()};
}

std::string run_or_throw(const std::vector<std::string>& arguments, const ProcessOptions& options) {
  auto done = run(arguments, options);
  if (done.exit == Exit{.code = 0, .signal = 0}) return done.out;
  std::string line;
  for (const auto& argument : arguments) line += argument + ' ';
  throw std::runtime_error(line + "failed: " + done.out + done.err);
}

std::size_t open_descriptors(pid_t pid) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
    ++count;
  }
  return count;
}

}  // namespace mstack::test
