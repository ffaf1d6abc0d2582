// SPDX-License-Identifier: BSD-2-Clause
#include "support/multi_buffer.hpp"

#include <linux/if_xdp.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <atomic>

#include "support/deadline.hpp"

namespace mstack::test {
namespace {

constexpr std::uint32_t entries = 64;
constexpr std::size_t memory_size = std::size_t{64} * 2048;

std::span<std::uint8_t> map(int fd, std::size_t size, off_t offset) {
  void* const at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
  if (at == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
  return {static_cast<std::uint8_t*>(at), size};
}

}  // namespace

bool kernel_has_multi_buffer() {
  const Fd socket(check(::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0), "socket"));
  sockaddr_xdp nowhere{};
  nowhere.sxdp_family = AF_XDP;
  nowhere.sxdp_flags = 1 << 4;  // XDP_USE_SG
  return ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&nowhere), sizeof(nowhere)) < 0 && errno != EINVAL;
}

RawTx::RawTx(const RawClient::Answer& opened) : socket_(opened.fds.at(1).get()) {
  xdp_mmap_offsets offsets{};
  socklen_t size = sizeof(offsets);
  check(::getsockopt(socket_, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &size), "XDP_MMAP_OFFSETS");
  memory_ = map(opened.fds.at(0).get(), memory_size, 0);
  ring_ = map(socket_, offsets.tx.desc + entries * sizeof(TxDescriptor), XDP_PGOFF_TX_RING);
  completions_ = map(socket_, offsets.cr.desc + entries * sizeof(std::uint64_t),
                     static_cast<off_t>(XDP_UMEM_PGOFF_COMPLETION_RING));
  completed_ = reinterpret_cast<std::uint32_t*>(completions_.data() + offsets.cr.producer);
  taken_ = reinterpret_cast<std::uint32_t*>(completions_.data() + offsets.cr.consumer);
  producer_ = reinterpret_cast<std::uint32_t*>(ring_.data() + offsets.tx.producer);
  consumer_ = reinterpret_cast<std::uint32_t*>(ring_.data() + offsets.tx.consumer);
  entries_ = reinterpret_cast<TxDescriptor*>(ring_.data() + offsets.tx.desc);
}

RawTx::~RawTx() {
  ::munmap(completions_.data(), completions_.size());
  ::munmap(ring_.data(), ring_.size());
  ::munmap(memory_.data(), memory_.size());
}

void RawTx::send(std::span<const TxDescriptor> descriptors) {
  const Deadline deadline;
  const auto kick = [&] {
    (void)::sendto(socket_, nullptr, 0, MSG_DONTWAIT, nullptr, 0);
    std::atomic_ref(*taken_).store(std::atomic_ref(*completed_).load());
    if (deadline.passed()) throw std::runtime_error("the kernel takes no descriptors");
  };
  std::uint32_t next = *producer_;
  for (const TxDescriptor& descriptor : descriptors) {
    while (next - std::atomic_ref(*consumer_).load() == entries) kick();
    entries_[next++ % entries] = descriptor;
    std::atomic_ref(*producer_).store(next);
  }
  while (std::atomic_ref(*consumer_).load() != next) kick();
}

}  // namespace mstack::test
