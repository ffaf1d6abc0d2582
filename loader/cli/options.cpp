// SPDX-License-Identifier: BSD-2-Clause
#include "cli/options.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <sstream>

#include "cli/verbs.hpp"
#include "map_view.hpp"
#include "run_dir.hpp"

namespace mstack::cli {
namespace {

using Takes = Verb::Takes;

protocol::XdpMode mode_of(const std::string& text) {
  if (text == "native") return protocol::XdpMode::native;
  if (text == "generic") return protocol::XdpMode::generic;
  return protocol::XdpMode::automatic;
}

void add_arguments(CLI::App& command, const Verb& verb, Options& options) {
  if (verb.takes == Takes::optional_vport)
    command.add_option("VPORT", options.vport, "The number of a vport, as `mstack vports` shows it");
  if (verb.takes == Takes::interfaces_and_cgroup) {
    command.add_option("IF", options.interfaces, "Names of network interfaces")->expected(0, -1);
    command.add_option("--cgroup", options.cgroup, "As for mstackd [the cgroup2 mount]")->type_name("DIR");
  }
  if (verb.takes != Takes::interface && verb.takes != Takes::interface_and_mode) return;
  command.add_option("IF", options.interface, "The name of a network interface")->required();
  if (verb.takes != Takes::interface_and_mode) return;
  command.add_flag("--chain", options.chain, "Next to other XDP programs, by libxdp's dispatcher [where one is there]");
  command
      .add_option_function<std::string>(
          "--xdp-mode", [&options](const std::string& mode) { options.mode = mode_of(mode); },
          "XDP in the driver, or above it [auto: native if it can]")
      ->check(CLI::IsMember({"auto", "native", "generic"}).description(""))
      ->type_name("auto|native|generic");
}

// CLI11 quotes what was typed, which may hold anything.
std::string one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }, ' ');
  return text;
}

}  // namespace

std::expected<Options, Answer> parse_options(int argc, const char* const* argv) {
  Options options;
  CLI::App app("Shows and changes what MultiStack does. Without a command: status.", "mstack");
  app.set_version_flag("--version", fmt::format("mstack {} (schema {}, protocol {})", MSTACK_VERSION,
                                                MSTACK_SCHEMA_VERSION, protocol::version));
  app.add_option("--run-dir", options.run_dir, "Where mstackd's socket is [MSTACK_RUN_DIR, /run/mstack]")
      ->type_name("DIR");
  app.add_option("--pin-dir", options.pin_dir, "Where its maps are pinned [MSTACK_PIN_DIR, /sys/fs/bpf/mstack]")
      ->type_name("DIR");
  app.add_flag("--json", options.json, "For programs: the keys stay as they are");
  app.require_subcommand(0, 1);
  app.fallthrough();  // options may stand before or after the command
  std::map<const CLI::App*, const Verb*> commands;
  for (const Verb& verb : verbs()) {
    CLI::App* command = app.add_subcommand(verb.name, verb.summary);
    add_arguments(*command, verb, options);
    commands[command] = &verb;
  }

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != static_cast<int>(CLI::ExitCodes::Success))
      return std::unexpected(Answer{.text = one_line(error.what()) + "; see mstack --help", .exit_status = 2});
    std::ostringstream text;
    app.exit(error, text, text);
    return std::unexpected(Answer{.text = text.str(), .exit_status = 0});
  }
  const auto chosen = app.get_subcommands();
  options.verb = chosen.empty() ? &verbs().front() : commands.at(chosen.front());
  if (options.json && !options.verb->reads)
    return std::unexpected(
        Answer{.text = fmt::format("{} has no --json; see mstack --help", options.verb->name), .exit_status = 2});
  options.run_dir = run_directory(options.run_dir);
  options.pin_dir = pin_directory(options.pin_dir);
  return options;
}

}  // namespace mstack::cli
