// SPDX-License-Identifier: BSD-2-Clause
//
// One queue's frames and rings, without the system calls: what is inlined into the application's loop, and what the
// unit tests run over rings in plain memory.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <optional>

#include "mstack/detail/frame_pool.hpp"
#include "mstack/detail/ring.hpp"
#include "mstack/frame.hpp"

namespace mstack::detail {

struct DataPathMemory {
  std::uint8_t* umem = nullptr;  // aligned to frame_size
  std::uint32_t frames = 0;
  std::uint32_t frame_size = 0;  // a power of two, above frame_headroom
  RingMemory<Descriptor> rx, tx;
  RingMemory<std::uint64_t> fill, completion;
};

// Where the data of a new frame begins. The kernel leaves as much before a received one (XDP_PACKET_HEADROOM).
inline constexpr std::uint32_t frame_headroom = 256;

struct DataPathCounters {
  std::uint64_t rx_frames = 0, rx_bytes = 0;
  std::uint64_t tx_frames = 0, tx_bytes = 0;  // put into the TX ring
  std::uint64_t tx_ring_full = 0;             // transmit() had no room
  std::uint64_t misused = 0;                  // frames that were not the caller's to transmit, keep or give back
  std::uint64_t bad_entries = 0;              // entries from the kernel that name no frame it has
};

class DataPath {
 public:
  explicit DataPath(const DataPathMemory& memory)
      : umem_(memory.umem),
        frame_size_(memory.frame_size),
        frame_shift_(static_cast<std::uint32_t>(std::countr_zero(memory.frame_size))),
        // A quarter is never given to the receive side: a flood must not keep the application from sending.
        most_filled_(memory.frames - memory.frames / 4),
        pool_(memory.frames),
        rx_(memory.rx),
        tx_(memory.tx),
        fill_(memory.fill),
        completion_(memory.completion) {}

  template <std::invocable<Frame> Callback>
  std::size_t receive(std::size_t max, Callback&& callback) {
    const std::uint32_t count = rx_.available(static_cast<std::uint32_t>(std::min<std::size_t>(max, rx_.size())));
    if (count == 0) return 0;
    const EndOfBatch end{*this};
    for (std::uint32_t i = 0; i < count; ++i) {
      const Descriptor descriptor = rx_.pop();
      const std::uint64_t frame = descriptor.address >> frame_shift_;
      const std::uint64_t offset = descriptor.address & (frame_size_ - 1);
      if (frame >= pool_.frames() || offset + descriptor.length > frame_size_ ||
          !pool_.move(static_cast<std::uint32_t>(frame), FrameState::filled, FrameState::lent)) {
        ++counters_.bad_entries;
        continue;
      }
      --filled_;
      ++counters_.rx_frames;
      counters_.rx_bytes += descriptor.length;
      const EndOfLoan loan{*this, static_cast<std::uint32_t>(frame)};
      callback(Frame(umem_ + descriptor.address, descriptor.length, frame_size_));
    }
    return count;
  }

  [[nodiscard]] std::optional<Frame> allocate() {
    if (pool_.available() == 0 && reap() == 0) return std::nullopt;
    const std::uint64_t frame = pool_.take(FrameState::held);
    return Frame(umem_ + (frame << frame_shift_) + frame_headroom, 0, frame_size_);
  }

  bool transmit(const Frame& frame) {
    const std::uint64_t index = index_of(frame);
    // The kernel drops a descriptor that is empty or leaves its frame without ever giving the frame back.
    if (index >= pool_.frames() || !is_with_caller(index) || frame.size_ == 0 || frame.size_ > frame.capacity()) {
      ++counters_.misused;
      return false;
    }
    if (tx_.room(1) == 0) {
      ++counters_.tx_ring_full;
      return false;
    }
    const FrameState state = pool_.state(static_cast<std::uint32_t>(index));
    static_cast<void>(pool_.move(static_cast<std::uint32_t>(index), state, FrameState::sent));
    tx_.push({.address = static_cast<std::uint64_t>(frame.data_ - umem_), .length = frame.size_, .options = 0});
    ++counters_.tx_frames;
    counters_.tx_bytes += frame.size_;
    return true;
  }

