// SPDX-License-Identifier: BSD-2-Clause
//
// How fast mstackd is: claims and vports a second, beside what the kernel takes for the sockets themselves.
#include <sys/resource.h>

#include <chrono>
#include <vector>

#include "benches.hpp"
#include "support/stack.hpp"

namespace mstack::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t message = 250;  // descriptors that one message can carry

double per_second(std::size_t count, Clock::duration time) {
  return static_cast<double>(count) / std::chrono::duration<double>(time).count();
}

// Sockets bound to ports that the kernel picks.
struct Sockets {
  std::vector<test::Fd> owned;
  std::vector<int> fds;
  Sockets(const test::World& world, std::size_t count) {
    world.host().run([&] {
      for (std::size_t i = 0; i < count; ++i) owned.push_back(test::bound(IPPROTO_UDP, {test::host4, 0}));
    });
    for (const test::Fd& fd : owned) fds.push_back(fd.get());
  }
};

double time_sockets(const test::World& world, std::size_t count) {
  const auto start = Clock::now();
  const Sockets sockets(world, count);
  return per_second(count, Clock::now() - start);
}

double time_claims(test::Stack& stack, const Sockets& sockets, std::size_t batch) {
  std::vector<Expected<Claim>> claims;
  const auto start = Clock::now();
  for (std::size_t at = 0; at < sockets.fds.size(); at += batch) {
    const auto part = std::span(sockets.fds).subspan(at, std::min(batch, sockets.fds.size() - at));
    for (auto& claim : stack.vport().claim_all(part)) claims.push_back(std::move(claim));
  }
  const auto time = Clock::now() - start;
  for (auto& claim : claims) or_throw(std::move(claim));
  return per_second(sockets.fds.size(), time);
}

// The sockets close, and the kernel releases what they own.
double time_release(Sockets sockets) {
  const std::size_t count = sockets.owned.size();
  const auto start = Clock::now();
  sockets.owned.clear();
  return per_second(count, Clock::now() - start);
}

void raise_descriptor_limit() {
  rlimit limit = {};
  test::check(::getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
  limit.rlim_cur = limit.rlim_max;
  test::check(::setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
}

}  // namespace

void bench_control(const Plan& plan, Report& report) {
  raise_descriptor_limit();
  const test::World world;
  const test::Daemon daemon(world, {.arguments = {"--max-claims", "0", "--max-vports", "0"}});
  test::Stack stack(world);
  const std::size_t batches = (plan.claims + message - 1) / message * message;

  const auto series = [](const char* name) { return Series{.name = name, .unit = "/s"}; };
  Lane plain = {series("socket and bind"), [&] { return time_sockets(world, batches); }};
  Lane single = {series("claims, one a message"), [&] { return time_claims(stack, Sockets(world, plan.claims), 1); }};
  Lane batched = {series("claims, 250 a message"),
                  [&] { return time_claims(stack, Sockets(world, batches), message); }};
  Lane released = {series("claimed sockets closed"), [&] {
                     Sockets sockets(world, batches);
                     time_claims(stack, sockets, message);
                     return time_release(std::move(sockets));
                   }};
  Lane closed = {series("plain sockets closed"), [&] { return time_release(Sockets(world, batches)); }};
  Lane vports = {series("vports opened and closed"), [&] {
                   const auto start = Clock::now();
                   for (unsigned i = 0; i < plan.vports; ++i) const test::Stack one(world, test::bob, {.frames = 256});
                   return per_second(plan.vports, Clock::now() - start);
                 }};
  run_rounds(plan, "control", {&plain, &single, &batched, &released, &closed, &vports});
  report.add({.what = "claims", .measured = single.series, .against = plain.series});
  report.add({.what = "claims", .measured = batched.series, .against = plain.series});
  report.add({.what = "releases", .measured = released.series, .against = closed.series});
  report.add({.what = "vports of one queue", .measured = vports.series});
  report.note("claims: of UDP sockets that are bound already, on one vport, with mstackd on any CPU.");
}

}  // namespace mstack::bench
