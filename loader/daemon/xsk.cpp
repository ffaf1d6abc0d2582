// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/xsk.hpp"

#include <fcntl.h>
#include <linux/if_xdp.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "mapping.hpp"

#ifndef XDP_USE_SG  // 6.6
#define XDP_USE_SG (1 << 4)
#endif
#ifndef MFD_NOEXEC_SEAL  // 6.3
#define MFD_NOEXEC_SEAL 0x0008U
#endif

namespace mstack::daemon {

Expected<Fd> create_packet_memory(std::uint64_t size) {
  constexpr const char* name = "mstack-packets";
  Fd memory(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL));
  if (!memory && errno == EINVAL) memory = Fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory) return system_failure(errno, "cannot make packet memory");
  if (::ftruncate(memory.get(), static_cast<off_t>(size)) < 0)
    return system_failure(errno, "cannot make packet memory of " + std::to_string(size >> 20) + " MiB");
  if (::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
    return system_failure(errno, "cannot seal packet memory");
  return memory;
}

Expected<Fd> create_xsk(const XskOptions& options) {
  Fd xsk(::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (!xsk) return system_failure(errno, "cannot make an AF_XDP socket");

  const std::uint64_t size = std::uint64_t{options.frames} * options.frame_size;
  {
    // The kernel takes hold of the pages; our view of them is not needed after that.
    const auto view =
        Mapping::shared(options.memory, size, static_cast<off_t>(options.offset), "a queue's packet memory");
    if (!view) return std::unexpected(view.error());
    xdp_umem_reg umem = {};
    umem.addr = reinterpret_cast<std::uintptr_t>(view->data());
    umem.len = size;
    umem.chunk_size = options.frame_size;
    if (auto registered = register_umem(xsk.get(), umem, options.account); !registered)
      return std::unexpected(registered.error());
  }
  const int entries = static_cast<int>(options.ring_size);
  for (const int ring : {XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING, XDP_TX_RING})
    if (::setsockopt(xsk.get(), SOL_XDP, ring, &entries, sizeof(entries)) < 0)
      return system_failure(errno, "cannot make a ring of " + std::to_string(entries) + " entries");
  return xsk;
}

Expected<void> bind_xsk(int xsk, std::uint32_t ifindex, bool multi_buffer) {
  sockaddr_xdp address = {};
  address.sxdp_family = AF_XDP;
  address.sxdp_flags = XDP_COPY | XDP_USE_NEED_WAKEUP;
  if (multi_buffer) address.sxdp_flags |= XDP_USE_SG;
  address.sxdp_ifindex = ifindex;
  if (::bind(xsk, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0)
    return system_failure(errno, "cannot bind an AF_XDP socket to a stack end");
  return {};
}

Expected<std::uint64_t> socket_cookie(int socket) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  if (::getsockopt(socket, SOL_SOCKET, SO_COOKIE, &cookie, &size) < 0)
    return system_failure(errno, "cannot read a socket's cookie");
  return cookie;
}

bool is_xsk(int descriptor) {
  int domain = 0;
  socklen_t size = sizeof(domain);
  return ::getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_XDP;
}

}  // namespace mstack::daemon
