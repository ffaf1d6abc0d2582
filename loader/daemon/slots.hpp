// SPDX-License-Identifier: BSD-2-Clause
//
// Which slots are taken. A slot is one queue of one vport: the index of its maps' entries and the ifindex of its stack
// end, so a vport's slots are contiguous. No system calls.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <utility>

#include "mstack_abi.h"

namespace mstack::daemon {

class SlotAllocator {
 public:
  // Slot 0 does not exist, and no stack end can have ifindex 1: that is the loopback device of every namespace.
  static constexpr std::uint32_t first = 2;
  static constexpr std::uint32_t end = MSTACK_MAX_SLOTS;

  // The lowest free run of `count` slots, now taken. nullopt: there is none.
  std::optional<std::uint32_t> allocate(std::uint32_t count);
  // These very slots, of a vport that is taken over. False: one of them is taken, or does not exist.
  bool take(std::uint32_t slot, std::uint32_t count);
  void release(std::uint32_t slot, std::uint32_t count);
  [[nodiscard]] bool is_free(std::uint32_t slot, std::uint32_t count) const;

 private:
  std::bitset<end> taken_;
};

// Slots that are taken until this goes. It is the first member of a vport, hence the last to go: nobody else is given
// a slot while anything of the vport is left.
class SlotLease {
 public:
  SlotLease(SlotAllocator& allocator, std::uint32_t slot, std::uint32_t count)
      : allocator_(&allocator), slot_(slot), count_(count) {}
  SlotLease(SlotLease&& other) noexcept
      : allocator_(std::exchange(other.allocator_, nullptr)), slot_(other.slot_), count_(other.count_) {}
  SlotLease& operator=(SlotLease&&) = delete;
  ~SlotLease() {
    if (allocator_) allocator_->release(slot_, count_);
  }

  [[nodiscard]] std::uint32_t slot() const { return slot_; }
  [[nodiscard]] std::uint32_t count() const { return count_; }

 private:
  SlotAllocator* allocator_;
  std::uint32_t slot_, count_;
};

}  // namespace mstack::daemon
