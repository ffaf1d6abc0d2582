// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/events.hpp"

#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "daemon/log.hpp"
#include "messages.hpp"
#include "mstack_abi.h"

namespace mstack::daemon {
namespace {

constexpr std::array verdict_texts = {
#define MSTACK_VERDICT_TEXT(name, text) text,
    MSTACK_VERDICTS(MSTACK_VERDICT_TEXT)
#undef MSTACK_VERDICT_TEXT
};

std::uint64_t seconds() {
  timespec now = {};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec);
}

int show(void* budget, void* data, std::size_t size) {
  mstack_event event;
  if (size < sizeof(event)) return 0;
  std::memcpy(&event, data, sizeof(event));
  const Tuple tuple = protocol::from_wire(event.tuple);
  if (event.type == MSTACK_EVENT_CLAIM_RELEASED)
    log::debug("vport {}: {} {} released with its socket", event.vport, to_string(tuple.protocol), tuple.to_string());
  else if (event.type == MSTACK_EVENT_TX_DROP && event.verdict < verdict_texts.size() &&
           static_cast<LogBudget*>(budget)->spend(seconds()))
    log::info("vport {} sends from {} {}: {}", event.vport, to_string(tuple.protocol), tuple.to_string(),
              verdict_texts[event.verdict]);
  return 0;
}

}  // namespace

bool LogBudget::spend(std::uint64_t now) {
  left_ = std::min(burst, left_ + (now - since_));
  since_ = now;
  if (left_ == 0) return false;
  --left_;
  return true;
}

void Events::Free::operator()(ring_buffer* ring) const {
  ring_buffer__free(ring);
}

Expected<Events> Events::open(int events_map) {
  Events events;
  events.ring_.reset(ring_buffer__new(events_map, show, events.budget_.get(), nullptr));
  if (!events.ring_) return system_failure(errno, "cannot read the BPF programs' events");
  return events;
}

int Events::fd() const {
  return ring_buffer__epoll_fd(ring_.get());
}

void Events::consume() const {
  (void)ring_buffer__consume(ring_.get());
}

}  // namespace mstack::daemon
