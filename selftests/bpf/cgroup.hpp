// SPDX-License-Identifier: BSD-2-Clause
// A cgroup of the test's own, and a process in it that opens and binds sockets on request: the programs of
// sock_life see it, and nothing else on the machine.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "fd.hpp"
#include "wire.hpp"

namespace bpf_test {

// A directory below the cgroup2 mount, whichever that is. Gone with its owner.
class Cgroup {
 public:
  Cgroup();  // throws std::system_error
  ~Cgroup();
  Cgroup(const Cgroup&) = delete;
  Cgroup& operator=(const Cgroup&) = delete;

  int fd() const { return fd_.get(); }
  void add(pid_t process) const;

 private:
  std::string path_;
  Fd fd_;
};

// Descriptors here are the agent's: numbers in another process. Every call returns what the system call did there,
// or the negative errno.
class Agent {
 public:
  explicit Agent(const Cgroup& cgroup);  // in the network namespace that the caller is in
  ~Agent() { kill(); }
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  int open(int family, int type, int protocol = 0);
  int bind(int socket, std::string_view address, std::uint16_t port);
  int set(int socket, int level, int option, int value);
  int set(int socket, int level, int option, const Bytes& value);  // of 100 bytes at most
  int listen(int socket);
  int accept(int socket);
  int connect(int socket, std::string_view address, std::uint16_t port);
  int disconnect(int socket);  // connect() to AF_UNSPEC
  int shutdown(int socket);
  int close(int descriptor);
  int dup(int descriptor);
  int fork();  // a child that holds all descriptors; its pid
  int end_child(pid_t child);
  int become(uid_t uid);
  int leave_netns();  // into a new one
  std::uint64_t cookie(int socket);
  std::uint16_t port(int socket);
  // A copy for this process: the socket now has one more holder.
  Fd borrow(int socket);
  void kill();  // by SIGKILL, and gone when this returns

 private:
  struct Request;
  struct Reply;
  Reply ask(const Request& request);
  static void serve(int channel);

  pid_t process_ = -1;
  Fd channel_;
};

}  // namespace bpf_test
