// SPDX-License-Identifier: BSD-2-Clause
#include "segments.hpp"

#include <lwip/stats.h>

#include "hooks.h"

namespace mstack_lwip {
namespace {

constexpr std::size_t most_out_of_order = 512;  // a window of packets of 536 bytes, the least MSS there is

}  // namespace

std::size_t segments_in_use() {
  return lwip_stats.memp[MEMP_TCP_SEG]->used;
}

}  // namespace mstack_lwip

extern "C" u16_t mstack_lwip_out_of_order_limit(void) {
  using namespace mstack_lwip;
  return segments_in_use() > segments / 4 ? 0 : most_out_of_order;
}
