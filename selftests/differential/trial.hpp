// SPDX-License-Identifier: BSD-2-Clause
// Frames through a program and through the model: do the two read them alike?
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/decision.hpp"
#include "world.hpp"

namespace differential {

struct Step {
  Program program = Program::uplink_rx;
  std::uint32_t ingress = 0;
  model::Bytes frame;
};

class Trial {
 public:
  explicit Trial(World& world) : world_(world) {}

  // Where they differ, with both readings.
  std::optional<std::string> run(const Step& step);
  // The first difference of a sequence that begins with nothing remembered.
  std::optional<std::string> run(const std::vector<Step>& steps);
  // A sequence as short, and frames as short and as much zero, as can be while the two still differ.
  std::vector<Step> minimise(std::vector<Step> steps);
  // After a change of the world: flows may be on other queues than before.
  void forget() { queue_of_flow_.clear(); }

  std::uint64_t frames() const { return frames_; }
  // How often each verdict was read by each program.
  const std::map<std::pair<Program, std::optional<mstack_verdict>>, std::uint64_t>& seen() const { return seen_; }

 private:
  model::Decision decide(const Step& step) const;
  std::string compare(const Step& step, const model::Decision& expected, const Outcome& outcome);
  bool shrink_frame(std::vector<Step>& steps, std::size_t which);

  World& world_;
  std::map<std::pair<model::Tuple, model::Tuple>, std::uint32_t> queue_of_flow_;
  std::map<std::pair<Program, std::optional<mstack_verdict>>, std::uint64_t> seen_;
  std::uint64_t frames_ = 0;
};

std::string hex(const model::Bytes& bytes);

}  // namespace differential
