// SPDX-License-Identifier: BSD-2-Clause
//
// The verdicts of mstack_abi.h as a table, and what they add up to. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "mstack_abi.h"

namespace mstack::cli {

struct Verdict {
  std::string_view name, text;

  [[nodiscard]] constexpr bool receives() const { return name.starts_with("RX_"); }
  [[nodiscard]] constexpr bool drops() const { return name.contains("_DROP_"); }
  [[nodiscard]] constexpr bool passes() const { return name.starts_with("RX_PASS_"); }
};

inline constexpr std::array<Verdict, MSTACK_VERDICT_COUNT> verdicts = {{
#define MSTACK_VERDICT_ENTRY(name, text) {#name, text},
    MSTACK_VERDICTS(MSTACK_VERDICT_ENTRY)
#undef MSTACK_VERDICT_ENTRY
}};

struct Totals {
  std::uint64_t received = 0;   // delivered to a stack
  std::uint64_t sent = 0;       // let through from a stack, to the wire, this host or a stack of it
  std::uint64_t dropped = 0;    // for whatever reason, both ways
  std::uint64_t to_kernel = 0;  // received, and none of ours
};

// `counts` has one number a verdict, as counters and vport_stats do.
constexpr Totals totals_of(std::span<const __u64, MSTACK_VERDICT_COUNT> counts) {
  Totals totals;
  totals.received = counts[MSTACK_RX_DELIVERED];
  totals.sent =
      counts[MSTACK_TX_SENT] + counts[MSTACK_TX_SENT_SLOW] + counts[MSTACK_TX_TO_HOST] + counts[MSTACK_TX_TO_STACK];
  for (std::size_t i = 0; i < verdicts.size(); ++i) {
    if (verdicts[i].drops()) totals.dropped += counts[i];
    if (verdicts[i].passes()) totals.to_kernel += counts[i];
  }
  return totals;
}

}  // namespace mstack::cli
