// SPDX-License-Identifier: BSD-2-Clause
#include "trial.hpp"

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <algorithm>
#include <array>
#include <stdexcept>

#include "model/guarding.hpp"
#include "model/steering.hpp"
#include "model/validation.hpp"

namespace differential {
namespace {

constexpr std::size_t one_page = 4096;

using model::Action;
using model::View;

// The model's word for what a program returned.
std::optional<Action> action_of(Program program, std::uint32_t returned) {
  if (is_tc(program)) {
    switch (returned) {
      case TC_ACT_OK: return program == Program::vport_tx_slow ? std::optional(Action::pass) : std::nullopt;
      case static_cast<std::uint32_t>(TC_ACT_UNSPEC):  // to other filters, which may be there
        return program != Program::vport_tx_slow ? std::optional(Action::pass) : std::nullopt;
      case TC_ACT_SHOT: return Action::drop;
      case TC_ACT_REDIRECT: return Action::forward;
      default: return std::nullopt;
    }
  }
  switch (returned) {
    case XDP_PASS: return Action::pass;
    case XDP_DROP: return Action::drop;
    case XDP_TX: return Action::answer;
    case XDP_REDIRECT: return Action::forward;
    default: return std::nullopt;
  }
}

const char* text(std::optional<Action> action) {
  static constexpr std::array texts{"passed on", "dropped", "answered", "forwarded"};
  return action ? texts.at(static_cast<std::size_t>(*action)) : "neither passed nor dropped";
}

std::string text(std::optional<mstack_verdict> verdict, std::uint32_t slot) {
  std::string words = verdict ? name_of(*verdict) : "no verdict";
  if (slot != 0) words += ", slot " + std::to_string(slot);
  return words;
}

std::size_t tags_of(View frame) {
  if (!model::is_tagged(frame)) return 0;
  const auto untagged = model::take_tags(frame);
  return untagged ? untagged->tags.size() : 0;
}

bool is_sent(mstack_verdict verdict) {
  return verdict == MSTACK_TX_SENT || verdict == MSTACK_TX_SENT_SLOW || verdict == MSTACK_TX_TO_HOST ||
         verdict == MSTACK_TX_TO_STACK;
}

}  // namespace

std::string hex(const model::Bytes& bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  constexpr std::size_t long_run = 40;
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto here = bytes.begin() + static_cast<std::ptrdiff_t>(i);
    const auto run =
        static_cast<std::size_t>(std::find_if(here, bytes.end(), [&](auto byte) { return byte != *here; }) - here);
    text += digits[bytes[i] >> 4];
    text += digits[bytes[i] & 15];
    if (run >= long_run) text += " (" + std::to_string(run) + " of them)";
    if (run >= long_run) i += run - 1;
    text += ' ';
  }
  return text;
}

model::Decision Trial::decide(const Step& step) {
  const model::View frame(step.frame);
  memory_.now = std::chrono::steady_clock::now();
  switch (step.program) {
    case Program::uplink_rx: return model::uplink_rx(world_.state(), memory_, frame, step.ingress);
    case Program::vport_rx: return model::vport_rx(frame, step.ingress, step.ingress == World::slot_with_socket);
    case Program::vport_tx: return model::vport_tx(world_.state(), memory_, frame, step.ingress);
    case Program::vport_tx_slow: return model::vport_tx_slow(world_.state(), memory_, frame, step.ingress);
    case Program::lo_tx: return model::lo_tx(world_.state(), memory_, frame);
    case Program::uplink_tx: return model::uplink_tx(world_.state(), frame);
  }
  throw std::logic_error("no such program");
}

// Empty: they agree.
std::string Trial::compare(const Step& step, const model::Decision& expected, const Outcome& outcome) {
  if (!outcome.miscounted.empty()) return "counted more than once:" + outcome.miscounted;
  const auto action = action_of(step.program, outcome.action);
  if (action != expected.action) return std::string("it was ") + text(action) + ", not " + text(expected.action);
  if (outcome.verdict != expected.verdict) return "the verdict is another";
  if (outcome.slot != expected.slot) return "the queue that counts it is another";
  if (outcome.slot != 0 && outcome.by_slot != outcome.verdict) return "the queue counts another verdict";

  const std::uint64_t size = step.frame.size();
  const std::uint64_t left = expected.frame ? expected.frame->size() : size;  // without tags
  const std::uint64_t received = expected.verdict == MSTACK_RX_DELIVERED ? left : 0;
  const std::uint64_t sent = expected.verdict && is_sent(*expected.verdict) ? size : 0;
  if (outcome.rx_bytes != received || outcome.tx_bytes != sent) return "the bytes are not counted right";

  if (expected.action == Action::drop) return {};
  model::Bytes frame = expected.frame.value_or(step.frame);
  if (expected.queues != 0) {
    const std::uint32_t slot = std::uint32_t{outcome.frame.at(4)} << 8 | outcome.frame.at(5);
    if (slot < expected.first_slot || slot >= expected.first_slot + expected.queues) return "it is not on a queue";
    model::put(frame, 0, model::stack_mac(slot));
    model::put(frame, 6, model::gateway_mac(slot));
    if (queue_of_flow_.try_emplace(expected.flow, slot).first->second != slot) return "its flow has changed queues";
  }
  if (outcome.frame != frame) return "the frame is not\n" + hex(frame) + "\nbut\n" + hex(outcome.frame);
  return {};
}

