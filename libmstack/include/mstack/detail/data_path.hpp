// SPDX-License-Identifier: BSD-2-Clause
//
// One queue's frames and rings, without the system calls: what is inlined into the application's loop, and what the
// unit tests run over rings in plain memory.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstdint>
#include <optional>
#include <span>

#include "mstack/detail/frame_pool.hpp"
#include "mstack/detail/ring.hpp"
#include "mstack/frame.hpp"

namespace mstack::detail {

struct DataPathMemory {
  std::uint8_t* umem = nullptr;  // aligned to frame_size
  std::uint32_t frames = 0;
  std::uint32_t frame_size = 0;  // a power of two, above frame_headroom
  bool multi_buffer = false;
  RingMemory<Descriptor> rx, tx;
  RingMemory<std::uint64_t> fill, completion;
};

// Where the data of a new frame begins. The kernel leaves as much before a received one (XDP_PACKET_HEADROOM).
inline constexpr std::uint32_t frame_headroom = 256;

// Who is given the frames of a received packet: one after the other, or all at once. What takes anything, as a generic
// lambda, takes frames.
template <class Callback>
concept FrameCallback = std::invocable<Callback, Frame>;
template <class Callback>
concept PacketCallback = !FrameCallback<Callback> && std::invocable<Callback, std::span<Frame>>;

struct DataPathCounters {
  std::uint64_t rx_frames = 0, rx_bytes = 0;
  std::uint64_t tx_frames = 0, tx_bytes = 0;  // put into the TX ring
  std::uint64_t tx_completed = 0;             // frames that came back
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
        max_packet_frames_(memory.multi_buffer ? max_packet_frames : 1),
        // A quarter is never given to the receive side: a flood must not keep the application from sending.
        most_filled_(memory.frames - memory.frames / 4),
        pool_(memory.frames),
        rx_(memory.rx),
        tx_(memory.tx),
        fill_(memory.fill),
        completion_(memory.completion) {}

  template <class Callback>
  requires FrameCallback<Callback> || PacketCallback<Callback> std::size_t receive(std::size_t max,
                                                                                   Callback&& callback) {
    std::uint32_t count = rx_.available(static_cast<std::uint32_t>(std::min<std::size_t>(max, rx_.size())));
    if (count == 0) return 0;
    const EndOfBatch end{*this};
    for (std::uint32_t i = 0; i < count; ++i) {
      const Descriptor descriptor = rx_.pop();
      if (descriptor.options & descriptor_continues) [[unlikely]] {
        const std::uint32_t taken = receive_run(descriptor, callback);
        i += taken - 1;
        count = std::max(count, i + 1);
        continue;
      }
      if (!borrow(descriptor)) continue;
      const std::uint32_t index = frame_of(descriptor);
      const EndOfLoan loan{*this, std::span(&index, 1)};
      Frame frame = view_of(descriptor);
      hand_out(std::span(&frame, 1), callback);
    }
    return count;
  }

  [[nodiscard]] std::optional<Frame> allocate() {
    if (pool_.available() == 0 && reap() == 0) return std::nullopt;
    const std::uint64_t frame = pool_.take(FrameState::held);
    return Frame(umem_ + (frame << frame_shift_) + frame_headroom, 0, frame_size_);
  }

  bool transmit(const Frame& frame) {
    if (!can_be_sent(frame)) {
      ++counters_.misused;
      return false;
    }
    if (tx_.room(1) == 0) {
      ++counters_.tx_ring_full;
      return false;
    }
    take_from_caller(frame);
    push(frame, 0);
    return true;
  }

  // All of them or none: the kernel never sees half a packet.
  bool transmit(std::span<const Frame> packet) {
    // The kernel takes a longer packet for several, and does not give back all frames of the first.
    if (packet.empty() || packet.size() > max_packet_frames_) {
      ++counters_.misused;
      return false;
    }
    const auto count = static_cast<std::uint32_t>(packet.size());
    if (tx_.room(count) < count) {
      ++counters_.tx_ring_full;
      return false;
    }
    std::array<FrameState, max_packet_frames> before;
    for (std::uint32_t i = 0; i < count; ++i) {
      if (!can_be_sent(packet[i])) {  // or is in the packet twice
        while (i-- > 0) static_cast<void>(pool_.move(frame_of(packet[i]), FrameState::sent, before[i]));
        ++counters_.misused;
        return false;
      }
      before[i] = take_from_caller(packet[i]);
    }
    for (std::uint32_t i = 0; i < count; ++i) push(packet[i], i + 1 < count ? descriptor_continues : 0);
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
    counters_.tx_completed += returned;
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
  // Frames that were transmitted and did not come back.
  [[nodiscard]] std::uint32_t in_flight() const {
    return static_cast<std::uint32_t>(counters_.tx_frames - counters_.tx_completed);
  }
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
    std::span<const std::uint32_t> frames;
    ~EndOfLoan() {
      for (const std::uint32_t frame : frames)
        path.pool_.put_back(frame, FrameState::lent);  // unless it was transmitted or kept
    }
  };

