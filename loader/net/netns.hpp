// SPDX-License-Identifier: BSD-2-Clause
//
// Network namespaces. One rule holds for everything in loader/net: a function acts in the network namespace of the
// calling thread, and an object that holds a socket stays in the namespace in which it was opened.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "fd.hpp"
#include "mstack/error.hpp"

namespace mstack::net {

// A network namespace, held open. Anonymous ones live as long as somebody holds them, or a socket made in them.
class Netns {
 public:
  static Expected<Netns> current();           // the calling thread's
  static Expected<Netns> create_anonymous();  // new, with nothing in it but a loopback device that is down
  static Expected<Netns> open(const std::string& path);

  [[nodiscard]] int fd() const { return fd_.get(); }
  // What the kernel calls it, also from BPF: never 0, never used twice while the machine is up.
  [[nodiscard]] Expected<std::uint64_t> cookie() const;
  [[nodiscard]] Expected<Netns> duplicate() const;

 private:
  explicit Netns(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

// The calling thread is in another network namespace until this goes out of scope, which must be on the same thread.
// Coming back cannot be refused to who came from there; should it fail all the same, the program ends, because
// everything it did next would be done to the wrong network.
class NetnsScope {
 public:
  static Expected<NetnsScope> enter(const Netns& netns);
  static Expected<NetnsScope> enter_new();  // with nothing in it but a loopback device that is down
  NetnsScope(NetnsScope&& other) noexcept : home_(std::move(other.home_)) {}
  NetnsScope& operator=(NetnsScope&&) = delete;
  ~NetnsScope();

 private:
  explicit NetnsScope(Fd home) : home_(std::move(home)) {}
  Fd home_;
};

// SO_NETNS_COOKIE of any socket: the cookie of the namespace it was made in.
Expected<std::uint64_t> netns_cookie_of_socket(int socket);

// "net/ipv4/conf/eth0/forwarding": written to /proc/sys, whose net/ is that of the calling thread's namespace.
Expected<void> write_sysctl(std::string_view path, std::string_view value);

// sysfs as the network namespace shows it in which this was opened. It is mounted for us alone, on no directory: the
// one at /sys belongs to whatever namespace it was mounted in, and shows no other's devices.
class Sysfs {
 public:
  static Expected<Sysfs> open();
  // "class/net/eth0/napi_defer_hard_irqs"
  Expected<void> write(std::string_view path, std::string_view value) const;
  Expected<std::string> read(std::string_view path) const;  // without the newline at its end

 private:
  explicit Sysfs(Fd root) : root_(std::move(root)) {}
  Fd root_;
};

}  // namespace mstack::net
