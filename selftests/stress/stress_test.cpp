// SPDX-License-Identifier: BSD-2-Clause
//
// Everything at once, for a while: processes of several users open vports, bind, claim, send, spoof, fork, end and are
// killed, and so is mstackd. No spoofed frame is on the wire at any time, and nothing is left at the end.
#include <gtest/gtest.h>
#include <signal.h>

#include <array>
#include <cstdlib>
#include <iostream>
#include <random>

#include "actor.hpp"
#include "seed.hpp"
#include "support/fixture.hpp"
#include "wire_watch.hpp"

namespace mstack::test {
namespace {

constexpr unsigned actors = 8;
constexpr std::array<uid_t, 4> users{alice, bob, 60003, 60004};

std::chrono::seconds duration() {
  const char* given = std::getenv("MSTACK_STRESS_SECONDS");
  return std::chrono::seconds{given != nullptr ? std::atoi(given) : 30};
}

class Stress : public NetTest {
 protected:
  // What it says of itself must be true: an actor claims in no range but its own.
  static WireWatch::Judgement judge(std::span<const std::uint8_t> frame) {
    using enum WireWatch::Judgement;
    const auto packet = parse(frame);
    if (!packet) return bad;
    if (packet->payload.starts_with(valid_mark) && packet->payload.ends_with(std::to_string(packet->from.port)))
      return good;
    // Of the host's kernel: its own TCP and ICMP in answer to what came for nobody.
    const bool is_actors = packet->payload.starts_with(spoof_mark) || packet->payload.starts_with(valid_mark);
    return is_actors ? bad : none;
  }

  Process start_actor(unsigned index, std::uint64_t seed) const {
    const ActorOptions options{.run_dir = world().run_dir(), .seed = seed, .index = index};
    return Process::function([options](Channel& channel) { return act(options, channel); },
                             {.who = {.netns = &world().host(), .uid = users[index % users.size()], .cgroup = {}},
                              .environment = {},
                              .keep = {}});
  }
};

TEST_F(Stress, EverythingAtOnce) {
  const std::uint64_t first_seed = seed();
  std::cout << "MSTACK_SEED=" << first_seed << '\n';
  std::mt19937_64 random(first_seed);
  const std::size_t idle_descriptors = daemon().descriptors();
  const auto sinks = world().wire().run([] {
    return std::array{bound(IPPROTO_UDP, {wire4, 4000}), bound(IPPROTO_UDP, {wire6, 4000}, {.v6only = true})};
  });
  WireWatch watch(world(), judge);

  std::vector<Process> running;
  for (unsigned i = 0; i < actors; ++i) running.push_back(start_actor(i, random()));
  int killed = 0, ended = 0, restarts = 0;
  std::uint64_t vports = 0;
  for (const Deadline end{duration()}; !end.passed() && !HasFailure() && watch.bad() == 0;) {
    ::poll(nullptr, 0, static_cast<int>(20 + random() % 100));
    const auto index = static_cast<unsigned>(random() % actors);
    if (random() % 4 == 0) {
      running[index].kill();
      ++killed;
    }
    for (unsigned i = 0; i < actors; ++i) {
      if (running[i].running()) continue;
      const auto exit = running[i].wait();
      ASSERT_TRUE(exit->signal == SIGKILL || exit->code == 0) << *exit << ": " << running[i].err();
      running[i] = start_actor(i, random());
      ++ended;
    }
    if (random() % 64 == 0) {
      vports = std::max<std::uint64_t>(vports, pins().meta().next_vport);
      restart();
      ++restarts;
    }
    ASSERT_TRUE(daemon().running());
  }
  for (Process& actor : running) actor.channel().send("stop");
  for (Process& actor : running) {
    if (!actor.wait(Deadline{5s})) actor.kill();
  }
  running.clear();
  vports = std::max<std::uint64_t>(vports, pins().meta().next_vport);
  std::cout << actors << " actors, of whom " << killed << " were killed and " << ended << " started anew; " << restarts
            << " restarts of mstackd; " << vports << " vports; " << watch.good() << " frames on the wire\n";
  for (const auto& [name, count] : pins().counters()) std::cout << "  " << name << ' ' << count << '\n';

  EXPECT_EQ(watch.bad(), 0U);
  for (const auto& frame : watch.first_bad()) ADD_FAILURE() << "on the wire: " << frame;
  EXPECT_GT(watch.good(), 0U);
  EXPECT_TRUE(eventually([&] { return world().leftovers_while_running().empty(); }));
  EXPECT_TRUE(eventually([&] { return daemon().descriptors() <= idle_descriptors; }))
      << daemon().descriptors() << " descriptors in mstackd, at first " << idle_descriptors;
}

}  // namespace
}  // namespace mstack::test