  template <class Callback>
  static void hand_out(std::span<Frame> packet, Callback& callback) {
    if constexpr (PacketCallback<Callback>)
      callback(packet);
    else
      for (const Frame frame : packet) callback(frame);
  }

  // What was received is the callback's now, if the entry names a frame that the kernel had.
  [[nodiscard]] bool borrow(const Descriptor& descriptor) {
    const std::uint64_t frame = descriptor.address >> frame_shift_;
    const std::uint64_t offset = descriptor.address & (frame_size_ - 1);
    if (frame >= pool_.frames() || offset + descriptor.length > frame_size_ ||
        !pool_.move(static_cast<std::uint32_t>(frame), FrameState::filled, FrameState::lent)) {
      ++counters_.bad_entries;
      return false;
    }
    --filled_;
    ++counters_.rx_frames;
    counters_.rx_bytes += descriptor.length;
    return true;
  }
  // Of one that was borrowed.
  [[nodiscard]] std::uint32_t frame_of(const Descriptor& descriptor) const {
    return static_cast<std::uint32_t>(descriptor.address >> frame_shift_);
  }
  [[nodiscard]] Frame view_of(const Descriptor& descriptor) const {
    return Frame(umem_ + descriptor.address, descriptor.length, frame_size_,
                 (descriptor.options & descriptor_continues) != 0);
  }

  // A packet of several frames, of which the first entry was popped. The kernel publishes packets whole: the other
  // entries are there, and not too many. What has an entry too many, too few or none of ours is dropped, to its end.
  // Returns the number of entries.
  template <class Callback>
  [[gnu::noinline]] std::uint32_t receive_run(Descriptor descriptor, Callback& callback) {
    std::array<Frame, max_packet_frames> packet;
    std::array<std::uint32_t, max_packet_frames> frames;
    std::uint32_t entries = 1, borrowed = 0;
    for (;; ++entries) {
      if (entries <= max_packet_frames_ && borrow(descriptor)) {
        frames[borrowed] = frame_of(descriptor);
        packet[borrowed++] = view_of(descriptor);
      } else if (entries > max_packet_frames_ && borrow(descriptor)) {
        pool_.put_back(frame_of(descriptor), FrameState::lent);
      }
      if (!(descriptor.options & descriptor_continues) || rx_.available(1) == 0) break;
      descriptor = rx_.pop();
    }
    const EndOfLoan loan{*this, std::span(frames).first(borrowed)};
    if (borrowed == entries && !(descriptor.options & descriptor_continues))
      hand_out(std::span(packet).first(borrowed), callback);
    else
      ++counters_.bad_entries;
    return entries;
  }

  // The kernel drops a descriptor that is empty or leaves its frame without ever giving the frame back.
  [[nodiscard]] bool can_be_sent(const Frame& frame) const {
    const std::uint64_t index = index_of(frame);
    return index < pool_.frames() && is_with_caller(index) && frame.size_ != 0 && frame.size_ <= frame.capacity();
  }
  // Returns the state that it was in.
  FrameState take_from_caller(const Frame& frame) {
    const std::uint32_t index = frame_of(frame);
    const FrameState state = pool_.state(index);
    static_cast<void>(pool_.move(index, state, FrameState::sent));
    return state;
  }
  void push(const Frame& frame, std::uint32_t options) {
    tx_.push({.address = static_cast<std::uint64_t>(frame.data_ - umem_), .length = frame.size_, .options = options});
    ++counters_.tx_frames;
    counters_.tx_bytes += frame.size_;
  }

  // Of a frame of another queue, a number that is no frame of this one.
  [[nodiscard]] std::uint64_t index_of(const Frame& frame) const {
    return (reinterpret_cast<std::uintptr_t>(frame.data_) - reinterpret_cast<std::uintptr_t>(umem_)) >> frame_shift_;
  }
  // Of a frame that is known to be of this queue.
  [[nodiscard]] std::uint32_t frame_of(const Frame& frame) const { return static_cast<std::uint32_t>(index_of(frame)); }
  [[nodiscard]] bool is_with_caller(std::uint64_t index) const {
    const FrameState state = pool_.state(static_cast<std::uint32_t>(index));
    return state == FrameState::lent || state == FrameState::held;
  }

  std::uint8_t* umem_;
  std::uint32_t frame_size_;
  std::uint32_t frame_shift_;
  std::uint32_t max_packet_frames_;
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
