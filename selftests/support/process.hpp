// SPDX-License-Identifier: BSD-2-Clause
//
// Other people: threads and processes in a namespace, a cgroup and with a uid of the test's choice.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "support/deadline.hpp"
#include "support/fd.hpp"
#include "support/netns.hpp"

namespace mstack::test {

inline constexpr uid_t alice = 60001, bob = 60002, nobody = 65534;

struct Identity {
  const Namespace* netns = nullptr;  // else the caller's
  std::optional<uid_t> uid = {};     // with it: the gid of the same number, no groups, no capabilities, no_new_privs
  std::string cgroup = {};           // of a process only; else the caller's
};

// Makes the calling thread that identity, for the rest of its life.
void assume(const Identity& who);

// Runs the body in a thread of that identity and gives what it returned. What the body made (descriptors, mappings,
// stacks) stays with the test, which goes on using it with its own privileges: for those that are checked once, when
// the thing is made. What must stay unprivileged throughout is a Process.
template <typename Body>
auto as(const Identity& who, Body&& body) {
  using Result = std::invoke_result_t<Body>;
  std::exception_ptr thrown;
  auto run = [&](auto&& work) {
    std::thread thread([&] {
      try {
        assume(who);
        work();
      } catch (...) {
        thrown = std::current_exception();
      }
    });
    thread.join();
    if (thrown) std::rethrow_exception(thrown);
  };
  if constexpr (std::is_void_v<Result>) {
    run([&] { body(); });
  } else {
    std::optional<Result> result;
    run([&] { result.emplace(body()); });
    return std::move(*result);
  }
}

// What a test and its child say to each other: short messages, each with any number of descriptors up to 250.
class Channel {
 public:
  struct Message {
    std::string text;
    std::vector<Fd> fds;
  };

  Channel() = default;
  explicit Channel(Fd fd) : fd_(std::move(fd)) {}
  static std::pair<Channel, Channel> pair();

  bool send(const std::string& text, std::span<const int> fds = {}) const;
  std::optional<Message> receive(const Deadline& deadline = Deadline{}) const;  // none: closed, or past the deadline
  // For the usual step: the message must be this one, or the caller gives up (an exception).
  Message expect(const std::string& text, const Deadline& deadline = Deadline{}) const;
  int fd() const { return fd_.get(); }
  void close() { fd_.reset(); }

 private:
  Fd fd_;
};

struct Exit {
  int code = -1;   // of exit()
  int signal = 0;  // that killed it
  friend bool operator==(const Exit&, const Exit&) = default;
};
std::ostream& operator<<(std::ostream& out, const Exit& exit);

struct ProcessOptions {
  Identity who = {};
  std::map<std::string, std::string> environment = {};  // added to the test's own
  std::vector<int> keep = {};                           // descriptors that the child keeps, at the same numbers
};

// A child process. All descriptors but 0, 1, 2, its channel and `keep` are closed in it: a copy of an owner's socket
// left behind there would keep a claim alive. Its output goes to memory, so that it never blocks.
class Process {
 public:
  static Process command(const std::vector<std::string>& arguments, const ProcessOptions& options = {});
  // The body's return is the exit code; an exception prints its text and exits with 99.
  static Process function(const std::function<int(Channel&)>& body, const ProcessOptions& options = {});

  Process(Process&&) = default;
  Process& operator=(Process&& other) noexcept;
  ~Process();  // kills and reaps what still runs

  pid_t pid() const { return pid_; }
  Channel& channel() { return channel_; }
  bool running();
  void signal(int number) const;
  std::optional<Exit> wait(const Deadline& deadline = Deadline{});  // none: still running at the deadline
  Exit kill();                                                      // SIGKILL, and reaped
  std::string out() const { return read_all(out_); }
  std::string err() const { return read_all(err_); }

 private:
  Process() = default;
  static Process start(const std::function<int(Channel&)>& body, const ProcessOptions& options);
  static std::string read_all(const Fd& file);

  pid_t pid_ = -1;
  Fd pidfd_;
  Fd out_, err_;
  Channel channel_;
  std::optional<Exit> exit_;
};

struct Completed {
  Exit exit;
  std::string out, err;
};
// Runs a command to its end; it is killed at the deadline.
Completed run(const std::vector<std::string>& arguments, const ProcessOptions& options = {},
              const Deadline& deadline = Deadline{});
// The same for what a test cannot go on without.
std::string run_or_throw(const std::vector<std::string>& arguments, const ProcessOptions& options = {});

std::size_t open_descriptors(pid_t pid);

}  // namespace mstack::test
