// SPDX-License-Identifier: BSD-2-Clause
//
// A bad wire, without netem: a small TC program loses, doubles and reorders packets at one end of a link, both ways.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "support/netns.hpp"

struct faults_bpf;  // NOLINT(readability-identifier-naming): bpftool names it

namespace mstack::test {

struct FaultRates {  // of a thousand packets
  unsigned lost = 0, doubled = 0, late = 0;
  unsigned seed = 1;
};

class Faults {
 public:
  // For as long as the link is there.
  Faults(const Namespace& netns, const std::string& interface, const FaultRates& rates);
  ~Faults();
  Faults(Faults&&) = delete;

  std::uint64_t lost() const;
  std::uint64_t doubled() const;
  std::uint64_t late() const;

 private:
  std::unique_ptr<faults_bpf, void (*)(faults_bpf*)> skeleton_;
};

}  // namespace mstack::test
