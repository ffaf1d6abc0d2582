// SPDX-License-Identifier: BSD-2-Clause
// Frames through a program and through the model: do the two read them alike?
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/decision.hpp"
#include "world.hpp"

namespace differential {

// A claim made, changed or released.
struct Change {
  model::Tuple tuple;
  std::optional<model::Claim> claim;
};

// A frame, or in its place a change.
struct Step {
  Program program = Program::uplink_rx;
  std::uint32_t ingress = 0;
  model::Bytes frame;
  std::optional<Change> change = {};
};

// What was seen of a kind of packets.
struct Reading {
  Program program = Program::uplink_rx;
  model::Kind kind = model::Kind::none;
  bool is_ip6 = false;
  std::optional<mstack_verdict> verdict;  // none: left to the slow path
  friend auto operator<=>(const Reading&, const Reading&) = default;
};
using Seen = std::map<Reading, std::uint64_t>;
using Tagged = std::map<std::pair<std::size_t, mstack_verdict>, std::uint64_t>;

class Trial {
 public:
  explicit Trial(World& world) : world_(world) {}

  // Where they first differ, with both readings.
  std::optional<std::string> run(const std::vector<Step>& steps);
  // A sequence as short, and frames as short and as much zero, as can be while the two still differ. It begins with the
  // claims that the last one that was run began with, and with nothing remembered.
  std::vector<Step> minimise(std::vector<Step> steps);
  std::optional<std::string> run_again(const std::vector<Step>& steps);
  // Flows may be on other queues than before.
  void world_has_changed();

  std::uint64_t frames() const { return frames_; }
  const Seen& seen() const { return seen_; }
  // How many of a verdict came or left with so many tags, and how many were more than a buffer holds.
  const Tagged& tagged() const { return tagged_; }
  const std::map<mstack_verdict, std::uint64_t>& jumbo() const { return jumbo_; }
  // Fragments of which the programs had lost the first to another, where the model, which loses none, had it.
  std::uint64_t lost() const { return lost_; }

 private:
  std::optional<std::string> run(const Step& step);
  model::Decision decide(const Step& step);
  void settle_doubt(const Step& step, model::Decision& expected, const Outcome& outcome);
  void forget();
  std::string compare(const Step& step, const model::Decision& expected, const Outcome& outcome);
  std::size_t remembered() const;
  bool shrink_frame(std::vector<Step>& steps, std::size_t which);

  using Clock = std::chrono::steady_clock;

  World& world_;
  model::Memory memory_;
  std::optional<std::map<model::Tuple, model::Claim>> claims_before_;
  std::map<std::pair<model::Tuple, model::Tuple>, std::uint32_t> queue_of_flow_;
  Seen seen_;
  std::uint64_t frames_ = 0;
  Tagged tagged_;
  std::map<mstack_verdict, std::uint64_t> jumbo_;
  std::uint64_t lost_ = 0;
  Clock::time_point enough_;  // of minimising
};

std::string hex(const model::Bytes& bytes);

}  // namespace differential
