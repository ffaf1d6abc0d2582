// SPDX-License-Identifier: BSD-2-Clause
#include "support/generator.hpp"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <chrono>
#include <cstdlib>
#include <limits>

#include "support/capture.hpp"

namespace mstack::test {
namespace {

// Without SA_RESTART: it has no other work than to end the system call.
void make_interruptible() {
  struct sigaction action = {};
  action.sa_handler = [](int) {};
  check(::sigaction(SIGUSR1, &action, nullptr), "sigaction");
}

void pin_to(unsigned cpu) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  check(::sched_setaffinity(0, sizeof(one), &one), "sched_setaffinity");
}

}  // namespace

// A frame is made as if it had come in by the wire's end, so XDP_TX sends it out there.
Generator::Generator(const World& world, const Bytes& frame)
    : Generator(world, frame, xdp_program("generate", XDP_TX)) {}

Generator::Generator(const World& world, const Bytes& frame, Fd program, std::optional<unsigned> cpu)
    : program_(std::move(program)) {
  make_interruptible();
  thread_ = std::thread([this, &world, frame, cpu] {
    if (cpu) pin_to(*cpu);
    generate(world, frame);
    ended_ = true;
  });
}

bool Generator::sends_by_xdp() {
  return std::getenv("MSTACK_TEST_UPLINK") == nullptr;
}

// One call for all: to set up its pages takes a call some 20 ms. It ends by a signal.
void Generator::generate(const World& world, Bytes frame) {
  if (!sends_by_xdp()) {
    const Injector injector(world.wire(), wire_end);
    while (!stop_) injector.send(frame);
    return;
  }
  const Namespace::Visit visit = world.wire().visit();
  xdp_md context = {};
  context.data_end = static_cast<std::uint32_t>(frame.size());
  context.ingress_ifindex = ::if_nametoindex(wire_end.c_str());
  while (!stop_) {
    bpf_test_run_opts options = {};
    options.sz = sizeof(options);
    options.data_in = frame.data();
    options.data_size_in = static_cast<__u32>(frame.size());
    options.ctx_in = &context;
    options.ctx_size_in = sizeof(context);
    options.repeat = std::numeric_limits<int>::max();
    options.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
    const int error = ::bpf_prog_test_run_opts(program_.get(), &options);
    if (error < 0 && error != -EINTR) check(-1, "BPF_PROG_TEST_RUN with live frames");
  }
}

Generator::~Generator() {
  stop_ = true;
  // Again and again: a signal between the look at stop_ and the system call would be lost.
  while (!ended_) {
    ::pthread_kill(thread_.native_handle(), SIGUSR1);
    std::this_thread::sleep_for(1ms);
  }
  thread_.join();
}

}  // namespace mstack::test
