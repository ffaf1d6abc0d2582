// SPDX-License-Identifier: BSD-2-Clause
#include "support/netns.hpp"

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstdlib>
#include <cstring>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace mstack::test {

namespace {

Fd open_current() {
  return Fd{check(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), "open own netns")};
}

}  // namespace

Namespace::Visit::Visit(int namespace_fd) : home_(open_current()) {
  check(::setns(namespace_fd, CLONE_NEWNET), "setns");
}

Namespace::Visit::~Visit() {
  // To go on in the wrong namespace would test the wrong thing.
  if (::setns(home_.get(), CLONE_NEWNET) != 0) std::abort();
}

Namespace Namespace::current() {
  return Namespace{open_current()};
}

Namespace Namespace::create() {
  const Visit back{open_current().get()};
  check(::unshare(CLONE_NEWNET), "unshare netns");
  Namespace fresh{open_current()};
  const Fd socket{check(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket")};
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  check(::ioctl(socket.get(), SIOCSIFFLAGS, &request), "loopback up");
  return fresh;
}

std::string Namespace::path() const {
  return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd());
}

std::uint64_t Namespace::cookie() const {
  return run([] {
    const Fd socket{check(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket")};
    std::uint64_t cookie = 0;
    socklen_t size = sizeof(cookie);
    check(::getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size), "SO_NETNS_COOKIE");
    return cookie;
  });
}

}  // namespace mstack::test
