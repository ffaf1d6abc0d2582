// SPDX-License-Identifier: BSD-2-Clause
#include "netns.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>

namespace bpf_test {
namespace {

[[noreturn]] void fail(const std::string& what, int error = errno) {
  throw std::system_error(error, std::generic_category(), what);
}

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0) fail("write");
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace

Netns::Netns() : home_(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
  if (!home_) fail("open /proc/thread-self/ns/net");
  if (unshare(CLONE_NEWNET) != 0) fail("unshare(CLONE_NEWNET)");
  const Fd any(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  socklen_t size = sizeof cookie_;
  if (getsockopt(any.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie_, &size) != 0) fail("SO_NETNS_COOKIE");
  ip("link set lo up");
}

Netns::~Netns() {
  setns(home_.get(), CLONE_NEWNET);
}

void Netns::ip(std::string_view lines) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) fail("pipe2");
  Fd in(ends[0]);
  Fd out(ends[1]);
  const pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    dup2(in.get(), STDIN_FILENO);
    execlp("ip", "ip", "-batch", "-", static_cast<char*>(nullptr));
    _exit(127);
  }
  write_all(out.get(), std::string(lines) + "\n");  // both ends are open, so that no SIGPIPE can come of it
  out.reset();
  int status = 0;
  waitpid(child, &status, 0);
  if (status != 0) throw std::runtime_error("ip -batch refused one of: " + std::string(lines));
}

void Netns::sysctl(const std::string& name, std::string_view value) {
  const std::string path = "/proc/sys/net/" + name;
  const Fd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) fail(path);
  write_all(fd.get(), value);
}

std::uint32_t Netns::ifindex(const std::string& name) {
  const unsigned index = if_nametoindex(name.c_str());
  if (index == 0) fail(name);
  return index;
}

Bytes Netns::mac(const std::string& name) {
  const Fd any(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::copy_n(name.data(), std::min<std::size_t>(name.size(), IFNAMSIZ - 1), request.ifr_name);
  if (ioctl(any.get(), SIOCGIFHWADDR, &request) != 0) fail(name);
  Bytes mac(6);
  std::memcpy(mac.data(), request.ifr_hwaddr.sa_data, mac.size());
  return mac;
}

void Netns::pass_all(const std::string& name) {
  const bpf_insn pass[] = {
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = XDP_PASS},
      {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
  };
  // Of any number of buffers: else the other end could have no MTU beyond a page.
  LIBBPF_OPTS(bpf_prog_load_opts, options, .prog_flags = BPF_F_XDP_HAS_FRAGS);
  const Fd program(bpf_prog_load(BPF_PROG_TYPE_XDP, "pass", "GPL", pass, std::size(pass), &options));
  if (!program) fail("bpf_prog_load");
  const int error = bpf_xdp_attach(static_cast<int>(ifindex(name)), program.get(), XDP_FLAGS_DRV_MODE, nullptr);
  if (error != 0) fail("bpf_xdp_attach to " + name, -error);
}

}  // namespace bpf_test
