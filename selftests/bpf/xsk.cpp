// SPDX-License-Identifier: BSD-2-Clause
#include "xsk.hpp"

#include <net/if.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace bpf_test {
namespace {

void check(int result, const char* what) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), what);
}

// Rings start on a page, and the offsets of their words are multiples of 4.
std::atomic_ref<std::uint32_t> word(void* ring, std::uint64_t offset) {
  return std::atomic_ref(static_cast<std::uint32_t*>(ring)[offset / sizeof(std::uint32_t)]);
}

}  // namespace

Xsk::Xsk(const std::string& interface, std::uint32_t queue, std::uint16_t mode)
    : socket_(socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0)) {
  check(socket_.get(), "socket(AF_XDP)");
  void* memory = mmap(nullptr, frame_count * frame_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) check(-1, "mmap");
  umem_ = static_cast<std::uint8_t*>(memory);
  xdp_umem_reg umem{};
  umem.addr = reinterpret_cast<std::uintptr_t>(umem_);
  umem.len = frame_count * frame_size;
  umem.chunk_size = frame_size;
  check(setsockopt(socket_.get(), SOL_XDP, XDP_UMEM_REG, &umem, sizeof umem), "XDP_UMEM_REG");
  const std::uint32_t entries = frame_count;
  for (const int ring : {XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING}) {
    check(setsockopt(socket_.get(), SOL_XDP, ring, &entries, sizeof entries), "ring");
  }
  xdp_mmap_offsets offsets{};
  socklen_t size = sizeof offsets;
  check(getsockopt(socket_.get(), SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &size), "XDP_MMAP_OFFSETS");

  const std::size_t fill_size = offsets.fr.desc + frame_count * sizeof(std::uint64_t);
  std::uint8_t* fill = map_ring(fill_size, XDP_UMEM_PGOFF_FILL_RING);
  for (std::uint64_t i = 0; i < frame_count; ++i) {
    const std::uint64_t address = i * frame_size;
    std::memcpy(fill + offsets.fr.desc + i * sizeof address, &address, sizeof address);
  }
  word(fill, offsets.fr.producer).store(frame_count, std::memory_order_release);
  munmap(fill, fill_size);

  receive_ring_size_ = offsets.rx.desc + frame_count * sizeof(xdp_desc);
  receive_ring_ = map_ring(receive_ring_size_, XDP_PGOFF_RX_RING);
  producer_ = offsets.rx.producer;
  consumer_ = offsets.rx.consumer;
  descriptors_ = offsets.rx.desc;

  sockaddr_xdp address{};
  address.sxdp_family = AF_XDP;
  address.sxdp_flags = mode;
  address.sxdp_ifindex = if_nametoindex(interface.c_str());
  address.sxdp_queue_id = queue;
  check(bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), "bind(AF_XDP)");
}

bool Xsk::zero_copy() const {
  xdp_options options{};
  socklen_t size = sizeof options;
  check(getsockopt(socket_.get(), SOL_XDP, XDP_OPTIONS, &options, &size), "XDP_OPTIONS");
  return (options.flags & XDP_OPTIONS_ZEROCOPY) != 0;
}

void Xsk::close() {
  close_descriptor();
  if (receive_ring_ != nullptr) munmap(std::exchange(receive_ring_, nullptr), receive_ring_size_);
  if (umem_ != nullptr) munmap(std::exchange(umem_, nullptr), frame_count * frame_size);
}

std::uint8_t* Xsk::map_ring(std::size_t size, std::uint64_t offset) {
  void* ring =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, socket_.get(), static_cast<off_t>(offset));
  if (ring == MAP_FAILED) check(-1, "mmap of a ring");
  return static_cast<std::uint8_t*>(ring);
}

std::optional<Bytes> Xsk::receive() {
  const std::uint32_t next = word(receive_ring_, consumer_).load(std::memory_order_relaxed);
  pollfd ready{.fd = socket_.get(), .events = POLLIN, .revents = 0};
  if (word(receive_ring_, producer_).load(std::memory_order_acquire) == next && poll(&ready, 1, 10000) != 1) {
    return std::nullopt;
  }
  if (word(receive_ring_, producer_).load(std::memory_order_acquire) == next) return std::nullopt;
  xdp_desc descriptor{};
  std::memcpy(&descriptor, receive_ring_ + descriptors_ + (next % frame_count) * sizeof descriptor, sizeof descriptor);
  Bytes frame(umem_ + descriptor.addr, umem_ + descriptor.addr + descriptor.len);
  word(receive_ring_, consumer_).store(next + 1, std::memory_order_release);
  return frame;
}

}  // namespace bpf_test
