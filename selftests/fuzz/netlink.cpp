// SPDX-License-Identifier: BSD-2-Clause
// What the kernel answers on a netlink socket, or whoever else could: any datagrams in place of it. The system calls of
// net/, and what it asks of BPF, end here (the linker's --wrap), so that all above them is what is tested.
#include <bpf/bpf.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sanitizer/asan_interface.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "net/addresses.hpp"
#include "net/link.hpp"
#include "net/sock_diag.hpp"
#include "net/tc.hpp"
#include "net/xdp_features.hpp"
#include "target.hpp"

namespace {

constexpr int datagrams_at_most = 64;

fuzz::Input* input = nullptr;
int datagrams = 0;

// The next datagram: two bytes say how long it is. After the last the connection is lost.
ssize_t next_datagram(msghdr* message) {
  if (input->rest().size() < 2 || ++datagrams > datagrams_at_most) {
    errno = ECONNRESET;
    return -1;
  }
  const auto length = input->take<std::uint16_t>();
  const iovec& room = message->msg_iov[0];
  const auto bytes = input->take(std::min<std::size_t>(length, room.iov_len));
  // What is behind the datagram in the buffer is nothing of it.
  ASAN_UNPOISON_MEMORY_REGION(room.iov_base, room.iov_len);
  std::copy(bytes.begin(), bytes.end(), static_cast<std::uint8_t*>(room.iov_base));
  ASAN_POISON_MEMORY_REGION(static_cast<std::uint8_t*>(room.iov_base) + bytes.size(), room.iov_len - bytes.size());
  message->msg_flags = 0;
  return static_cast<ssize_t>(bytes.size());
}

}  // namespace

extern "C" {
int __wrap_socket(int domain, int type, int protocol);
int __wrap_bind(int fd, const sockaddr* address, socklen_t size);
int __wrap_setsockopt(int fd, int level, int name, const void* value, socklen_t size);
ssize_t __wrap_sendto(int fd, const void* data, std::size_t size, int flags, const sockaddr* to, socklen_t to_size);
ssize_t __wrap_recvmsg(int fd, msghdr* message, int flags);
int __wrap_bpf_prog_get_fd_by_id(std::uint32_t id);
int __wrap_bpf_obj_get_info_by_fd(int fd, void* info, std::uint32_t* size);
int __wrap_bpf_prog_query_opts(int target, bpf_attach_type type, struct bpf_prog_query_opts* options);

int __wrap_socket(int, int, int) {
  return ::dup(STDIN_FILENO);  // something to close
}
int __wrap_bind(int, const sockaddr*, socklen_t) {
  return 0;
}
int __wrap_setsockopt(int, int, int, const void*, socklen_t) {
  return 0;
}
ssize_t __wrap_sendto(int, const void*, std::size_t size, int, const sockaddr*, socklen_t) {
  return static_cast<ssize_t>(size);
}
ssize_t __wrap_recvmsg(int, msghdr* message, int) {
  return next_datagram(message);
}
// Programs of odd ids are there, and use the one map that there is.
int __wrap_bpf_prog_get_fd_by_id(std::uint32_t id) {
  if (id % 2 != 0) return ::dup(STDIN_FILENO);
  errno = ENOENT;
  return -1;
}
int __wrap_bpf_obj_get_info_by_fd(int, void* info, std::uint32_t* size) {
  constexpr std::uint32_t map_id = 1;
  if (*size == sizeof(bpf_map_info)) {
    static_cast<bpf_map_info*>(info)->id = map_id;
    return 0;
  }
  fuzz::require(*size == sizeof(bpf_prog_info), "of maps and programs alone is asked");
  auto* program = static_cast<bpf_prog_info*>(info);
  *reinterpret_cast<std::uint32_t*>(program->map_ids) = map_id;
  program->nr_map_ids = 1;
  return 0;
}
int __wrap_bpf_prog_query_opts(int, bpf_attach_type, struct bpf_prog_query_opts*) {
  errno = EINVAL;
  return -1;
}
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input all(data, size);
  input = &all;
  datagrams = 0;
  const std::array<std::uint16_t, 2> ports{7, 4660};
  const mstack::net::SharedEgress egress{.ifindex = 2, .claims = STDIN_FILENO};
  switch (all.take<std::uint8_t>() % 10) {
    case 0:
      if (auto links = mstack::net::Links::open()) (void)mstack::net::local_addresses(*links);
      break;
    case 1:
      if (auto monitor = mstack::net::RouteMonitor::open()) (void)monitor->drain();
      break;
    case 2:
      if (auto links = mstack::net::Links::open()) (void)links->all();
      break;
    case 3:
      if (auto links = mstack::net::Links::open()) (void)links->find("eth0");
      break;
    case 4: (void)mstack::net::xdp_features(2); break;
    case 5: (void)mstack::net::holders(IPPROTO_TCP, ports); break;
    case 6: (void)mstack::net::tc_ingress_program(egress.ifindex); break;
    case 7: (void)mstack::net::has_tc_egress(egress); break;
    case 8: (void)mstack::net::detach_tc_egress(egress); break;
    default: (void)mstack::net::attach_tc_egress(egress, STDIN_FILENO); break;
  }
  return 0;
}
