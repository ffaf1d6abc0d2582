// SPDX-License-Identifier: BSD-2-Clause
//
// What pkt_gen counts, and how it prints it: for people, or, with --json, one JSON object a line.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mstack/mstack.hpp>

namespace report {

using Clock = std::chrono::steady_clock;

struct Totals {
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;  // from the Ethernet header on, without padding and FCS
  std::uint64_t lost = 0;   // gaps in the sequence numbers of received packets
};

// Written by one queue's thread, read by the one that prints.
struct alignas(64) Counters {
  std::atomic<std::uint64_t> packets = 0, bytes = 0, lost = 0;

  void set(const Totals& totals) {
    packets.store(totals.packets, std::memory_order_relaxed);
    bytes.store(totals.bytes, std::memory_order_relaxed);
    lost.store(totals.lost, std::memory_order_relaxed);
  }
};

class Report {
 public:
  Report(bool receiving, bool json) : name_(receiving ? "rx" : "tx"), json_(json) {}

  // The tuple is claimed, and packets can come.
  void ready(const mstack::Tuple& tuple) const;
  // Since the last one.
  void interval(const Totals& totals, Clock::time_point now);
  // `seconds` is the time of the whole run, pauses without a packet included.
  void summary(const Totals& totals, double seconds, const mstack::QueueStatistics& queues) const;

 private:
  const char* name_;
  bool json_;
  Totals before_;
  Clock::time_point last_ = Clock::now();
};

}  // namespace report
