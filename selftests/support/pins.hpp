// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "mstack_abi.h"
#include "support/fd.hpp"
#include "support/frame.hpp"

namespace mstack::test {

mstack_tuple tuple(int protocol, const Endpoint& endpoint);
bool same(const mstack_tuple& left, const mstack_tuple& right);

// The pinned maps, read with nothing but bpf(2): what the tools and the daemon say is checked against this.
class Pins {
 public:
  explicit Pins(std::string directory) : directory_(std::move(directory)) {}

  bool present() const;  // whether anything is pinned
  Fd open(const std::string& map) const;
  std::map<std::uint32_t, mstack_vport> vports() const;
  std::vector<std::pair<mstack_tuple, mstack_claim>> claims() const;
  // Whether the tuple is claimed, and usable.
  bool claimed(int protocol, const Endpoint& endpoint) const;
  std::uint64_t gate_sum() const;         // over port_gate: the number of claims
  std::uint64_t slot_claims_sum() const;  // the same, counted by slot
  std::uint64_t counter(mstack_verdict verdict) const;
  std::uint64_t counter(mstack_verdict verdict, std::uint32_t slot) const;
  std::map<std::string, std::uint64_t> counters() const;  // all that are not 0, by their names
  std::vector<std::uint32_t> uplinks() const;             // ifindexes of uplink_info
  mstack_meta meta() const;
  void set_meta(const mstack_meta& meta) const;

 private:
  std::string directory_;
};

const char* verdict_name(std::uint32_t verdict);

}  // namespace mstack::test
