// SPDX-License-Identifier: BSD-2-Clause
//
// A queue's rings and frames in plain memory, and what the kernel does with them.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <map>
#include <memory>
#include <vector>

#include "mstack/detail/data_path.hpp"

namespace mstack::detail {

template <class Entry>
struct FakeRing {
  explicit FakeRing(std::uint32_t size) : entries(size) {}
  RingMemory<Entry> memory() {
    return {.producer = &producer,
            .consumer = &consumer,
            .flags = &flags,
            .entries = entries.data(),
            .size = static_cast<std::uint32_t>(entries.size())};
  }
  void put(const Entry& entry) { entries[producer++ & (entries.size() - 1)] = entry; }
  Entry get() { return entries[consumer++ & (entries.size() - 1)]; }
  [[nodiscard]] std::uint32_t used() const { return producer - consumer; }
  std::uint32_t producer = 0, consumer = 0, flags = 0;
  std::vector<Entry> entries;
};

// The kernel's end of a queue.
class FakeKernel {
 public:
  FakeKernel(std::uint32_t frames, std::uint32_t ring_size, std::uint32_t frame_size = 2048, bool multi_buffer = false)
      : frames_(frames),
        frame_size_(frame_size),
        multi_buffer_(multi_buffer),
        umem_(static_cast<std::uint8_t*>(std::aligned_alloc(4096, std::size_t{frames} * frame_size)), &std::free),
        rx(ring_size),
        tx(ring_size),
        fill(ring_size),
        completion(ring_size) {}

  DataPath path() {
    return DataPath({.umem = umem_.get(),
                     .frames = frames_,
                     .frame_size = frame_size_,
                     .multi_buffer = multi_buffer_,
                     .rx = rx.memory(),
                     .tx = tx.memory(),
                     .fill = fill.memory(),
                     .completion = completion.memory()});
  }
  // As xsk_generic_rcv() does it: a frame from the fill ring, and its descriptor to the RX ring.
  bool deliver(std::uint32_t length, bool continues = false) {
    if (fill.used() == 0 || rx.used() == rx.entries.size()) return false;
    rx.put({.address = fill.get() + frame_headroom, .length = length, .options = continues ? descriptor_continues : 0});
    return true;
  }
  // A packet of several frames.
  bool deliver(std::initializer_list<std::uint32_t> lengths) {
    std::size_t left = lengths.size();
    for (const std::uint32_t length : lengths)
      if (!deliver(length, --left != 0)) return false;
    return true;
  }
  bool send() {
    if (tx.used() == 0 || completion.used() == completion.entries.size()) return false;
    completion.put(tx.get().address);
    return true;
  }
  std::uint8_t* umem() { return umem_.get(); }

 private:
  std::uint32_t frames_, frame_size_;
  bool multi_buffer_;
  std::unique_ptr<std::uint8_t, decltype(&std::free)> umem_;

 public:
  FakeRing<Descriptor> rx, tx;
  FakeRing<std::uint64_t> fill, completion;
};

inline std::map<FrameState, std::uint32_t> census(const DataPath& path) {
  std::map<FrameState, std::uint32_t> count;
  for (std::uint32_t i = 0; i < path.pool().frames(); ++i) ++count[path.pool().state(i)];
  return count;
}

}  // namespace mstack::detail
