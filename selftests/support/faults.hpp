// SPDX-License-Identifier: BSD-2-Clause
//
// A bad wire, without netem: a small TC program loses, doubles and delays packets at one end of a link, both ways.
// Those that are late come behind what was sent up to 2 ms after them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "support/delay_line.hpp"
#include "support/netns.hpp"

struct faults_bpf;  // NOLINT(readability-identifier-naming): bpftool names it

namespace mstack::test {

struct FaultRates {  // of a thousand packets
  unsigned lost = 0, doubled = 0, late = 0;
  unsigned seed = 1;
};

class Faults {
 public:
  // To outlive whatever uses the link.
  Faults(const Namespace& netns, const std::string& interface, const FaultRates& rates);
  ~Faults();
  Faults(Faults&&) = delete;

  std::uint64_t lost() const;
  std::uint64_t doubled() const;
  std::uint64_t late() const;

 private:
  DelayLine late_in_, late_out_;
  std::unique_ptr<faults_bpf, void (*)(faults_bpf*)> skeleton_;
};

}  // namespace mstack::test
