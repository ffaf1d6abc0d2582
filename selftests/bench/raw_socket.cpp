// SPDX-License-Identifier: BSD-2-Clause
#include "raw_socket.hpp"

#include <net/if.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cerrno>
#include <stdexcept>

namespace mstack::bench {
namespace {

using test::check;

constexpr std::size_t umem_size = std::size_t{2} * RawSocket::entries * RawSocket::frame_size;

Mapping map_or_throw(int fd, std::size_t size, off_t offset) {
  auto mapping = Mapping::shared(fd, size, offset, "AF_XDP memory");
  if (!mapping) throw std::runtime_error(mapping.error().what);
  return std::move(*mapping);
}

Mapping make_memory() {
  const test::Fd file{check(::memfd_create("bench-umem", MFD_CLOEXEC), "memfd_create")};
  check(::ftruncate(file.get(), umem_size), "ftruncate");
  return map_or_throw(file.get(), umem_size, 0);
}

}  // namespace

RawSocket::RawSocket(const test::Namespace& netns, const std::string& interface)
    : memory_(make_memory()), umem_(reinterpret_cast<std::uint8_t*>(memory_.data())) {
  const test::Namespace::Visit visit = netns.visit();
  socket_ = test::Fd{check(::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0), "socket(AF_XDP)")};
  xdp_umem_reg umem = {};
  umem.addr = reinterpret_cast<std::uintptr_t>(umem_);
  umem.len = umem_size;
  umem.chunk_size = frame_size;
  check(::setsockopt(fd(), SOL_XDP, XDP_UMEM_REG, &umem, sizeof(umem)), "XDP_UMEM_REG");
  for (const int ring : {XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING, XDP_TX_RING})
    check(::setsockopt(fd(), SOL_XDP, ring, &entries, sizeof(entries)), "ring");

  xdp_mmap_offsets offsets = {};
  socklen_t size = sizeof(offsets);
  check(::getsockopt(fd(), SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &size), "XDP_MMAP_OFFSETS");
  map(rx_, offsets.rx, XDP_PGOFF_RX_RING);
  map(tx_, offsets.tx, XDP_PGOFF_TX_RING);
  map(fill_, offsets.fr, XDP_UMEM_PGOFF_FILL_RING);
  map(completion_, offsets.cr, XDP_UMEM_PGOFF_COMPLETION_RING);
  for (; fill_.mine < entries; ++fill_.mine) fill_.entries[fill_.mine] = std::uint64_t{fill_.mine} * frame_size;
  std::atomic_ref(*fill_.producer).store(fill_.mine, std::memory_order_release);

  sockaddr_xdp address = {};
  address.sxdp_family = AF_XDP;
  address.sxdp_flags = XDP_COPY | XDP_USE_NEED_WAKEUP;
  address.sxdp_ifindex = ::if_nametoindex(interface.c_str());
  check(::bind(fd(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), "bind(AF_XDP)");
}

template <class Entry>
void RawSocket::map(RawRing<Entry>& ring, const xdp_ring_offset& offsets, std::uint64_t where) {
  std::byte* memory =
      mapped_.emplace_back(map_or_throw(fd(), offsets.desc + entries * sizeof(Entry), static_cast<off_t>(where)))
          .data();
  const auto at = [&](std::uint64_t offset) { return reinterpret_cast<std::uint32_t*>(memory + offset); };
  ring.producer = at(offsets.producer);
  ring.consumer = at(offsets.consumer);
  ring.flags = at(offsets.flags);
  ring.entries = reinterpret_cast<Entry*>(memory + offsets.desc);
}

void RawSocket::kick() const {
  // A call sends a batch of the kernel's, so there may be more to send after it.
  for (;;) {
    const std::uint32_t before = std::atomic_ref(*tx_.consumer).load(std::memory_order_acquire);
    if (before == tx_.mine) return;
    if (::sendto(fd(), nullptr, 0, MSG_DONTWAIT, nullptr, 0) < 0 && errno != EAGAIN && errno != EBUSY &&
        errno != ENOBUFS)
      check(-1, "sendto(AF_XDP)");
    if (std::atomic_ref(*tx_.consumer).load(std::memory_order_acquire) == before) return;
  }
}

}  // namespace mstack::bench