  bool keep(const Frame& frame) {
    const std::uint64_t index = index_of(frame);
    if (index < pool_.frames() && pool_.move(static_cast<std::uint32_t>(index), FrameState::lent, FrameState::held))
      return true;
    ++counters_.misused;
    return false;
  }

  bool give_back(const Frame& frame) {
    const std::uint64_t index = index_of(frame);
    if (index < pool_.frames() && is_with_caller(index))
      return pool_.put_back(static_cast<std::uint32_t>(index), pool_.state(static_cast<std::uint32_t>(index)));
    ++counters_.misused;
    return false;
  }

  // What the kernel has sent goes back to the pool. Returns how many frames did.
  std::uint32_t reap() {
    const std::uint32_t count = completion_.available(completion_.size());
    std::uint32_t returned = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint64_t frame = completion_.pop() >> frame_shift_;
      if (frame < pool_.frames() && pool_.put_back(static_cast<std::uint32_t>(frame), FrameState::sent))
        ++returned;
      else
        ++counters_.bad_entries;
    }
    completion_.release();
    return returned;
  }

  // Gives free frames to the kernel to receive into.
  void refill() {
    const std::uint32_t wanted = std::min(most_filled_ - filled_, pool_.available());
    if (wanted == 0) return;
    const std::uint32_t count = fill_.room(wanted);
    for (std::uint32_t i = 0; i < count; ++i) fill_.push(std::uint64_t{pool_.take(FrameState::filled)} << frame_shift_);
    filled_ += count;
    fill_.submit();
  }

  void submit() { tx_.submit(); }
  [[nodiscard]] bool has_received() { return rx_.available(1) != 0; }
  [[nodiscard]] std::uint32_t unsent() { return tx_.waiting(); }
  [[nodiscard]] bool tx_needs_wakeup() const { return tx_.needs_wakeup(); }
  [[nodiscard]] bool fill_needs_wakeup() const { return fill_.needs_wakeup(); }
  [[nodiscard]] const DataPathCounters& counters() const { return counters_; }
  [[nodiscard]] const FramePool& pool() const { return pool_; }

 private:
  // Destructors, so that an exception thrown by the application's callback loses no frame on its way.
  struct EndOfBatch {
    DataPath& path;
    ~EndOfBatch() {
      path.rx_.release();
      path.refill();
    }
  };
  struct EndOfLoan {
    DataPath& path;
    std::uint32_t frame;
    ~EndOfLoan() { path.pool_.put_back(frame, FrameState::lent); }  // unless it was transmitted or kept
  };

  // Of a frame of another queue, a number that is no frame of this one.
  [[nodiscard]] std::uint64_t index_of(const Frame& frame) const {
    return (reinterpret_cast<std::uintptr_t>(frame.data_) - reinterpret_cast<std::uintptr_t>(umem_)) >> frame_shift_;
  }
  [[nodiscard]] bool is_with_caller(std::uint64_t index) const {
    const FrameState state = pool_.state(static_cast<std::uint32_t>(index));
    return state == FrameState::lent || state == FrameState::held;
  }

  std::uint8_t* umem_;
  std::uint32_t frame_size_;
  std::uint32_t frame_shift_;
  std::uint32_t most_filled_;
  std::uint32_t filled_ = 0;  // frames in state `filled`
  FramePool pool_;
  ConsumerRing<Descriptor> rx_;
  ProducerRing<Descriptor> tx_;
  ProducerRing<std::uint64_t> fill_;
  ConsumerRing<std::uint64_t> completion_;
  DataPathCounters counters_;
};

}  // namespace mstack::detail
