// SPDX-License-Identifier: BSD-2-Clause
//
// An iperf 2 server on lwIP's TCP, with lwIP's own lwiperf: the least that it takes to run an lwIP application.
//
//   lwip_iperf --bind 192.0.2.1:5001          and from elsewhere: iperf -c 192.0.2.1 -p 5001
//
// For plain iperf -c, and -P. Not for -r and -d: lwiperf connects back for them, from a port that nobody has claimed.
// And it resets a connection whose first 24 bytes come in two segments.
#include <lwip/apps/lwiperf.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <mstack/mstack.hpp>
#include <string>

#include "lwip/netif.hpp"
#include "stop.hpp"

namespace {

int fail(const std::string& what) {
  std::fprintf(stderr, "lwip_iperf: %s\n", what.c_str());
  return 1;
}

void report(void*, lwiperf_report_type type, const ip_addr_t*, u16_t, const ip_addr_t* remote, u16_t remote_port,
            u32_t bytes, u32_t milliseconds, u32_t kilobits) {
  std::printf("lwip_iperf: %s %s:%u: %lu bytes in %lu ms, %lu kbit/s\n",
              type == LWIPERF_TCP_DONE_SERVER || type == LWIPERF_TCP_DONE_CLIENT ? "done" : "aborted",
              ipaddr_ntoa(remote), remote_port, static_cast<unsigned long>(bytes),
              static_cast<unsigned long>(milliseconds), static_cast<unsigned long>(kilobits));
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) try {
  std::string bind, run_dir;
  CLI::App app("An iperf 2 server on lwIP (TCP), beside the kernel's own services.");
  app.add_option("--bind", bind, "where to listen: 192.0.2.1:5001, [2001:db8::1]:5001, [::]:5001")
      ->required()
      ->type_name("ADDR:PORT");
  app.add_option("--run-dir", run_dir, "mstackd's run directory (else MSTACK_RUN_DIR, else /run/mstack)")
      ->type_name("DIR");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  stop::on_signals();

  auto vport = mstack::Vport::open({.run_dir = run_dir});
  if (!vport) return fail(vport.error().what);
  const auto claim = vport->claim(mstack::tcp(bind));
  if (!claim) return fail(claim.error().what);
  mstack_lwip::Netif netif(vport->queue(0));
  if (lwiperf_start_tcp_server(IP_ANY_TYPE, claim->tuple().port, &report, nullptr) == nullptr)
    return fail("lwiperf cannot listen");
  std::printf("lwip_iperf: ready %s\n", claim->tuple().to_string().c_str());
  std::fflush(stdout);
  while (!stop::asked())
    if (const auto ran = netif.run_once(std::chrono::milliseconds(500)); !ran) return fail(ran.error().what);
  return 0;
} catch (const std::exception& error) {
  return fail(error.what());
}
