// SPDX-License-Identifier: BSD-2-Clause
//
// A web server on lwIP's TCP, on an address that the kernel serves too. It needs no privilege.
//
//   lwip_httpd --bind 192.0.2.1:8080 --bind '[2001:db8::1]:8080' --root /srv/www
//
// It serves the files below --root, and /bytes/N: N bytes that it makes up. Every connection is in the one thread of
// its queue; --queues N runs N processes, each with an lwIP and a queue of its own.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <mstack/mstack.hpp>
#include <set>
#include <string>
#include <vector>

#include "http/lwip_server.hpp"
#include "lwip/netif.hpp"
#include "lwip/workers.hpp"
#include "stop.hpp"

namespace {

using namespace std::chrono_literals;

struct Options {
  std::vector<std::string> binds;
  std::string root, run_dir;
  std::uint32_t queues = 1, frames = 8192, timeout_s = 0;
  bool throughput = false, statistics = false;
};

int fail(const std::string& what) {
  std::fprintf(stderr, "lwip_httpd: %s\n", what.c_str());
  return 1;
}

// A file for each connection that is being sent one.
void raise_descriptor_limit() {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

mstack::Expected<void> serve(mstack_lwip::Netif& netif, http::LwipServer& server, mstack_lwip::Workers& workers) {
  while (!stop::asked()) {
    if (const auto ran = netif.run_once(500ms); !ran) return ran;
    if (workers.lost_one()) return mstack::failure(ECHILD, "the process of another queue has ended");
  }
  // All queues at the same time: responses that are being sent are finished, if that does not take too long.
  workers.end();
  server.end_soon();
  const auto deadline = std::chrono::steady_clock::now() + 5s;
  while ((server.connections() != 0 || !workers.all_done()) && std::chrono::steady_clock::now() < deadline)
    if (const auto ran = netif.run_once(50ms); !ran) return ran;
  server.abort();
  return netif.drain(1s);
}

void print(const mstack_lwip::NetifCounters& netif, const http::LwipCounters& server, std::size_t queue) {
  std::printf(
      "lwip_httpd: queue %zu: connections %llu, at most %zu at once, timed out %llu, broken %llu; packets received "
      "%llu, of them copied %llu, dropped %llu, sent %llu; waits for room %llu\n",
      queue, static_cast<unsigned long long>(server.accepted), server.most_at_once,
      static_cast<unsigned long long>(server.timed_out), static_cast<unsigned long long>(server.broken),
      static_cast<unsigned long long>(netif.received), static_cast<unsigned long long>(netif.copied),
      static_cast<unsigned long long>(netif.no_memory), static_cast<unsigned long long>(netif.sent),
      static_cast<unsigned long long>(netif.no_room));
  std::fflush(stdout);
}

int run(const Options& options) {
  http::Service service(options.root);
  if (service.files.error() != 0)
    return fail("cannot open " + options.root + ": " + std::strerror(service.files.error()));
  auto vport = mstack::Vport::open({.queues = options.queues,
                                    .frames = options.frames,
                                    .throughput = options.throughput,
                                    .run_dir = options.run_dir});
  if (!vport) return fail(vport.error().what);
  std::vector<mstack::Claim> claims;
  std::set<std::uint16_t> ports;
  for (const std::string& bind : options.binds) {
    auto claim = vport->claim(mstack::tcp(bind));
    if (!claim) return fail(claim.error().what);
    ports.insert(claim->tuple().port);
    std::printf("lwip_httpd: ready %s\n", claim->tuple().to_string().c_str());
    claims.push_back(std::move(*claim));
  }
  std::fflush(stdout);

  mstack_lwip::Workers workers(options.queues);
  if (workers.error() != 0)
    return fail(std::string("cannot begin a process for each queue: ") + std::strerror(workers.error()));
  mstack_lwip::Netif netif(vport->queue(workers.queue()));
  http::LwipTimeouts timeouts;
  if (options.timeout_s != 0)
    timeouts.request_ms = timeouts.idle_ms = timeouts.send_ms = timeouts.linger_ms = options.timeout_s * 1000;
  http::LwipServer server(service, timeouts);
  for (const std::uint16_t port : ports)
    if (const auto listens = server.listen(port); !listens) return fail(listens.error());
  const auto served = serve(netif, server, workers);
  if (options.statistics) print(netif.counters(), server.counters(), workers.queue());
  return served ? 0 : fail(served.error().what);
}

}  // namespace

int main(int argc, char** argv) try {
  Options options;
  CLI::App app("A web server on lwIP, beside the kernel's own services.");
  app.add_option("--bind", options.binds, "where to listen, repeatable: 192.0.2.1:8080, [2001:db8::1]:8080, [::]:8080")
      ->required()
      ->type_name("ADDR:PORT")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--root", options.root, "serve the files below this folder (else only /bytes/N)")->type_name("DIR");
  app.add_option("--queues", options.queues, "processes, each with a queue of its own")->check(CLI::Range(1U, 16U));
  app.add_option("--frames", options.frames, "UMEM frames of a queue, a power of two")->type_name("N");
  app.add_option("--timeout", options.timeout_s, "seconds for a request, between requests, and to read a response")
      ->check(CLI::Range(1U, 3600U));
  app.add_flag("--throughput", options.throughput, "send in larger batches, each up to 50 us later");
  app.add_flag("--statistics", options.statistics, "print what was counted at the end");
  app.add_option("--run-dir", options.run_dir, "mstackd's run directory (else MSTACK_RUN_DIR, else /run/mstack)")
      ->type_name("DIR");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  stop::on_signals();
  raise_descriptor_limit();
  return run(options);
} catch (const std::exception& error) {
  return fail(error.what());
}
