// SPDX-License-Identifier: BSD-2-Clause
#include "support/faults.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>

#include <stdexcept>

#include "faults.skel.h"

namespace mstack::test {
namespace {

enum { kLost, kDoubled, kLate };  // as faults.bpf.c has it
constexpr std::chrono::milliseconds delay{2};

bpf_tc_hook hook_of(unsigned interface, int point) {
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = static_cast<int>(interface),
              .attach_point = static_cast<bpf_tc_attach_point>(point), .parent = 0);
  return hook;
}

void make_hooks(unsigned interface) {
  bpf_tc_hook both = hook_of(interface, BPF_TC_INGRESS | BPF_TC_EGRESS);
  if (const int error = bpf_tc_hook_create(&both); error < 0)
    throw std::system_error(-error, std::generic_category(), "clsact for faults");
}

void attach(const bpf_program* program, unsigned interface, bpf_tc_attach_point point) {
  const bpf_tc_hook hook = hook_of(interface, point);
  LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = bpf_program__fd(program), .flags = 0, .prog_id = 0, .handle = 1,
              .priority = 1);
  if (const int error = bpf_tc_attach(&hook, &options); error < 0)
    throw std::system_error(-error, std::generic_category(), "attach faults");
}

}  // namespace

Faults::Faults(const Namespace& netns, const std::string& interface, const FaultRates& rates)
    : late_in_(netns, "late_in", delay),
      late_out_(netns, "late_out", delay),
      skeleton_(faults_bpf__open(), &faults_bpf__destroy) {
  if (!skeleton_) throw std::runtime_error("cannot open the faults program");
  skeleton_->rodata->rates[kLost] = rates.lost;
  skeleton_->rodata->rates[kDoubled] = rates.doubled;
  skeleton_->rodata->rates[kLate] = rates.late;
  skeleton_->rodata->seed = rates.seed;
  netns.run([&] {
    const unsigned wire = ::if_nametoindex(interface.c_str());
    const unsigned late_in = ::if_nametoindex("late_in"), late_out = ::if_nametoindex("late_out");
    skeleton_->rodata->wire = wire;
    skeleton_->rodata->late_in = late_in;
    skeleton_->rodata->late_out = late_out;
    if (const int error = faults_bpf__load(skeleton_.get()); error < 0)
      throw std::system_error(-error, std::generic_category(), "load faults");
    for (const unsigned index : {late_in, late_out, wire}) make_hooks(index);
    attach(skeleton_->progs.faults_late_in, late_in, BPF_TC_INGRESS);
    attach(skeleton_->progs.faults_late_out, late_out, BPF_TC_INGRESS);
    attach(skeleton_->progs.faults_in, wire, BPF_TC_INGRESS);
    attach(skeleton_->progs.faults_out, wire, BPF_TC_EGRESS);
  });
}

Faults::~Faults() = default;

std::uint64_t Faults::lost() const {
  return skeleton_->bss->done[kLost];
}
std::uint64_t Faults::doubled() const {
  return skeleton_->bss->done[kDoubled];
}
std::uint64_t Faults::late() const {
  return skeleton_->bss->done[kLate];
}

}  // namespace mstack::test
