// SPDX-License-Identifier: BSD-2-Clause
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <stdexcept>

#include "support/world.hpp"

namespace mstack::test {

namespace {

// What systemd gives a service of Type=notify: READY=1 arrives here.
Fd notify_socket(const std::string& path) {
  ::unlink(path.c_str());
  Fd socket{check(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), "notify socket")};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  check(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), "bind " + path);
  return socket;
}

bool is_ready(int notify) {
  std::array<char, 512> text{};
  const ssize_t size = ::recv(notify, text.data(), text.size() - 1, MSG_DONTWAIT);
  return size > 0 && std::strstr(text.data(), "READY=1") != nullptr;
}

ProcessOptions process_options(const World& world, const DaemonOptions& options) {
  ProcessOptions out{.who = {.netns = &world.host()}, .environment = options.environment, .keep = {}};
  out.environment["NOTIFY_SOCKET"] = world.directory() + "/notify";
  return out;
}

}  // namespace

std::vector<std::string> Daemon::command_line(const World& world, const DaemonOptions& options) {
  std::vector<std::string> out{TESTED_MSTACKD,   "--run-dir",   world.run_dir(), "--pin-dir",
                               world.pin_dir(),  "--cgroup",    world.cgroup(),  "--xdp-mode",
                               options.xdp_mode, "--log-level", "debug"};
  if (options.attach) out.insert(out.end(), {"--uplink", uplink});
  if (options.attach && world.has_second()) out.insert(out.end(), {"--uplink", second_uplink});
  out.insert(out.end(), options.arguments.begin(), options.arguments.end());
  return out;
}

Daemon::Daemon(const World& world, const DaemonOptions& options)
    : notify_(notify_socket(world.directory() + "/notify")),
      process_(Process::command(command_line(world, options), process_options(world, options))) {
  const Deadline deadline;
  while (!is_ready(notify_.get())) {
    if (!process_.running()) throw std::runtime_error("mstackd ended instead of serving:\n" + log());
    if (deadline.passed()) throw std::runtime_error("mstackd did not say that it is ready:\n" + log());
    wait_for(notify_.get(), POLLIN, Deadline{50ms});
  }
}

Daemon::~Daemon() {
  if (::testing::Test::HasFailure()) std::cerr << "--- mstackd's log\n" << log() << "---\n";
}

Completed Daemon::run_to_end(const World& world, const DaemonOptions& options) {
  return run(command_line(world, options), process_options(world, options));
}

Exit Daemon::stop(int signal) {
  process_.signal(signal);
  const auto exit = process_.wait();
  if (!exit) {
    ADD_FAILURE() << "mstackd does not end on signal " << signal;
    return process_.kill();
  }
  return *exit;
}

Exit Daemon::kill() {
  return process_.kill();
}

std::size_t Daemon::times_told(std::string_view words) const {
  const std::string told = log();
  std::size_t count = 0;
  for (std::size_t at = told.find(words); at != std::string::npos; at = told.find(words, at + 1)) ++count;
  return count;
}

}  // namespace mstack::test
