// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/options.hpp"

#include <CLI/CLI.hpp>
#include <map>

#include "map_view.hpp"
#include "run_dir.hpp"

namespace mstack::daemon {
namespace {

// One of some words, which must outlive the app.
template <class Value>
void add_choice(CLI::App& app, const std::string& name, Value& value, const std::map<std::string, Value>& choices,
                const std::string& words, const std::string& description) {
  app.add_option_function<std::string>(
         name, [&value, &choices](const std::string& word) { value = choices.at(word); }, description)
      ->check(CLI::IsMember(choices).description(""))
      ->type_name(words);
}

}  // namespace

std::expected<Options, int> parse_options(int argc, const char* const* argv) {
  Options options;
  std::uint64_t max_umem_mb = options.quota.umem_bytes >> 20;
  const std::map<std::string, protocol::XdpMode> xdp_modes = {{"auto", protocol::XdpMode::automatic},
                                                              {"native", protocol::XdpMode::native},
                                                              {"generic", protocol::XdpMode::generic}};
  const std::map<std::string, log::Level> log_levels = {{"error", log::Level::error},
                                                        {"warn", log::Level::warn},
                                                        {"info", log::Level::info},
                                                        {"debug", log::Level::debug}};

  CLI::App app("mstackd: user-level network stacks beside the kernel's, isolated by who owns which port", "mstackd");
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.set_version_flag("--version", "mstackd " MSTACK_VERSION);
  app.add_option("--uplink", options.uplinks, "Attach to this interface; may be repeated")
      ->type_name("IF")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->check([](const std::string& name) {
        return name.empty() || name.size() >= MSTACK_IFNAMSIZ ? "is no interface's name" : "";
      });
  app.add_option("--run-dir", options.run_dir, "Where the socket is [MSTACK_RUN_DIR, /run/mstack]")->type_name("DIR");
  app.add_option("--pin-dir", options.pin_dir, "Where the maps are pinned [MSTACK_PIN_DIR, /sys/fs/bpf/mstack]")
      ->type_name("DIR");
  app.add_option("--cgroup", options.cgroup, "Whose processes may own claims [the root of the cgroup2 hierarchy]")
      ->type_name("DIR");
  add_choice(app, "--xdp-mode", options.xdp_mode, xdp_modes, "auto|native|generic",
             "XDP in the driver, or above it [auto: native if it can]");
  app.add_flag("--chain", options.chain, "Next to other XDP programs, by libxdp's dispatcher [where one is there]");
  add_choice(app, "--log-level", options.log_level, log_levels, "error|warn|info|debug",
             "How much to tell on stderr [info]");
  app.add_flag("--keep", options.keep, "On the end, leave everything in place: running stacks go on");
  app.add_flag("--send-fragments", options.send_fragments,
               "Let stacks send fragments: only where they may write into each other's fragmented datagrams");
  app.add_flag_callback(
      "--no-guard", [&options] { options.guard = false; },
      "Let others than a claim's owner send from its tuple: raw and packet sockets, address translation");
  app.add_option("--group", options.group, "Only root and this group may connect [everybody]")->type_name("GROUP");
  app.add_option("--claims", options.claims, "Claims that there can be in all [65536]")
      ->check(CLI::Range(1u, 1u << 24))
      ->type_name("N");
  app.add_option("--max-vports", options.quota.vports, "Vports of one user, 0: no limit [64]")->type_name("N");
  app.add_option("--max-queues", options.quota.queues, "Queues of one user's vports, 0: no limit [256]")
      ->type_name("N");
  app.add_option("--max-claims", options.quota.claims, "Claims of one user, 0: no limit [16384]")->type_name("N");
  app.add_option("--max-umem-mb", max_umem_mb, "Packet memory of one user in MiB, 0: no limit [1024]")
      ->check(CLI::Range(std::uint64_t{0}, std::uint64_t{1} << 32))
      ->type_name("N");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
      app.exit(error);  // --help and --version: on stdout
      return std::unexpected(0);
    }
    log::error("{}; see mstackd --help", error.what());
    return std::unexpected(2);
  }
  options.quota.umem_bytes = max_umem_mb << 20;
  options.run_dir = run_directory(options.run_dir);
  options.pin_dir = pin_directory(options.pin_dir);
  return options;
}

}  // namespace mstack::daemon
