// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/slots.hpp"

namespace mstack::daemon {

bool SlotAllocator::is_free(std::uint32_t slot, std::uint32_t count) const {
  if (slot < first || slot >= end || count == 0 || count > end - slot) return false;
  for (std::uint32_t i = 0; i < count; ++i)
    if (taken_[slot + i]) return false;
  return true;
}

std::optional<std::uint32_t> SlotAllocator::allocate(std::uint32_t count) {
  for (std::uint32_t slot = first; slot < end; ++slot)
    if (take(slot, count)) return slot;
  return std::nullopt;
}

bool SlotAllocator::take(std::uint32_t slot, std::uint32_t count) {
  if (!is_free(slot, count)) return false;
  for (std::uint32_t i = 0; i < count; ++i) taken_[slot + i] = true;
  return true;
}

void SlotAllocator::release(std::uint32_t slot, std::uint32_t count) {
  for (std::uint32_t i = slot; i < slot + count && i < end; ++i) taken_[i] = false;
}

}  // namespace mstack::daemon
