// SPDX-License-Identifier: BSD-2-Clause
#include <fmt/format.h>

#include <cstdio>
#include <thread>

#include "benches.hpp"

namespace mstack::bench {

void run_rounds(const Plan& plan, const std::string& bench, std::vector<Lane*> lanes) {
  for (unsigned round = 0; round < plan.rounds; ++round) {
    for (Lane* lane : lanes) {
      lane->series.rounds.push_back(lane->measure());
      fmt::print(stderr, "{} {}/{}: {} {:.2f} {}\n", bench, round + 1, plan.rounds, lane->series.name,
                 lane->series.rounds.back(), lane->series.unit);
    }
  }
}

double rate_of(const Plan& plan, const std::function<std::uint64_t()>& counter) {
  using Clock = std::chrono::steady_clock;
  std::this_thread::sleep_for(plan.warm_up);
  const std::uint64_t before = counter();
  const auto start = Clock::now();
  std::this_thread::sleep_for(plan.window);
  const std::uint64_t after = counter();
  const std::chrono::duration<double, std::micro> passed = Clock::now() - start;
  return static_cast<double>(after - before) / passed.count();
}

Worker::Worker(unsigned cpu, std::function<std::size_t()> work)
    : thread_([this, cpu, work = std::move(work)] {
        try {
          pin_to(cpu);
          std::uint64_t count = 0;
          while (!stop_.load(std::memory_order_relaxed)) {
            count += work();
            count_.store(count, std::memory_order_relaxed);
          }
        } catch (const std::exception& error) {
          fmt::print(stderr, "{}\n", error.what());
        }
      }) {}

Worker::~Worker() {
  stop_ = true;
  thread_.join();
}

test::Fd udp_socket(const test::Namespace& netns, const test::Endpoint& local) {
  return netns.run([&] { return test::bound(IPPROTO_UDP, local); });
}

}  // namespace mstack::bench
