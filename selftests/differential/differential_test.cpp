// SPDX-License-Identifier: BSD-2-Clause
// Every program decides as the reference model does, which was written from the rules and shares no code with bpf/.
//
// MSTACK_FRAMES: how many frames in all (run.sh --frames N); MSTACK_SEED: the seed of a run that is to be repeated.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <set>
#include <thread>

#include "frames.hpp"
#include "random.hpp"
#include "stress/seed.hpp"
#include "trial.hpp"

namespace differential {
namespace {

constexpr std::uint64_t frames_unless_given = 2'000'000;
constexpr std::uint64_t frames_to_see_everything = 1'000'000;
constexpr std::uint64_t frames_of_a_population = 20'000;

std::uint64_t frames_wanted() {
  const char* given = std::getenv("MSTACK_FRAMES");
  return given != nullptr ? std::strtoull(given, nullptr, 0) : frames_unless_given;
}

using Seen = std::map<std::pair<Program, std::optional<mstack_verdict>>, std::uint64_t>;

// What the threads have in common.
struct Campaign {
  std::uint64_t frames = 0;  // of each thread
  std::atomic<bool> over = false;
  std::mutex mutex;
  Seen seen;

  void differs(std::uint64_t seed, const std::string& before, const std::string& after) {
    if (over.exchange(true)) return;  // one is enough to read
    const std::lock_guard lock(mutex);
    ADD_FAILURE() << "seed of the thread " << seed << "\n" << before << "\n\nthe least of it:\n" << after;
  }
};

std::string text(const std::vector<Step>& steps) {
  std::string all;
  for (const Step& step : steps) {
    all += std::string(name_of(step.program)) + " on interface " + std::to_string(step.ingress) + ", " +
           std::to_string(step.frame.size()) + " bytes\n" + hex(step.frame) + "\n";
  }
  return all;
}

Program any_program(Random& random) {
  static constexpr Program by_weight[] = {Program::uplink_rx, Program::uplink_rx, Program::uplink_rx,
                                          Program::vport_tx,  Program::vport_tx,  Program::vport_tx,
                                          Program::vport_tx,  Program::vport_rx,  Program::vport_tx_slow};
  return random.of(by_weight);
}

std::vector<Step> next_case(Random& random, const World& world) {
  const Program program = any_program(random);
  const bool received = program == Program::uplink_rx || program == Program::vport_rx;
  Draft draft =
      whole_frame(random, world.state(), received ? model::Direction::received : model::Direction::transmitted);
  const std::uint32_t ingress = random.of(world.ingresses(program));
  if (program == Program::vport_rx && !random.one_in(3)) model::put(draft.bytes, 0, model::stack_mac(ingress));
  mutate(random, draft);
  if (program == Program::vport_tx_slow) draft.bytes.resize(std::min<std::size_t>(draft.size(), 1314));
  if (draft.size() < shortest_frame(program)) draft.zeros(shortest_frame(program) - draft.size());
  return {{.program = program, .ingress = ingress, .frame = std::move(draft.bytes)}};
}

void work(Campaign& campaign, std::uint64_t seed) {
  Random random(seed);
  World world;
  Trial trial(world);
  std::uint64_t next_population = 0;
  while (trial.frames() < campaign.frames && !campaign.over) {
    if (trial.frames() >= next_population) {
      world.populate(random);
      trial.forget();
      next_population += frames_of_a_population;
    }
    std::vector<Step> steps = next_case(random, world);
    for (std::size_t i = 0; i < steps.size(); ++i) {
      if (const auto difference = trial.run(steps[i])) {
        steps.resize(i + 1);
        const std::string before = *difference + "\n" + text(steps);
        steps = trial.minimise(std::move(steps));
        campaign.differs(seed, before, trial.run(steps).value_or("seen only after others") + "\n" + text(steps));
        return;
      }
    }
  }
  const std::lock_guard lock(campaign.mutex);
  for (const auto& [key, count] : trial.seen()) campaign.seen[key] += count;
}

TEST(Differential, EveryProgramDecidesAsTheModel) {
  const std::uint64_t seed = mstack::test::seed();
  const unsigned threads = std::max(1U, std::min(4U, std::thread::hardware_concurrency()));
  Campaign campaign{.frames = frames_wanted() / threads, .over = false, .mutex = {}, .seen = {}};
  std::cout << "MSTACK_SEED=" << seed << ", " << campaign.frames * threads << " frames in " << threads << " threads\n";
  {
    std::vector<std::jthread> workers;
    Random seeds(seed);
    for (unsigned i = 0; i < threads; ++i) {
      workers.emplace_back([&campaign, own = seeds.next()] {
        try {
          work(campaign, own);
        } catch (const std::exception& error) {
          campaign.differs(own, error.what(), "");
        }
      });
    }
  }
  std::set<mstack_verdict> verdicts;
  for (const auto& [key, count] : campaign.seen) {
    std::cout << name_of(key.first) << " " << (key.second ? name_of(*key.second) : "left to the slow path") << " "
              << count << "\n";
    if (key.second) verdicts.insert(*key.second);
  }
  if (testing::Test::HasFailure() || campaign.frames * threads < frames_to_see_everything) return;
  for (int verdict = 0; verdict < MSTACK_VERDICT_COUNT; ++verdict) {
    const auto one = static_cast<mstack_verdict>(verdict);
    if (one == MSTACK_TX_DROP_NO_NEIGHBOUR) continue;                              // the kernel always takes it
    if (one == MSTACK_RX_PASS_OVERLAP || one == MSTACK_TX_DROP_OVERLAP) continue;  // needs several frames in a row
    if (one == MSTACK_RX_PASS_ICMP || one == MSTACK_TX_DROP_ICMP) continue;        // frames of ICMP are not made yet
    if (one == MSTACK_TX_DROP_ICMP_RATE || one == MSTACK_RX_DROP_TOO_BIG) continue;
    if (one == MSTACK_TX_DROP_NEIGHBOUR_PACE) continue;  // a matter of time, which the model has not
    EXPECT_TRUE(verdicts.contains(one)) << name_of(one) << " was never read: no frame led to it";
  }
}

}  // namespace
}  // namespace differential
