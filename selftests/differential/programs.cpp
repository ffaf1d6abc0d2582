// SPDX-License-Identifier: BSD-2-Clause
#include "programs.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "mstack.skel.h"

namespace differential {
namespace {

constexpr std::size_t largest_frame = 16384;

[[noreturn]] void fail(const std::string& what, int error) {
  throw std::system_error(error, std::generic_category(), what);
}

void check(int result, const std::string& what) {
  if (result < 0) fail(what, -result);
}

void make_plain_array(bpf_map* map) {
  check(bpf_map__set_type(map, BPF_MAP_TYPE_ARRAY), "the type of a map");
  check(bpf_map__set_map_flags(map, BPF_F_MMAPABLE), "the flags of a map");
}

}  // namespace

const char* name_of(Program program) {
  static constexpr const char* names[] = {"uplink_rx", "vport_rx", "vport_tx", "vport_tx_slow", "lo_tx", "uplink_tx"};
  return names[static_cast<std::size_t>(program)];
}

const char* name_of(mstack_verdict verdict) {
  static constexpr const char* names[] = {
#define NAME(name, text) #name,
      MSTACK_VERDICTS(NAME)
#undef NAME
  };
  return names[verdict];
}

void Programs::Close::operator()(mstack_bpf* skeleton) const {
  mstack_bpf__destroy(skeleton);
}
void Unmap::operator()(void* memory) const {
  munmap(memory, size);
}

Programs::Programs(std::uint64_t netns_cookie, std::span<const std::uint32_t> slots, bool send_fragments,
                   bool guard_loopback)
    : skeleton_(mstack_bpf__open()), slots_(slots.begin(), slots.end()), stats_before_(slots.size()) {
  if (!skeleton_) fail("open the skeleton", errno);
  skeleton_->rodata->netns_cookie = netns_cookie;
  skeleton_->rodata->send_fragments = send_fragments;
  skeleton_->rodata->guard_loopback = guard_loopback;
  skeleton_->rodata->neighbour_interval_ns =
      0;  // as many as come; Transmit.AFloodToUnknownNeighbours... has the real one
  make_plain_array(skeleton_->maps.counters);
  make_plain_array(skeleton_->maps.vport_stats);
  make_plain_array(skeleton_->maps.icmp_pace);
  check(bpf_map__set_max_entries(skeleton_->maps.claims, 4096), "the size of claims");

  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, skeleton_->obj) {
    bpf_program__set_autoload(program, false);
  }
  const auto each = [&](auto&& act) {
    for (std::size_t i = 0; i < program_count; ++i) {
      act(i, bpf_object__find_program_by_name(skeleton_->obj, name_of(static_cast<Program>(i))));
    }
  };
  each([](std::size_t i, bpf_program* one) {
    bpf_program__set_autoload(one, true);
    if (!is_tc(static_cast<Program>(i))) bpf_program__set_flags(one, bpf_program__flags(one) | BPF_F_XDP_HAS_FRAGS);
  });
  check(mstack_bpf__load(skeleton_.get()), "load the programs");
  each([this](std::size_t i, const bpf_program* one) { fds_[i] = bpf_program__fd(one); });

  counters_memory_ = map_memory("counters", sizeof(std::uint64_t) * MSTACK_VERDICT_COUNT);
  icmp_pace_memory_ = map_memory("icmp_pace", sizeof(std::uint64_t) * MSTACK_MAX_SLOTS, PROT_READ | PROT_WRITE);
  stats_memory_ = map_memory("vport_stats", sizeof(mstack_vport_stats) * MSTACK_MAX_SLOTS);
  counters_ = static_cast<const std::uint64_t*>(counters_memory_.get());
  stats_ = static_cast<const mstack_vport_stats*>(stats_memory_.get());
}

Programs::~Programs() = default;

int Programs::map(const char* name) const {
  const int fd = bpf_object__find_map_fd_by_name(skeleton_->obj, name);
  check(fd, std::string("no map ") + name);
  return fd;
}

Programs::Mapping Programs::map_memory(const char* name, std::size_t size, int protection) const {
  void* memory = mmap(nullptr, size, protection, MAP_SHARED, map(name), 0);
  if (memory == MAP_FAILED) fail(std::string("mmap ") + name, errno);
  return Mapping(memory, {.size = size});
}

void Programs::set_errors_spent(std::uint32_t slot, bool spent) {
  constexpr std::uint64_t centuries_ns = std::uint64_t{1} << 62;  // until the next is due
  static_cast<volatile std::uint64_t*>(icmp_pace_memory_.get())[slot] = spent ? centuries_ns : 0;
}

const Outcome& Programs::run(Program program, std::span<const std::uint8_t> frame, std::uint32_t ingress) {
  // A test run writes only as much as the program left, and what it left may be longer than what it was given.
  outcome_.frame.resize(largest_frame);
  LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame.data(), .data_out = outcome_.frame.data(),
              .data_size_in = static_cast<__u32>(frame.size()), .data_size_out = largest_frame, .repeat = 1);
  xdp_md xdp{};
  xdp.data_end = static_cast<__u32>(frame.size());
  xdp.ingress_ifindex = ingress;
  __sk_buff skb{};
  skb.ifindex = ingress;
  skb.ingress_ifindex = ingress;
  options.ctx_in = is_tc(program) ? static_cast<void*>(&skb) : &xdp;
  options.ctx_size_in = is_tc(program) ? sizeof skb : sizeof xdp;
  const int error = bpf_prog_test_run_opts(fds_[static_cast<std::size_t>(program)], &options);
  if (error != 0)
    fail(std::string("test run of ") + name_of(program) + " with " + std::to_string(frame.size()) + " bytes", -error);
  outcome_.action = options.retval;
  outcome_.frame.resize(options.data_size_out);
  outcome_.miscounted.clear();
  read_counters();
  read_slots();
  return outcome_;
}

void Programs::read_counters() {
  outcome_.verdict.reset();
  for (std::size_t i = 0; i < MSTACK_VERDICT_COUNT; ++i) {
    const std::uint64_t now = counters_[i];
    const std::uint64_t more = now - counters_before_[i];
    if (more == 0) continue;
    counters_before_[i] = now;
    const auto verdict = static_cast<mstack_verdict>(i);
    if (more != 1 || outcome_.verdict) outcome_.miscounted += std::string(" and ") + name_of(verdict);
    outcome_.verdict = verdict;
  }
}

void Programs::read_slots() {
  outcome_.by_slot.reset();
  outcome_.slot = 0;
  outcome_.rx_bytes = outcome_.tx_bytes = 0;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const mstack_vport_stats& now = stats_[slots_[i]];
    mstack_vport_stats& before = stats_before_[i];
    if (std::memcmp(&now, &before, sizeof now) == 0) continue;
    for (std::size_t v = 0; v < MSTACK_VERDICT_COUNT; ++v) {
      const std::uint64_t more = now.packets[v] - before.packets[v];
      if (more == 0) continue;
      const auto verdict = static_cast<mstack_verdict>(v);
      if (more != 1 || outcome_.by_slot) {
        outcome_.miscounted += " and slot " + std::to_string(slots_[i]) + " " + name_of(verdict);
      }
      outcome_.by_slot = verdict;
      outcome_.slot = slots_[i];
    }
    outcome_.rx_bytes += now.rx_bytes - before.rx_bytes;
    outcome_.tx_bytes += now.tx_bytes - before.tx_bytes;
    before = now;
  }
}

}  // namespace differential
