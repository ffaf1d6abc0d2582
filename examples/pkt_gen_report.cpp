// SPDX-License-Identifier: BSD-2-Clause
#include "pkt_gen_report.hpp"

#include <cinttypes>
#include <cstdio>

namespace report {
namespace {

double per_second(std::uint64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

}  // namespace

void Report::ready(const mstack::Tuple& tuple) const {
  std::printf(json_ ? "{\"type\":\"ready\",\"tuple\":\"%s\"}\n" : "pkt_gen: ready %s\n", tuple.to_string().c_str());
  std::fflush(stdout);
}

void Report::interval(const Totals& totals, Clock::time_point now) {
  const double seconds = std::chrono::duration<double>(now - last_).count();
  const double packets = per_second(totals.packets - before_.packets, seconds);
  const double megabits = per_second(totals.bytes - before_.bytes, seconds) * 8 / 1e6;
  // A packet that comes late takes back a loss that was counted before.
  const auto lost = static_cast<std::int64_t>(totals.lost - before_.lost);
  if (json_)
    std::printf("{\"type\":\"interval\",\"mode\":\"%s\",\"seconds\":%.3f,\"pps\":%.0f,\"mbps\":%.1f,\"lost\":%" PRId64
                "}\n",
                name_, seconds, packets, megabits, lost);
  else
    std::printf("%s  %12.0f packets/s  %10.1f Mbit/s  %" PRId64 " lost\n", name_, packets, megabits, lost);
  std::fflush(stdout);
  before_ = totals;
  last_ = now;
}

void Report::summary(const Totals& totals, double seconds, const mstack::QueueStatistics& queues) const {
  const double packets = per_second(totals.packets, seconds);
  const double megabits = per_second(totals.bytes, seconds) * 8 / 1e6;
  if (json_) {
    std::printf("{\"type\":\"summary\",\"mode\":\"%s\",\"packets\":%" PRIu64 ",\"bytes\":%" PRIu64
                ",\"seconds\":%.6f,\"pps\":%.0f,\"mbps\":%.1f,\"lost\":%" PRIu64 ",\"tx_ring_full\":%" PRIu64
                ",\"kicks\":%" PRIu64 ",\"rx_dropped\":%" PRIu64 ",\"rx_ring_full\":%" PRIu64
                ",\"fill_ring_empty\":%" PRIu64 ",\"tx_invalid\":%" PRIu64 "}\n",
                name_, totals.packets, totals.bytes, seconds, packets, megabits, totals.lost, queues.tx_ring_full,
                queues.kicks, queues.kernel_rx_dropped, queues.kernel_rx_ring_full, queues.kernel_fill_ring_empty,
                queues.kernel_tx_invalid);
  } else {
    std::printf("%s total: %" PRIu64 " packets, %" PRIu64 " bytes in %.3f s: %.0f packets/s, %.1f Mbit/s\n", name_,
                totals.packets, totals.bytes, seconds, packets, megabits);
    std::printf("   lost %" PRIu64 ", RX ring full %" PRIu64 ", fill ring empty %" PRIu64 ", TX ring full %" PRIu64
                ", system calls to send %" PRIu64 "\n",
                totals.lost, queues.kernel_rx_ring_full, queues.kernel_fill_ring_empty, queues.tx_ring_full,
                queues.kicks);
  }
  std::fflush(stdout);
}

}  // namespace report
