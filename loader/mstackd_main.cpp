// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/daemon.hpp"
#include "daemon/log.hpp"
#include "daemon/options.hpp"

int main(int argc, char** argv) {
  auto options = mstack::daemon::parse_options(argc, argv);
  if (!options) return options.error();
  mstack::log::set_level(options->log_level);
  mstack::daemon::Daemon daemon(std::move(*options));
  const auto ran = daemon.run();
  if (ran) return 0;
  mstack::log::error("{}", ran.error().what);
  return 1;
}
