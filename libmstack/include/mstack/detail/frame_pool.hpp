// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <vector>

namespace mstack::detail {

// Who has a frame. Each frame has exactly one state, so that none is lost, and none is handed out twice: not by a
// mistake of the application, and not by an address in a ring that should not be there.
enum class FrameState : std::uint8_t {
  pool,    // nobody
  filled,  // the kernel, to receive into, or received and not looked at yet
  lent,    // the application, until its callback returns
  held,    // the application, until it transmits the frame or gives it back
  sent,    // the kernel, to transmit
};

// The states, and the free frames as a stack: the frame used last is the one still in the cache.
class FramePool {
 public:
  explicit FramePool(std::uint32_t frames) : states_(frames, FrameState::pool), free_(frames), available_(frames) {
    for (std::uint32_t i = 0; i < frames; ++i) free_[i] = frames - 1 - i;
  }

  [[nodiscard]] std::uint32_t frames() const { return static_cast<std::uint32_t>(states_.size()); }
  [[nodiscard]] std::uint32_t available() const { return available_; }
  [[nodiscard]] FrameState state(std::uint32_t frame) const { return states_[frame]; }

  // One must be available().
  [[nodiscard]] std::uint32_t take(FrameState to) {
    const std::uint32_t frame = free_[--available_];
    states_[frame] = to;
    return frame;
  }
  // Between states other than `pool`. The frame must exist.
  [[nodiscard]] bool move(std::uint32_t frame, FrameState from, FrameState to) {
    if (states_[frame] != from) return false;
    states_[frame] = to;
    return true;
  }
  // False if the frame is not in that state, which must not be `pool`.
  bool put_back(std::uint32_t frame, FrameState from) {
    if (states_[frame] != from) return false;
    states_[frame] = FrameState::pool;
    free_[available_++] = frame;
    return true;
  }

 private:
  std::vector<FrameState> states_;
  std::vector<std::uint32_t> free_;
  std::uint32_t available_;
};

}  // namespace mstack::detail
