// SPDX-License-Identifier: BSD-2-Clause
#include "trial.hpp"

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <algorithm>
#include <array>
#include <stdexcept>

#include "model/steering.hpp"
#include "model/validation.hpp"

namespace differential {
namespace {

using model::Action;

// The model's word for what a program returned.
std::optional<Action> action_of(Program program, std::uint32_t returned) {
  if (program == Program::vport_tx_slow) {
    switch (returned) {
      case TC_ACT_OK: return Action::pass;
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

// The model knows whole packets of TCP and UDP. What it takes for a fragment, another protocol or a source route, and
// what only the programs have a word for, is beyond it: fragments that are followed, protocols and headers that are
// walked. Literal bytes in selftests/bpf are the proof of those.
bool is_in_model(const Step& step, const model::Decision& expected, const Outcome& outcome) {
  static constexpr std::array beyond{MSTACK_RX_PASS_FRAGMENT,  MSTACK_RX_PASS_OVERLAP,  MSTACK_RX_PASS_PROTOCOL,
                                     MSTACK_RX_PASS_ICMP,      MSTACK_RX_PASS_HEADERS,  MSTACK_TX_DROP_FRAGMENT,
                                     MSTACK_TX_DROP_OVERLAP,   MSTACK_TX_DROP_PROTOCOL, MSTACK_TX_DROP_ICMP,
                                     MSTACK_TX_DROP_ICMP_RATE, MSTACK_TX_DROP_HEADERS,  MSTACK_TX_DROP_SOURCE_ROUTE};
  const auto is_beyond = [](std::optional<mstack_verdict> verdict) {
    return verdict && std::ranges::find(beyond, *verdict) != beyond.end();
  };
  // The options behind a destination options header, which the model does not read yet.
  const bool has_extensions =
      step.frame.size() > 20 && step.frame[12] == 0x86 && step.frame[13] == 0xdd &&
      (step.frame[20] == 0 || step.frame[20] == 43 || step.frame[20] == 51 || step.frame[20] == 60);
  if (outcome.verdict == MSTACK_TX_DROP_MALFORMED && has_extensions) return false;
  // The slow path's word for all of them.
  if (step.program == Program::vport_tx_slow && expected.verdict == MSTACK_TX_DROP_MALFORMED) return false;
  return !is_beyond(expected.verdict) && !is_beyond(outcome.verdict);
}

bool is_sent(mstack_verdict verdict) {
  return verdict == MSTACK_TX_SENT || verdict == MSTACK_TX_SENT_SLOW || verdict == MSTACK_TX_TO_HOST;
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

model::Decision Trial::decide(const Step& step) const {
  const model::View frame(step.frame);
  switch (step.program) {
    case Program::uplink_rx: return model::uplink_rx(world_.state(), frame);
    case Program::vport_rx: return model::vport_rx(frame, step.ingress, step.ingress == World::slot_with_socket);
    case Program::vport_tx: return model::vport_tx(world_.state(), frame, step.ingress);
    case Program::vport_tx_slow: return model::vport_tx_slow(world_.state(), frame, step.ingress);
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
  const std::uint64_t received = expected.verdict == MSTACK_RX_DELIVERED ? size : 0;
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

std::optional<std::string> Trial::run(const Step& step) {
  const model::Decision expected = decide(step);
  const Outcome& outcome = world_.programs().run(step.program, step.frame, step.ingress);
  ++frames_;
  ++seen_[{step.program, outcome.verdict}];
  if (!is_in_model(step, expected, outcome)) return std::nullopt;
  const std::string difference = compare(step, expected, outcome);
  if (difference.empty()) return std::nullopt;
  return difference + "\n  program: " + text(action_of(step.program, outcome.action)) + ", " +
         text(outcome.verdict, outcome.slot) + "\n  model:   " + text(expected.action) + ", " +
         text(expected.verdict, expected.slot);
}

std::optional<std::string> Trial::run(const std::vector<Step>& steps) {
  forget();
  for (const Step& step : steps) {
    if (auto difference = run(step)) return difference;
  }
  return std::nullopt;
}

// Ends by being cut off, parts by being taken out, bytes by being zeroed: whatever is not needed for the difference.
bool Trial::shrink_frame(std::vector<Step>& steps, std::size_t which) {
  bool shrunk = false;
  const auto keep_if_different = [&](model::Bytes frame) {
    if (frame.size() < shortest_frame(steps[which].program) || frame == steps[which].frame) return false;
    std::swap(frame, steps[which].frame);
    const bool different = run(steps).has_value();
    if (!different) std::swap(frame, steps[which].frame);
    shrunk |= different;
    return different;
  };
  for (std::size_t chunk = 1024; chunk != 0; chunk /= 2) {
    for (std::size_t at = steps[which].frame.size(); at > 0;) {
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
  if (!run(steps)) return steps;  // it takes what was before, too
  for (std::size_t i = steps.size(); i-- > 0;) {
    std::vector<Step> fewer = steps;
    fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(i));
    if (run(fewer)) steps = std::move(fewer);
  }
  for (int rounds = 0; rounds < 8; ++rounds) {
    bool shrunk = false;
    for (std::size_t i = 0; i < steps.size(); ++i) shrunk |= shrink_frame(steps, i);
    if (!shrunk) break;
  }
  return steps;
}

}  // namespace differential
