// SPDX-License-Identifier: BSD-2-Clause
//
// A UDP echo service on an address that the kernel serves too. It needs no privilege.
//
//   udp_echo --bind 192.0.2.1:7777
//
// Every packet is answered in the frames that it came in: nothing is copied.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <mstack/mstack.hpp>
#include <span>
#include <string>

#include "drain.hpp"
#include "not_negative.hpp"
#include "packet.hpp"
#include "stop.hpp"

namespace {

constexpr std::size_t batch = 64;

int fail(const mstack::Error& error) {
  std::fprintf(stderr, "udp_echo: %s\n", error.what.c_str());
  return 1;
}

// Until a signal, or until `count` packets were answered, if it is not 0.
mstack::Expected<void> echo(mstack::Queue& queue, std::uint64_t count) {
  std::uint64_t answered = 0;
  while (!stop::asked() && (count == 0 || answered < count)) {
    const auto ready = queue.wait(std::chrono::milliseconds(500));
    if (!ready) return std::unexpected(ready.error());
    const std::size_t most = count == 0 ? batch : std::min<std::uint64_t>(batch, count - answered);
    queue.receive(most, [&](std::span<mstack::Frame> frames) {
      auto packet = packet::parse(frames);
      if (!packet) return;
      packet::turn_round(*packet);
      answered += frames.size() == 1 ? queue.transmit(frames.front(), packet->frame_size) : queue.transmit(frames);
    });
    if (const auto flushed = queue.flush(); !flushed) return std::unexpected(flushed.error());
  }
  if (const auto left = drain(queue); !left) return std::unexpected(left.error());
  return {};
}

}  // namespace

int main(int argc, char** argv) try {
  std::string bind, run_dir;
  std::uint64_t count = 0;
  bool multi_buffer = false;
  CLI::App app("Answers every UDP packet to ADDR:PORT with itself, beside the kernel's own services.");
  app.add_option("--bind", bind, "where to listen: 192.0.2.1:7, [2001:db8::1]:7, 0.0.0.0:7; port 0 picks one")
      ->required()
      ->type_name("ADDR:PORT");
  app.add_option("--count", count, "end after so many answers (0: never)")->check(not_negative)->type_name("N");
  app.add_flag("--multi-buffer", multi_buffer, "packets of several frames too: up to the uplink's MTU");
  app.add_option("--run-dir", run_dir, "mstackd's run directory (else MSTACK_RUN_DIR, else /run/mstack)")
      ->type_name("DIR");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  stop::on_signals();

  auto vport = mstack::Vport::open({.multi_buffer = multi_buffer, .run_dir = run_dir});
  if (!vport) return fail(vport.error());
  const auto claim = vport->claim(mstack::udp(bind));
  if (!claim) return fail(claim.error());
  std::printf("udp_echo: ready %s\n", claim->tuple().to_string().c_str());
  std::fflush(stdout);

  const auto done = echo(vport->queue(0), count);
  return done ? 0 : fail(done.error());
} catch (const std::exception& error) {
  return fail({.code = ENOMEM, .what = error.what()});
}
