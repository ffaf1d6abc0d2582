// SPDX-License-Identifier: BSD-2-Clause
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <vector>

#include "cli/options.hpp"
#include "cli/verbs.hpp"
#include "mstack_abi.h"

namespace {

using namespace mstack;
using cli::Answer;
using cli::Options;

std::expected<Options, Answer> parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "mstack");
  arguments.push_back(nullptr);
  return cli::parse_options(static_cast<int>(arguments.size()) - 1, arguments.data());
}

class CliOptions : public testing::Test {
 protected:
  void SetUp() override {
    unsetenv("MSTACK_RUN_DIR");
    unsetenv("MSTACK_PIN_DIR");
  }
};

TEST_F(CliOptions, WithoutACommandItIsStatus) {
  const auto options = parse({});
  ASSERT_TRUE(options);
  EXPECT_STREQ("status", options->verb->name);
  EXPECT_EQ("/run/mstack", options->run_dir);
  EXPECT_EQ("/sys/fs/bpf/mstack", options->pin_dir);
  EXPECT_FALSE(options->json);
  EXPECT_TRUE(parse({"--json"})->json);
}

TEST_F(CliOptions, EveryVerbOfTheTable) {
  for (const cli::Verb& verb : cli::verbs()) {
    const bool wants_interface =
        verb.takes == cli::Verb::Takes::interface || verb.takes == cli::Verb::Takes::interface_and_mode;
    const auto options = wants_interface ? parse({verb.name, "eth0"}) : parse({verb.name});
    ASSERT_TRUE(options) << verb.name;
    EXPECT_STREQ(verb.name, options->verb->name);
    EXPECT_EQ(verb.reads, parse({verb.name, "--json"}).has_value()) << verb.name;
  }
  EXPECT_EQ(8u, cli::verbs().size());
}

TEST_F(CliOptions, DirectoriesBeforeOrAfterTheCommandAndFromTheEnvironment) {
  EXPECT_EQ("/r", parse({"--run-dir", "/r", "claims"})->run_dir);
  EXPECT_EQ("/r", parse({"claims", "--run-dir=/r"})->run_dir);
  EXPECT_EQ("/p", parse({"claims", "--json", "--pin-dir", "/p"})->pin_dir);
  setenv("MSTACK_RUN_DIR", "/er", 1);
  setenv("MSTACK_PIN_DIR", "/ep", 1);
  EXPECT_EQ("/er", parse({})->run_dir);
  EXPECT_EQ("/ep", parse({})->pin_dir);
  EXPECT_EQ("/p", parse({"--pin-dir", "/p"})->pin_dir);
}

TEST_F(CliOptions, Arguments) {
  EXPECT_EQ(7u, parse({"stats", "7"})->vport);
  EXPECT_FALSE(parse({"stats"})->vport);
  EXPECT_EQ(4294967295u, parse({"stats", "4294967295"})->vport);
  EXPECT_EQ("eth0", parse({"attach", "eth0"})->interface);
  EXPECT_EQ(protocol::XdpMode::automatic, parse({"attach", "eth0"})->mode);
  EXPECT_EQ(protocol::XdpMode::automatic, parse({"attach", "eth0", "--xdp-mode", "auto"})->mode);
  EXPECT_EQ(protocol::XdpMode::native, parse({"attach", "eth0", "--xdp-mode", "native"})->mode);
  EXPECT_EQ(protocol::XdpMode::generic, parse({"attach", "--xdp-mode", "generic", "eth0"})->mode);
  EXPECT_EQ("eth0", parse({"detach", "eth0"})->interface);
}

TEST_F(CliOptions, UsageErrorsAreOneLineAndStatus2) {
  const std::vector<std::vector<const char*>> wrong = {{"nope"},
                                                       {"status", "x"},
                                                       {"status", "claims"},
                                                       {"attach"},
                                                       {"attach", "a", "b"},
                                                       {"attach", "a", "--xdp-mode"},
                                                       {"attach", "a", "--xdp-mode", "fast"},
                                                       {"attach", "a", "--xdp-mode", "1"},
                                                       {"attach", "a", "--json"},
                                                       {"detach"},
                                                       {"detach", "a", "--xdp-mode", "native"},
                                                       {"stats", "x"},
                                                       {"stats", "-1"},
                                                       {"stats", "4294967296"},
                                                       {"stats", "1", "2"},
                                                       {"--run-dir"},
                                                       {"--no\nsuch"}};
  for (const auto& arguments : wrong) {
    const auto options = parse(arguments);
    ASSERT_FALSE(options) << arguments.front();
    EXPECT_EQ(2, options.error().exit_status);
    EXPECT_EQ(std::string::npos, options.error().text.find('\n')) << options.error().text;
    EXPECT_TRUE(options.error().text.ends_with("; see mstack --help")) << options.error().text;
  }
}

TEST_F(CliOptions, HelpAndVersionAreAnswers) {
  const auto version = parse({"--version"});
  ASSERT_FALSE(version);
  EXPECT_EQ(0, version.error().exit_status);
  EXPECT_EQ(fmt::format("mstack {} (schema {}, protocol 2)\n", MSTACK_VERSION, MSTACK_SCHEMA_VERSION),
            version.error().text);
  const auto help = parse({"--help"});
  EXPECT_EQ(0, help.error().exit_status);
  for (const cli::Verb& verb : cli::verbs()) EXPECT_NE(std::string::npos, help.error().text.find(verb.name));
  EXPECT_EQ(0, parse({"attach", "--help"}).error().exit_status);
}

}  // namespace
