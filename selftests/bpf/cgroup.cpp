// SPDX-License-Identifier: BSD-2-Clause
#include "cgroup.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <mntent.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <system_error>

namespace bpf_test {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

std::string cgroup2_mount() {
  struct Close {
    void operator()(FILE* file) const { endmntent(file); }
  };
  const std::unique_ptr<FILE, Close> mounts(setmntent("/proc/self/mounts", "re"));
  if (!mounts) fail("/proc/self/mounts");
  while (const mntent* mount = getmntent(mounts.get())) {
    if (std::string_view(mount->mnt_type) == "cgroup2") return mount->mnt_dir;
  }
  throw std::runtime_error("no cgroup2 is mounted: mount -t cgroup2 none /sys/fs/cgroup");
}

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
};

Address address_of(std::string_view text, std::uint16_t port) {
  Address address;
  const std::string terminated(text);
  auto* in6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  auto* in4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  if (inet_pton(AF_INET6, terminated.c_str(), &in6->sin6_addr) == 1) {
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    address.length = sizeof *in6;
  } else if (inet_pton(AF_INET, terminated.c_str(), &in4->sin_addr) == 1) {
    in4->sin_family = AF_INET;
    in4->sin_port = htons(port);
    address.length = sizeof *in4;
  } else {
    throw std::invalid_argument("not an address: " + terminated);
  }
  return address;
}

}  // namespace

struct Agent::Request {
  enum Operation {
    kOpen,
    kBind,
    kSet,
    kSetBytes,
    kListen,
    kAccept,
    kConnect,
    kShutdown,
    kClose,
    kDup,
    kFork,
    kEndChild,
    kBecome,
    kLeaveNetns,
    kCookie,
    kPort,
    kBorrow
  };
  Operation operation = kOpen;
  int descriptor = -1;
  int first = 0;
  int second = 0;
  int third = 0;
  Address address = {};
};

struct Agent::Reply {
  int result = 0;
  std::uint64_t value = 0;
};

Cgroup::Cgroup() {
  path_ = cgroup2_mount() + "/mstack-bpf-test-XXXXXX";
  if (mkdtemp(path_.data()) == nullptr) fail(path_);
  fd_ = Fd(open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd_) fail(path_);
}

Cgroup::~Cgroup() {
  rmdir(path_.c_str());
}

void Cgroup::add(pid_t process) const {
  const Fd procs(openat(fd_.get(), "cgroup.procs", O_WRONLY | O_CLOEXEC));
  const std::string text = std::to_string(process);
  if (!procs || write(procs.get(), text.data(), text.size()) < 0) fail(path_ + "/cgroup.procs");
}

Agent::Agent(const Cgroup& cgroup) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) fail("socketpair");
  channel_ = Fd(ends[0]);
  const Fd other(ends[1]);
  const pid_t parent = getpid();
  process_ = ::fork();
  if (process_ < 0) fail("fork");
  if (process_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    channel_.reset();
    serve(other.get());
    _exit(0);
  }
  cgroup.add(process_);  // it opens no socket before it is asked to, which is after this
}

Agent::Reply Agent::ask(const Request& request) {
  Reply reply;
  if (send(channel_.get(), &request, sizeof request, MSG_NOSIGNAL) != sizeof request) fail("the agent is gone");
  if (recv(channel_.get(), &reply, sizeof reply, 0) != sizeof reply) fail("the agent is gone");
  return reply;
}

int Agent::open(int family, int type, int protocol) {
  return ask({.operation = Request::kOpen, .first = family, .second = type, .third = protocol}).result;
}
int Agent::bind(int socket, std::string_view address, std::uint16_t port) {
  return ask({.operation = Request::kBind, .descriptor = socket, .address = address_of(address, port)}).result;
}
int Agent::set(int socket, int level, int option, int value) {
  return ask({.operation = Request::kSet, .descriptor = socket, .first = level, .second = option, .third = value})
      .result;
}
int Agent::set(int socket, int level, int option, const Bytes& value) {
  Address bytes;
  bytes.length = static_cast<socklen_t>(value.size());
  if (value.size() > sizeof bytes.storage) throw std::invalid_argument("an option of too many bytes");
  std::ranges::copy(value, reinterpret_cast<std::uint8_t*>(&bytes.storage));
  return ask({.operation = Request::kSetBytes,
              .descriptor = socket,
              .first = level,
              .second = option,
              .address = bytes})
      .result;
}
int Agent::listen(int socket) {
  return ask({.operation = Request::kListen, .descriptor = socket}).result;
}
int Agent::accept(int socket) {
  return ask({.operation = Request::kAccept, .descriptor = socket}).result;
}
int Agent::connect(int socket, std::string_view address, std::uint16_t port) {
  return ask({.operation = Request::kConnect, .descriptor = socket, .address = address_of(address, port)}).result;
}
int Agent::disconnect(int socket) {
  Address unspecified;
  unspecified.storage.ss_family = AF_UNSPEC;
  unspecified.length = sizeof(sockaddr_in6);
  return ask({.operation = Request::kConnect, .descriptor = socket, .address = unspecified}).result;
}
int Agent::shutdown(int socket) {
  return ask({.operation = Request::kShutdown, .descriptor = socket}).result;
}
int Agent::close(int descriptor) {
  return ask({.operation = Request::kClose, .descriptor = descriptor}).result;
}
int Agent::dup(int descriptor) {
  return ask({.operation = Request::kDup, .descriptor = descriptor}).result;
}
int Agent::fork() {
  return ask({.operation = Request::kFork}).result;
}
int Agent::end_child(pid_t child) {
  return ask({.operation = Request::kEndChild, .first = child}).result;
}
int Agent::become(uid_t uid) {
  return ask({.operation = Request::kBecome, .first = static_cast<int>(uid)}).result;
}
int Agent::leave_netns() {
  return ask({.operation = Request::kLeaveNetns}).result;
}
std::uint64_t Agent::cookie(int socket) {
  return ask({.operation = Request::kCookie, .descriptor = socket}).value;
}
std::uint16_t Agent::port(int socket) {
  return static_cast<std::uint16_t>(ask({.operation = Request::kPort, .descriptor = socket}).value);
}