// The program had lost the first fragment that the model goes by: then it must do as if there had been none.
void Trial::settle_doubt(const Step& step, model::Decision& expected, const Outcome& outcome) {
  const auto& doubt = expected.doubt;
  if (!doubt || outcome.verdict != doubt->otherwise || expected.verdict == doubt->otherwise) return;
  doubt->table->forget(doubt->datagram);
  ++lost_;
  const bool received = step.program == Program::uplink_rx || step.program == Program::lo_tx;
  expected = {.action = received ? Action::pass : Action::drop,
              .verdict = doubt->otherwise,
              .slot = received ? 0 : world_.state().host_ends.at(step.ingress).slot,
              .kind = expected.kind,
              .is_ip6 = expected.is_ip6};
}

std::optional<std::string> Trial::run(const Step& step) {
  if (step.change) {
    world_.change(step.change->tuple, step.change->claim);
    queue_of_flow_.clear();
    return std::nullopt;
  }
  model::Decision expected = decide(step);
  world_.settle_pace();
  const Outcome& outcome = world_.programs().run(step.program, step.frame, step.ingress);
  ++frames_;
  settle_doubt(step, expected, outcome);
  ++seen_[{step.program, expected.kind, expected.is_ip6, outcome.verdict}];
  if (outcome.verdict) {
    ++tagged_[{std::max(tags_of(View(step.frame)), tags_of(View(outcome.frame))), *outcome.verdict}];
    jumbo_[*outcome.verdict] += step.frame.size() > one_page;
  }
  const std::string difference = compare(step, expected, outcome);
  if (difference.empty()) return std::nullopt;
  return difference + "\n  program: " + text(action_of(step.program, outcome.action)) + ", " +
         text(outcome.verdict, outcome.slot) + "\n  model:   " + text(expected.action) + ", " +
         text(expected.verdict, expected.slot);
}

std::optional<std::string> Trial::run(const std::vector<Step>& steps) {
  claims_before_.reset();
  const auto is_change = [](const Step& step) { return step.change.has_value(); };
  if (std::ranges::any_of(steps, is_change)) claims_before_ = world_.state().claims;
  for (const Step& step : steps) {
    if (auto difference = run(step)) return difference;
  }
  return std::nullopt;
}

std::optional<std::string> Trial::run_again(const std::vector<Step>& steps) {
  if (claims_before_) world_.restore(*claims_before_);
  forget();
  for (const Step& step : steps) {
    if (auto difference = run(step)) return difference;
  }
  return std::nullopt;
}

std::size_t Trial::remembered() const {
  std::size_t count = memory_.received.size();
  for (const auto& [vport, datagrams] : memory_.sent) count += datagrams.size();
  return count;
}

void Trial::world_has_changed() {
  queue_of_flow_.clear();
  constexpr std::size_t many = 50'000;
  if (remembered() > many) forget();
}

void Trial::forget() {
  queue_of_flow_.clear();
  if (remembered() == 0) return;
  memory_.received.clear();
  memory_.sent.clear();
  world_.forget_datagrams();
}

// Ends by being cut off, parts by being taken out, bytes by being zeroed: whatever is not needed for the difference.
bool Trial::shrink_frame(std::vector<Step>& steps, std::size_t which) {
  bool shrunk = false;
  const auto keep_if_different = [&](model::Bytes frame) {
    if (frame.size() < shortest_frame(steps[which].program) || frame == steps[which].frame) return false;
    std::swap(frame, steps[which].frame);
    const bool different = run_again(steps).has_value();
    if (!different) std::swap(frame, steps[which].frame);
    shrunk |= different;
    return different;
  };
  for (std::size_t chunk = 1024; chunk != 0; chunk /= 2) {
    for (std::size_t at = steps[which].frame.size(); at > 0 && Clock::now() < enough_;) {
      at = at > chunk ? at - chunk : 0;
      model::Bytes frame = steps[which].frame;
      const auto first = frame.begin() + static_cast<std::ptrdiff_t>(std::min(at, frame.size()));
      const auto last = frame.begin() + static_cast<std::ptrdiff_t>(std::min(at + chunk, frame.size()));
      model::Bytes zeroed = frame;
      std::fill(zeroed.begin() + (first - frame.begin()), zeroed.begin() + (last - frame.begin()), std::uint8_t{0});
      frame.erase(first, last);
      if (!keep_if_different(std::move(frame))) keep_if_different(std::move(zeroed));
    }
  }
  return shrunk;
}

std::vector<Step> Trial::minimise(std::vector<Step> steps) {
  enough_ = Clock::now() + std::chrono::seconds(60);
  if (!run_again(steps)) return steps;  // it takes what was before, too
  for (std::size_t i = steps.size(); i-- > 0;) {
    std::vector<Step> fewer = steps;
    fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(i));
    if (run_again(fewer)) steps = std::move(fewer);
  }
  for (int rounds = 0; rounds < 8; ++rounds) {
    bool shrunk = false;
    for (std::size_t i = 0; i < steps.size(); ++i) shrunk |= shrink_frame(steps, i);
    if (!shrunk) break;
  }
  return steps;
}

}  // namespace differential
