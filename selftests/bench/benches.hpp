// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <chrono>
#include <functional>
#include <mstack/mstack.hpp>
#include <string>

#include "pin.hpp"
#include "report.hpp"
#include "support/world.hpp"

namespace mstack::bench {

// How long and how often. All that is measured is bounded by it.
struct Plan {
  unsigned rounds = 5;
  std::chrono::milliseconds warm_up{100}, window{300};
  unsigned round_trips = 5000;
  unsigned claims = 1000, vports = 20;
  Cpus cpus;
  std::string lane;            // only the lanes of this name: for a profiler
  std::string uplink_rx_cost;  // the program that measures it
};

void bench_uplink_rx(const Plan& plan, Report& report);
void bench_receive(const Plan& plan, Report& report);
void bench_transmit(const Plan& plan, Report& report);
void bench_echo(const Plan& plan, Report& report);
void bench_echo_rate(const Plan& plan, Report& report);
void bench_control(const Plan& plan, Report& report);

// One of the things that a bench measures in turn, once a round.
struct Lane {
  Series series;
  std::function<double()> measure;
};
// A round is one measurement of each lane.
void run_rounds(const Plan& plan, const std::string& bench, const std::vector<Lane*>& lanes);

// What a counter grows by in a second, in millions.
double rate_of(const Plan& plan, const std::function<std::uint64_t()>& counter);

// A thread on a CPU that calls `work` until it goes. What the calls return adds up.
class Worker {
 public:
  Worker(unsigned cpu, std::function<std::size_t()> work);
  Worker(Worker&&) = delete;
  ~Worker();  // throws nothing: what the work threw is printed
  // How often other work was put in the place of a worker so far. On a quiet machine: hardly ever.
  [[nodiscard]] static std::uint64_t displaced();
  [[nodiscard]] std::uint64_t count() const { return count_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> count_ = 0;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

// A kernel UDP socket of that namespace.
test::Fd udp_socket(const test::Namespace& netns, const test::Endpoint& local);

template <class T>
T or_throw(Expected<T> result) {
  if (!result) throw std::runtime_error(result.error().what);
  return std::move(*result);
}

}  // namespace mstack::bench
