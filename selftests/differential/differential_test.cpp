// SPDX-License-Identifier: BSD-2-Clause
// Every program decides as the reference model does, which was written from the rules and shares no code with bpf/.
//
// MSTACK_FRAMES: how many frames in all (run.sh --frames N); MSTACK_SEED: the seed of a run that is to be repeated.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <thread>

#include "cases.hpp"
#include "coverage.hpp"
#include "random.hpp"
#include "stress/seed.hpp"
#include "trial.hpp"

namespace differential {
namespace {

constexpr std::uint64_t frames_unless_given = 10'000'000;
constexpr std::uint64_t frames_to_see_everything = 1'000'000;
constexpr std::uint64_t frames_of_a_population = 20'000;

// What mstackd can set of the programs, every pair of it: a world and a thread each, however many CPUs there are.
struct Mode {
  bool send_fragments = false;
  bool guard_loopback = false;
};
constexpr std::array modes{Mode{}, Mode{.send_fragments = true}, Mode{.guard_loopback = true},
                           Mode{.send_fragments = true, .guard_loopback = true}};

std::uint64_t frames_wanted() {
  const char* given = std::getenv("MSTACK_FRAMES");
  return given != nullptr ? std::strtoull(given, nullptr, 0) : frames_unless_given;
}

// What the threads have in common.
struct Campaign {
  std::uint64_t frames = 0;  // of each thread
  std::atomic<bool> over = false;
  std::mutex mutex;
  Seen seen;
  Tagged tagged;
  std::map<mstack_verdict, std::uint64_t> jumbo;
  std::uint64_t lost = 0;

  void differs(std::uint64_t seed, const std::string& before, const std::string& after) {
    if (over.exchange(true)) return;  // one is enough to read
    const std::lock_guard lock(mutex);
    ADD_FAILURE() << "seed of the thread " << seed << "\n" << before << "\n\nthe least of it:\n" << after;
  }
};

std::string text(const model::Tuple& tuple) {
  return hex(model::Bytes(tuple.address.bytes().begin(), tuple.address.bytes().end())) + "port " +
         std::to_string(tuple.port) + " protocol " + std::to_string(tuple.protocol);
}

std::string text(const Change& change) {
  if (!change.claim) return "the claim on " + text(change.tuple) + " is released\n";
  return "the claim on " + text(change.tuple) + " is vport " + std::to_string(change.claim->vport) + "'s, of socket " +
         std::to_string(change.claim->cookie) + (change.claim->active ? "\n" : ", pending\n");
}

std::string text(const std::vector<Step>& steps) {
  std::string all;
  for (const Step& step : steps) {
    all += step.change ? text(*step.change)
                       : std::string(name_of(step.program)) + " on interface " + std::to_string(step.ingress) + ", " +
                             std::to_string(step.frame.size()) + " bytes\n" + hex(step.frame) + "\n";
  }
  return all;
}

std::uint64_t followed(const Seen& seen) {
  std::uint64_t sum = 0;
  for (const auto& [reading, count] : seen) {
    const bool lost = reading.verdict == MSTACK_RX_PASS_FRAGMENT || reading.verdict == MSTACK_TX_DROP_FRAGMENT;
    if (reading.kind == model::Kind::later_fragment && !lost) sum += count;
  }
  return sum;
}

void work(Campaign& campaign, std::uint64_t seed, const Mode& mode) {
  Random random(seed);
  World world(mode.send_fragments, mode.guard_loopback);
  Trial trial(world);
  std::uint64_t next_population = 0;
  while (trial.frames() < campaign.frames && !campaign.over) {
    if (trial.frames() >= next_population) {
      world.populate(random);
      trial.world_has_changed();
      next_population += frames_of_a_population;
    }
    std::vector<Step> steps = next_case(random, world);
    if (const auto difference = trial.run(steps)) {
      const std::string before = *difference + "\n" + text(steps);
      steps = trial.minimise(std::move(steps));
      campaign.differs(seed, before, trial.run_again(steps).value_or("seen only after others") + "\n" + text(steps));
      return;
    }
  }
  const std::lock_guard lock(campaign.mutex);
  for (const auto& [key, count] : trial.seen()) campaign.seen[key] += count;
  for (const auto& [key, count] : trial.tagged()) campaign.tagged[key] += count;
  for (const auto& [verdict, count] : trial.jumbo()) campaign.jumbo[verdict] += count;
  campaign.lost += trial.lost();
}

TEST(Differential, EveryProgramDecidesAsTheModel) {
  const std::uint64_t seed = mstack::test::seed();
  Campaign campaign{.frames = frames_wanted() / modes.size(),
                    .over = false,
                    .mutex = {},
                    .seen = {},
                    .tagged = {},
                    .jumbo = {},
                    .lost = 0};
  std::cout << "MSTACK_SEED=" << seed << ", " << campaign.frames * modes.size() << " frames in " << modes.size()
            << " threads\n";
  {
    std::vector<std::jthread> workers;
    Random seeds(seed);
    for (const Mode& mode : modes) {
      workers.emplace_back([&campaign, &mode, own = seeds.next()] {
        try {
          work(campaign, own, mode);
        } catch (const std::exception& error) {
          campaign.differs(own, error.what(), "");
        }
      });
    }
  }
  print(campaign.seen);
  std::cout << "fragments whose first another had pushed out: " << campaign.lost << "\n";
  if (testing::Test::HasFailure() || campaign.frames * modes.size() < frames_to_see_everything) return;
  expect_everything(campaign.seen);
  for (const std::size_t tags : {1U, 2U}) {
    for (const mstack_verdict verdict :
         {MSTACK_RX_STEERED, MSTACK_RX_DELIVERED, MSTACK_RX_PASS_UNCLAIMED, MSTACK_RX_PASS_VLAN, MSTACK_TX_SENT})
      EXPECT_NE((campaign.tagged[{tags, verdict}]), 0U)
          << name_of(verdict) << " with " << tags << " tags was never read";
  }
  for (const mstack_verdict verdict :
       {MSTACK_RX_STEERED, MSTACK_RX_PASS_UNCLAIMED, MSTACK_RX_PASS_MALFORMED, MSTACK_TX_SENT, MSTACK_TX_DROP_TOO_BIG,
        MSTACK_TX_DROP_MALFORMED, MSTACK_TX_TO_STACK})
    EXPECT_NE(campaign.jumbo[verdict], 0U) << name_of(verdict) << " of a jumbo frame was never read";
  EXPECT_LT(campaign.lost * 20, followed(campaign.seen)) << "more are lost than a table of this size loses";
}

}  // namespace
}  // namespace differential
