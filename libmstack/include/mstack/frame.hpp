// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace mstack {

namespace detail {
class DataPath;
}

/// A view of one frame of a queue's UMEM: an Ethernet frame and the room around it. It does not own the frame, the
/// queue does; copies are views of the same bytes. What a frame may be used for is up to its state, which the queue
/// keeps:
///
/// | it came from       | it may be used                     | and ends with                              |
/// |--------------------|------------------------------------|--------------------------------------------|
/// | Queue::receive()   | until the callback returns         | the callback's return, transmit() or keep() |
/// | keep(), allocate() | until it is transmitted or given back | transmit() or give_back()               |
///
/// A packet is one frame; on a vport with VportOptions::multi_buffer it may be several, up to max_packet_frames, of
/// which the first begins with the Ethernet header.
///
/// Only by the thread that uses the queue.
class Frame {
 public:
  Frame() = default;  ///< of no queue: for arrays of them
  [[nodiscard]] std::uint8_t* data() const { return data_; }
  [[nodiscard]] std::size_t size() const {
    return size_;
  }  ///< bytes; of a packet's first frame, Ethernet header included
  [[nodiscard]] std::span<std::uint8_t> bytes() const { return {data_, size_}; }
  /// Of a received frame: whether its packet goes on in the next one. The next frame then begins with no header.
  [[nodiscard]] bool continues() const { return continues_; }

  /// The largest size() that resize() takes: up to the end of the UMEM frame.
  [[nodiscard]] std::size_t capacity() const { return frame_size_ - headroom(); }
  /// Bytes before data() that belong to the frame: 256 of a new frame.
  [[nodiscard]] std::size_t headroom() const { return reinterpret_cast<std::uintptr_t>(data_) & (frame_size_ - 1); }

  /// Sets the size, keeping data(). False, and nothing changes, if it is more than capacity().
  [[nodiscard]] bool resize(std::size_t size) {
    if (size > capacity()) return false;
    size_ = static_cast<std::uint32_t>(size);
    return true;
  }
  /// Moves data() back by `bytes`, to put a header in front. False, and nothing changes, if that exceeds headroom().
  [[nodiscard]] bool grow_front(std::size_t bytes) {
    if (bytes > headroom()) return false;
    data_ -= bytes;
    size_ += static_cast<std::uint32_t>(bytes);
    return true;
  }
  /// Moves data() on by `bytes`, to take a header off. False, and nothing changes, if it would leave no byte.
  [[nodiscard]] bool shrink_front(std::size_t bytes) {
    if (bytes >= size_) return false;
    data_ += bytes;
    size_ -= static_cast<std::uint32_t>(bytes);
    return true;
  }

 private:
  friend class detail::DataPath;
  Frame(std::uint8_t* data, std::uint32_t size, std::uint32_t frame_size, bool continues = false)
      : data_(data), size_(size), frame_size_(static_cast<std::uint16_t>(frame_size)), continues_(continues) {}

  std::uint8_t* data_ = nullptr;
  std::uint32_t size_ = 0;
  std::uint16_t frame_size_ = 1;  // a power of two, and the UMEM is aligned to it: so headroom() needs no start
  bool continues_ = false;
};
// Passed in two registers.
static_assert(sizeof(Frame) == 16);

/// Frames of one packet, at most, in both directions: what the kernel's sk_buff takes.
inline constexpr std::size_t max_packet_frames = 18;

}  // namespace mstack