Fd Agent::borrow(int socket) {
  const Request request{.operation = Request::kBorrow, .descriptor = socket};
  if (send(channel_.get(), &request, sizeof request, MSG_NOSIGNAL) != sizeof request) fail("the agent is gone");
  Reply reply;
  iovec data{.iov_base = &reply, .iov_len = sizeof reply};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (recvmsg(channel_.get(), &message, MSG_CMSG_CLOEXEC) < 0) fail("the agent is gone");
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) throw std::runtime_error("the agent passed no descriptor");
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return Fd(fd);
}

void Agent::kill() {
  if (process_ <= 0) return;
  ::kill(process_, SIGKILL);
  waitpid(process_, nullptr, 0);
  process_ = -1;
}

namespace {

int or_errno(int result) {
  return result < 0 ? -errno : result;
}

bool pass(int channel, int fd, const void* reply, std::size_t size) {
  iovec data{.iov_base = const_cast<void*>(reply), .iov_len = size};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  return sendmsg(channel, &message, MSG_NOSIGNAL) >= 0;
}

// A process that does nothing but hold what it inherited, as long as its parent lives.
int hold(int channel) {
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child != 0) return or_errno(child);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  close(channel);
  while (true) pause();
}

int end(pid_t child) {
  if (kill(child, SIGKILL) != 0) return -errno;
  return or_errno(waitpid(child, nullptr, 0));
}

std::uint64_t port_of(int fd) {
  sockaddr_in6 name{};
  socklen_t length = sizeof name;
  getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length);
  return ntohs(name.sin6_port);  // where sin_port is, too
}

}  // namespace

void Agent::serve(int channel) {
  Request request;
  while (recv(channel, &request, sizeof request, 0) == sizeof request) {
    Reply reply;
    const int fd = request.descriptor;
    const auto* address = reinterpret_cast<const sockaddr*>(&request.address.storage);
    switch (request.operation) {
      case Request::kOpen:
        reply.result = or_errno(socket(request.first, request.second | SOCK_CLOEXEC, request.third));
        break;
      case Request::kBind: reply.result = or_errno(::bind(fd, address, request.address.length)); break;
      case Request::kSet:
        reply.result = or_errno(setsockopt(fd, request.first, request.second, &request.third, sizeof request.third));
        break;
      case Request::kSetBytes:
        reply.result = or_errno(setsockopt(fd, request.first, request.second, address, request.address.length));
        break;
      case Request::kListen: reply.result = or_errno(::listen(fd, 8)); break;
      case Request::kAccept: reply.result = or_errno(::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC)); break;
      case Request::kConnect: reply.result = or_errno(::connect(fd, address, request.address.length)); break;
      case Request::kShutdown: reply.result = or_errno(::shutdown(fd, SHUT_RDWR)); break;
      case Request::kClose: reply.result = or_errno(::close(fd)); break;
      case Request::kDup: reply.result = or_errno(::dup(fd)); break;
      case Request::kFork: reply.result = hold(channel); break;
      case Request::kEndChild: reply.result = end(request.first); break;
      case Request::kBecome:
        reply.result = or_errno(setresuid(static_cast<uid_t>(request.first), static_cast<uid_t>(request.first),
                                          static_cast<uid_t>(request.first)));
        break;
      case Request::kLeaveNetns: reply.result = or_errno(unshare(CLONE_NEWNET)); break;
      case Request::kCookie: {
        socklen_t length = sizeof reply.value;
        reply.result = or_errno(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &reply.value, &length));
        break;
      }
      case Request::kPort: reply.value = port_of(fd); break;
      case Request::kBorrow:
        if (!pass(channel, fd, &reply, sizeof reply)) return;
        continue;
    }
    if (send(channel, &reply, sizeof reply, MSG_NOSIGNAL) != sizeof reply) return;
  }
}

}  // namespace bpf_test
