// SPDX-License-Identifier: BSD-2-Clause
//
// The four rings of an AF_XDP socket (Documentation/networking/af_xdp.rst): single producer, single consumer, in memory
// shared with the kernel, with free-running 32-bit indices. The writer of an index publishes it with release order
// after the entries, the reader takes it with acquire order before them. Here: pure logic over given memory.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace mstack::detail {

// The kernel's struct xdp_desc.
struct Descriptor {
  std::uint64_t address;  // of the frame's first byte, from the start of the UMEM
  std::uint32_t length;
  std::uint32_t options;
};

template <class Entry>
struct RingMemory {
  std::uint32_t* producer = nullptr;
  std::uint32_t* consumer = nullptr;
  std::uint32_t* flags = nullptr;
  Entry* entries = nullptr;
  std::uint32_t size = 0;  // a power of two
};

inline constexpr std::uint32_t ring_need_wakeup = 1;      // XDP_RING_NEED_WAKEUP
inline constexpr std::uint32_t descriptor_continues = 1;  // XDP_PKT_CONTD: the packet goes on in the next descriptor

// The library's side of the TX and fill rings.
template <class Entry>
class ProducerRing {
 public:
  explicit ProducerRing(const RingMemory<Entry>& memory)
      : memory_(memory), next_(*memory.producer), submitted_(next_), consumer_(next_) {
    refresh();
  }

  // Room for that many entries, or as many as there are. An index of the consumer's that cannot be counts as no room.
  [[nodiscard]] std::uint32_t room(std::uint32_t wanted) {
    if (cached_room() < wanted) refresh();
    return std::min(wanted, cached_room());
  }
  // There must be room().
  void push(const Entry& entry) { memory_.entries[next_++ & (memory_.size - 1)] = entry; }
  // Sequentially consistent, as is needs_wakeup(): were its read to come before this store, both sides could sleep.
  void submit() {
    if (submitted_ == next_) return;
    std::atomic_ref(*memory_.producer).store(next_, std::memory_order_seq_cst);
    submitted_ = next_;
  }
  // Submitted entries that the kernel has not taken.
  [[nodiscard]] std::uint32_t waiting() {
    refresh();
    return submitted_ - consumer_;
  }
  // To be asked after submit().
  [[nodiscard]] bool needs_wakeup() const {
    return std::atomic_ref(*memory_.flags).load(std::memory_order_seq_cst) & ring_need_wakeup;
  }
  [[nodiscard]] std::uint32_t size() const { return memory_.size; }

 private:
  // Acquire: the kernel has read an entry before it gives its place back.
  void refresh() {
    const std::uint32_t consumer = std::atomic_ref(*memory_.consumer).load(std::memory_order_acquire);
    if (next_ - consumer <= memory_.size && submitted_ - consumer <= memory_.size) consumer_ = consumer;
  }
  [[nodiscard]] std::uint32_t cached_room() const { return memory_.size - (next_ - consumer_); }

  RingMemory<Entry> memory_;
  std::uint32_t next_;       // where push() writes
  std::uint32_t submitted_;  // the index as the kernel sees it
  std::uint32_t consumer_;   // the kernel's, when last looked at
};

// The library's side of the RX and completion rings.
template <class Entry>
class ConsumerRing {
 public:
  explicit ConsumerRing(const RingMemory<Entry>& memory)
      : memory_(memory), next_(*memory.consumer), released_(next_), producer_(next_) {}

  // How many entries can be popped, at most `wanted`. An index of the producer's that cannot be counts as none.
  [[nodiscard]] std::uint32_t available(std::uint32_t wanted) {
    if (producer_ - next_ < wanted) {
      const std::uint32_t producer = std::atomic_ref(*memory_.producer).load(std::memory_order_acquire);
      if (producer - next_ <= memory_.size && producer - next_ >= producer_ - next_) producer_ = producer;
    }
    return std::min(wanted, producer_ - next_);
  }
  // There must be one available(). By value: the place is the kernel's again after release().
  [[nodiscard]] Entry pop() { return memory_.entries[next_++ & (memory_.size - 1)]; }
  void release() {
    if (released_ == next_) return;
    std::atomic_ref(*memory_.consumer).store(next_, std::memory_order_release);
    released_ = next_;
  }
  [[nodiscard]] std::uint32_t size() const { return memory_.size; }

 private:
  RingMemory<Entry> memory_;
  std::uint32_t next_;      // where pop() reads
  std::uint32_t released_;  // the index as the kernel sees it
  std::uint32_t producer_;  // the kernel's, when last looked at
};

}  // namespace mstack::detail
