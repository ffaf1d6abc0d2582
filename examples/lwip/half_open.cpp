// SPDX-License-Identifier: BSD-2-Clause
#include "half_open.hpp"

#include <lwip/priv/tcp_priv.h>

#include <iterator>

namespace mstack_lwip {

void HalfOpen::see(tcp_pcb* pcb) {
  static const tcp_ext_arg_callbacks callbacks = {
      .destroy = [](u8_t, void* data) { forget(static_cast<Entry*>(data)); }, .passive_open = nullptr};
  auto* entry = static_cast<Entry*>(tcp_ext_arg_get(pcb, argument_));
  if (pcb->state != SYN_RCVD) {
    forget(entry);
    tcp_ext_arg_set(pcb, argument_, nullptr);
  } else if (entry == nullptr) {
    if (entries_.size() == most) drop_oldest();
    entry = &entries_.emplace_back(Entry{.pcb = pcb, .entries = &entries_, .self = {}});
    entry->self = std::prev(entries_.end());
    tcp_ext_arg_set_callbacks(pcb, argument_, &callbacks);
    tcp_ext_arg_set(pcb, argument_, entry);
  }
}

void HalfOpen::drop_oldest() {
  while (!entries_.empty()) {
    tcp_pcb* const pcb = entries_.front().pcb;
    // Established since, in an input that ended with another connection in front.
    if (pcb->state != SYN_RCVD) {
      see(pcb);
      continue;
    }
    // Without a reset: it would go to whoever has that address. A client that was only slow gets one when he goes on.
    tcp_abandon(pcb, 0);
    return;
  }
}

void HalfOpen::forget(Entry* entry) {
  if (entry != nullptr) entry->entries->erase(entry->self);
}

}  // namespace mstack_lwip
