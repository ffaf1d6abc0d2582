// SPDX-License-Identifier: BSD-2-Clause
//
// AF_XDP with nothing in between, as a program of its own would use it: no owner of a frame, no check of a ring, a
// UMEM of which one half receives and the other sends.
#pragma once

#include <linux/if_xdp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "mapping.hpp"
#include "support/netns.hpp"

namespace mstack::bench {

template <class Entry>
struct RawRing {
  std::uint32_t* producer = nullptr;
  std::uint32_t* consumer = nullptr;
  std::uint32_t* flags = nullptr;
  Entry* entries = nullptr;
  std::uint32_t mine = 0;   // the index that this side writes
  std::uint32_t other = 0;  // the other side's, when last looked at
};

class RawSocket {
 public:
  // Bound to queue 0 of the interface, in copy mode as a vport's socket is.
  RawSocket(const test::Namespace& netns, const std::string& interface);
  RawSocket(RawSocket&&) = delete;

  [[nodiscard]] int fd() const { return socket_.get(); }

  // At most `max` frames; each goes back to be filled again.
  template <class Callback>
  std::size_t receive(std::uint32_t max, Callback&& callback) {
    if (rx_.other == rx_.mine) rx_.other = std::atomic_ref(*rx_.producer).load(std::memory_order_acquire);
    const std::uint32_t count = std::min(max, rx_.other - rx_.mine);
    if (count == 0) return 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      const xdp_desc descriptor = rx_.entries[rx_.mine++ & mask];
      callback(std::span(umem_ + descriptor.addr, descriptor.len));
      fill_.entries[fill_.mine++ & mask] = descriptor.addr & ~std::uint64_t{frame_size - 1};
    }
    std::atomic_ref(*rx_.consumer).store(rx_.mine, std::memory_order_release);
    std::atomic_ref(*fill_.producer).store(fill_.mine, std::memory_order_release);
    return count;
  }

  // Writes up to `max` frames of `size` bytes and asks the kernel to send what is in the ring. Returns their number.
  template <class Write>
  std::size_t transmit(std::uint32_t max, std::uint32_t size, Write&& write) {
    std::uint32_t count = 0;
    for (; count < max && free_ != 0; ++count, --free_) {
      const std::uint64_t address = std::uint64_t{entries + (next_frame_++ & mask)} * frame_size + headroom;
      write(umem_ + address);
      tx_.entries[tx_.mine++ & mask] = {.addr = address, .len = size, .options = 0};
    }
    std::atomic_ref(*tx_.producer).store(tx_.mine, std::memory_order_seq_cst);
    kick();
    // Completed in the order in which they were sent, so the frames go round.
    completion_.other = std::atomic_ref(*completion_.producer).load(std::memory_order_acquire);
    free_ += completion_.other - completion_.mine;
    completion_.mine = completion_.other;
    std::atomic_ref(*completion_.consumer).store(completion_.mine, std::memory_order_release);
    return count;
  }

  static constexpr std::uint32_t frame_size = 2048, headroom = 256, entries = 2048;  // entries: of each ring

 private:
  static constexpr std::uint32_t mask = entries - 1;
  void kick() const;
  template <class Entry>
  void map(RawRing<Entry>& ring, const xdp_ring_offset& offsets, std::uint64_t where);

  Mapping memory_;
  std::uint8_t* umem_ = nullptr;
  test::Fd socket_;
  std::vector<Mapping> mapped_;
  RawRing<xdp_desc> rx_, tx_;
  RawRing<std::uint64_t> fill_, completion_;
  std::uint32_t free_ = entries, next_frame_ = 0;  // of the half that sends
};

}  // namespace mstack::bench
