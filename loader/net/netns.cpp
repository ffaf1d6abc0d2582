// SPDX-License-Identifier: BSD-2-Clause
#include "net/netns.hpp"

#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace mstack::net {
namespace {

#ifndef SO_NETNS_COOKIE
constexpr int SO_NETNS_COOKIE = 71;
#endif

constexpr const char* this_thread = "/proc/thread-self/ns/net";

Expected<Fd> open_current() {
  Fd fd(::open(this_thread, O_RDONLY | O_CLOEXEC));
  if (!fd) return system_failure(errno, "cannot open the network namespace");
  return fd;
}

// All or nothing: these files take a value only in one write.
Expected<void> write_attribute(int directory, const std::string& path, const std::string& shown,
                               std::string_view value) {
  const Fd fd(::openat(directory, path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return system_failure(errno, "cannot open " + shown);
  if (::write(fd.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size()))
    return system_failure(errno, "cannot write " + std::string(value) + " to " + shown);
  return {};
}

}  // namespace

Expected<Netns> Netns::current() {
  auto fd = open_current();
  if (!fd) return std::unexpected(fd.error());
  return Netns(std::move(*fd));
}

Expected<Netns> Netns::create_anonymous() {
  const auto scope = NetnsScope::enter_new();
  if (!scope) return std::unexpected(scope.error());
  return current();
}

Expected<Netns> Netns::open(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return system_failure(errno, "cannot open the network namespace " + path);
  return Netns(std::move(fd));
}

Expected<std::uint64_t> Netns::cookie() const {
  auto scope = NetnsScope::enter(*this);
  if (!scope) return std::unexpected(scope.error());
  const Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return system_failure(errno, "cannot make a socket");
  return netns_cookie_of_socket(socket.get());
}

Expected<Netns> Netns::duplicate() const {
  Fd fd = fd_.duplicate();
  if (!fd) return system_failure(errno, "cannot duplicate a descriptor");
  return Netns(std::move(fd));
}

Expected<NetnsScope> NetnsScope::enter(const Netns& netns) {
  auto home = open_current();
  if (!home) return std::unexpected(home.error());
  if (::setns(netns.fd(), CLONE_NEWNET) < 0) return system_failure(errno, "cannot enter a network namespace");
  return NetnsScope(std::move(*home));
}

Expected<NetnsScope> NetnsScope::enter_new() {
  auto home = open_current();
  if (!home) return std::unexpected(home.error());
  if (::unshare(CLONE_NEWNET) < 0) return system_failure(errno, "cannot make a network namespace");
  return NetnsScope(std::move(*home));
}

NetnsScope::~NetnsScope() {
  if (!home_ || ::setns(home_.get(), CLONE_NEWNET) == 0) return;
  std::perror("cannot come back from another network namespace");
  std::abort();
}

Expected<std::uint64_t> netns_cookie_of_socket(int socket) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  if (::getsockopt(socket, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) < 0)
    return system_failure(errno, "cannot learn a socket's network namespace");
  return cookie;
}

Expected<void> write_sysctl(std::string_view path, std::string_view value) {
  const std::string full = "/proc/sys/" + std::string(path);
  return write_attribute(AT_FDCWD, full, full, value);
}

Expected<Sysfs> Sysfs::open() {
  const Fd context(static_cast<int>(::syscall(SYS_fsopen, "sysfs", FSOPEN_CLOEXEC)));
  if (!context) return system_failure(errno, "cannot open sysfs");
  if (::syscall(SYS_fsconfig, context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0)
    return system_failure(errno, "cannot make a sysfs for this network namespace");
  Fd root(static_cast<int>(::syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC,
                                     MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)));
  if (!root) return system_failure(errno, "cannot mount sysfs");
  return Sysfs(std::move(root));
}

Expected<void> Sysfs::write(std::string_view path, std::string_view value) const {
  return write_attribute(root_.get(), std::string(path), "/sys/" + std::string(path), value);
}

Expected<std::string> Sysfs::read(std::string_view path) const {
  const std::string relative(path);
  const Fd fd(::openat(root_.get(), relative.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return system_failure(errno, "cannot open /sys/" + relative);
  std::string text(4096, '\0');
  const ssize_t size = ::read(fd.get(), text.data(), text.size());
  if (size < 0) return system_failure(errno, "cannot read /sys/" + relative);
  text.resize(static_cast<std::size_t>(size));
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

}  // namespace mstack::net
