// SPDX-License-Identifier: BSD-2-Clause
#include <fmt/format.h>
#include <sys/resource.h>

#include <cstdio>
#include <thread>

#include "benches.hpp"

namespace mstack::bench {

void run_rounds(const Plan& plan, const std::string& bench, const std::vector<Lane*>& lanes) {
  for (unsigned round = 0; round < plan.rounds; ++round) {
    for (Lane* lane : lanes) {
      if (!plan.lane.empty() && lane->series.name != plan.lane) continue;
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

namespace {

std::atomic<std::uint64_t> displaced_workers = 0;

}  // namespace

std::uint64_t Worker::displaced() {
  return displaced_workers;
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
        rusage usage = {};
        if (::getrusage(RUSAGE_THREAD, &usage) == 0) displaced_workers += static_cast<std::uint64_t>(usage.ru_nivcsw);
      }) {}

Worker::~Worker() {
  stop_ = true;
  thread_.join();
}

test::Fd udp_socket(const test::Namespace& netns, const test::Endpoint& local) {
  return netns.run([&] { return test::bound(IPPROTO_UDP, local); });
}

}  // namespace mstack::bench
