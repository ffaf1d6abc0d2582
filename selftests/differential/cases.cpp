// SPDX-License-Identifier: BSD-2-Clause
#include "cases.hpp"

#include <algorithm>
#include <iterator>

#include "frames.hpp"
#include "pools.hpp"

namespace differential {
namespace {

using model::Direction;

Program any_program(Random& random) {
  static constexpr Program by_weight[] = {
      Program::uplink_rx, Program::uplink_rx, Program::uplink_rx, Program::vport_tx,      Program::vport_tx,
      Program::vport_tx,  Program::vport_tx,  Program::vport_rx,  Program::vport_tx_slow, Program::vport_tx_slow,
      Program::lo_tx,     Program::lo_tx,     Program::uplink_tx};
  return random.of(by_weight);
}

bool is_received(Program program) {
  return program == Program::uplink_rx || program == Program::vport_rx || program == Program::lo_tx;
}

// Up to six are read. A receiver may read them all.
void add_tags(Random& random, model::Bytes& frame) {
  if (frame.size() < 14) return;
  for (std::size_t count = random.between(1, 8); count != 0; --count) {
    const bool is_service = random.one_in(2);
    const model::Bytes tag{static_cast<std::uint8_t>(is_service ? 0x88 : 0x81),
                           static_cast<std::uint8_t>(is_service ? 0xa8 : 0), 0, random.byte()};
    frame.insert(frame.begin() + 12, tag.begin(), tag.end());
  }
}

Step step_of(Random& random, Program program, std::uint32_t ingress, Draft draft) {
  mutate(random, draft);
  if (program == Program::uplink_tx && random.one_in(3)) add_tags(random, draft.bytes);
  if (is_tc(program)) draft.bytes.resize(std::min<std::size_t>(draft.size(), 1314));
  // Of more than one buffer it is given only what was steered, whose lengths are right.
  if (program == Program::vport_rx) draft.bytes.resize(std::min<std::size_t>(draft.size(), 3400));
  if (draft.size() < shortest_frame(program)) draft.zeros(shortest_frame(program) - draft.size());
  return {.program = program, .ingress = ingress, .frame = std::move(draft.bytes)};
}

std::vector<Step> one_frame(Random& random, const World& world) {
  const Program program = any_program(random);
  const bool received = is_received(program);
  Draft draft = whole_frame(random, world.state(), received ? Direction::received : Direction::transmitted);
  const std::uint32_t ingress = random.of(world.ingresses(program));
  if (program == Program::vport_rx && !random.one_in(3)) model::put(draft.bytes, 0, model::stack_mac(ingress));
  return {step_of(random, program, ingress, std::move(draft))};
}

// The claim that it goes under is gone, somebody else's, or another socket's; or there is one where there was none.
Step change_of_claim(Random& random, const World& world, const model::Tuple& own) {
  const auto& claims = world.state().claims;
  Change change{.tuple = own, .claim = {}};
  if (random.one_in(2) && !claims.contains(own)) change.tuple.address = own.address.any();
  if (random.one_in(3)) return {.frame = {}, .change = change};
  const auto now = claims.find(change.tuple);
  change.claim = now != claims.end() && random.one_in(2) ? now->second : World::any_holder(random);
  if (random.one_in(2)) change.claim->cookie = World::any_cookie(random);
  return {.frame = {}, .change = change};
}

Step as_it_is(const World& world, const Step& changed) {
  Change change{.tuple = changed.change->tuple, .claim = {}};
  const auto now = world.state().claims.find(change.tuple);
  if (now != world.state().claims.end()) change.claim = now->second;
  return {.frame = {}, .change = change};
}

std::vector<Step> fragments(Random& random, const World& world) {
  const bool received = random.one_in(2);
  Pieces pieces = pieces_of_datagram(random, world.state(), received ? Direction::received : Direction::transmitted);
  const Program program = received ? Program::uplink_rx : Program::vport_tx;
  const std::uint32_t ingress = random.of(world.ingresses(program));
  const bool may_be_claimed =
      std::ranges::find(pools().claimed_protocols, pieces.ends.own.protocol) != pools().claimed_protocols.end();
  const bool is_touched = random.one_in(2);
  std::vector<Step> steps;
  std::vector<Step> undo;
  for (Draft& frame : pieces.frames) {
    if (may_be_claimed && random.one_in(12)) {
      steps.push_back(change_of_claim(random, world, pieces.ends.own));
      undo.push_back(as_it_is(world, steps.back()));
    }
    const Program here = random.one_in(3) ? (received ? Program::lo_tx : Program::vport_tx_slow) : program;
    const std::uint32_t from = random.one_in(10) || received ? random.of(world.ingresses(here)) : ingress;
    if (is_touched && random.one_in(3)) {
      steps.push_back(step_of(random, here, from, std::move(frame)));
      continue;
    }
    const std::size_t size =
        is_tc(here) ? std::clamp<std::size_t>(frame.size(), shortest_frame(here), 1314) : frame.size();
    frame.bytes.resize(size);
    steps.push_back({.program = here, .ingress = from, .frame = std::move(frame.bytes)});
  }
  std::ranges::move(undo, std::back_inserter(steps));
  return steps;
}

}  // namespace

std::vector<Step> next_case(Random& random, const World& world) {
  return random.one_in(6) ? fragments(random, world) : one_frame(random, world);
}

}  // namespace differential
