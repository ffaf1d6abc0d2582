// SPDX-License-Identifier: BSD-2-Clause
//
// How connections share lwIP's segments. There is one pool, for what is sent and not acknowledged, for SYN and FIN, and
// for what is received out of order; whoever empties it stops everybody. So:
//   out of order  is dropped when a quarter of the pool is in use, and beyond a window's packets of one connection.
//   sent          has an eighth of the pool, divided by the connections that have something under way. Each takes its
//                 share as it is when it begins, so many in turn take the sum of 1/n of it, and a few that want much
//                 still have room for a whole window.
//   the rest      is for who has nothing under way: beyond `scarce` nobody else adds to what he has.
// A program asks segments_for() before tcp_write(); out of order lwIP asks by itself.
#pragma once

#include <lwip/opt.h>

#include <algorithm>
#include <cstddef>

namespace mstack_lwip {

inline constexpr std::size_t segments = MEMP_NUM_TCP_SEG;
inline constexpr std::size_t least_segments = 2;  // so that no acknowledgement is delayed for want of a second one
// Beyond this each connection may still take its least, and a FIN.
inline constexpr std::size_t scarce_segments = segments - (least_segments + 1) * MEMP_NUM_TCP_PCB;
static_assert(scarce_segments > segments / 2 && scarce_segments < segments);

// How many of the pool's are taken.
[[nodiscard]] std::size_t segments_in_use();

// Those that a connection may have under way, of so many that have some, itself included.
[[nodiscard]] inline std::size_t segments_for(std::size_t connections) {
  if (segments_in_use() > scarce_segments) return least_segments;
  return std::max(least_segments, segments / 8 / std::max<std::size_t>(connections, 1));
}

}  // namespace mstack_lwip
