// SPDX-License-Identifier: BSD-2-Clause
// The BPF programs, run on one frame at a time as cheaply as can be.
#pragma once

#include <sys/mman.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "model/bytes.hpp"
#include "mstack_abi.h"

struct mstack_bpf;

namespace differential {

enum class Program { uplink_rx, vport_rx, vport_tx, vport_tx_slow, lo_tx, uplink_tx };
inline constexpr std::size_t program_count = 6;
inline constexpr bool is_tc(Program program) {
  return program == Program::vport_tx_slow || program == Program::lo_tx || program == Program::uplink_tx;
}
const char* name_of(Program program);

// BPF_PROG_TEST_RUN takes no less than an Ethernet header, and as TC no less than the IP header that it speaks of.
inline constexpr std::size_t shortest_frame(Program program) {
  return is_tc(program) ? 14 + 40 : 14;
}
const char* name_of(mstack_verdict verdict);

// What one run did.
struct Outcome {
  std::uint32_t action = 0;  // as the program returned it
  model::Bytes frame;
  std::optional<mstack_verdict> verdict;  // counted for the host
  std::optional<mstack_verdict> by_slot;  // counted for a queue
  std::uint32_t slot = 0;                 // that queue; 0: none
  std::uint64_t rx_bytes = 0;
  std::uint64_t tx_bytes = 0;
  std::string miscounted;  // what else happened to the counters; empty: nothing
};

struct Unmap {
  std::size_t size = 0;
  void operator()(void* memory) const;
};

// The counters are plain arrays here, mapped, so that to read a verdict is to read memory. One thread a set.
class Programs {
 public:
  // Counts of these slots are watched. Throws std::system_error.
  Programs(std::uint64_t netns_cookie, std::span<const std::uint32_t> slots, bool send_fragments, bool guard_loopback);
  ~Programs();
  Programs(const Programs&) = delete;
  Programs& operator=(const Programs&) = delete;

  int map(const char* name) const;
  // More ICMP errors from the slot would be too many, or no longer.
  void set_errors_spent(std::uint32_t slot, bool spent);
  const Outcome& run(Program program, std::span<const std::uint8_t> frame, std::uint32_t ingress);

 private:
  struct Close {
    void operator()(mstack_bpf* skeleton) const;
  };
  using Mapping = std::unique_ptr<void, Unmap>;
  Mapping map_memory(const char* name, std::size_t size, int protection = PROT_READ) const;
  void read_counters();
  void read_slots();

  std::unique_ptr<mstack_bpf, Close> skeleton_;
  Mapping counters_memory_;
  Mapping stats_memory_;
  Mapping icmp_pace_memory_;
  const volatile std::uint64_t* counters_ = nullptr;
  const mstack_vport_stats* stats_ = nullptr;
  std::array<std::uint64_t, MSTACK_VERDICT_COUNT> counters_before_{};
  std::vector<std::uint32_t> slots_;
  std::vector<mstack_vport_stats> stats_before_;
  std::array<int, program_count> fds_{};
  Outcome outcome_;
};

}  // namespace differential
