// SPDX-License-Identifier: BSD-2-Clause
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <string>
#include <vector>

#include "daemon/options.hpp"

namespace mstack::daemon {
namespace {

class DaemonOptions : public testing::Test {
 protected:
  void SetUp() override {
    ::unsetenv("MSTACK_RUN_DIR");
    ::unsetenv("MSTACK_PIN_DIR");
  }
  static std::expected<Options, int> parse(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "mstackd");
    return parse_options(static_cast<int>(arguments.size()), arguments.data());
  }
};

TEST_F(DaemonOptions, WhatIsNotSaid) {
  const auto options = parse({});
  ASSERT_TRUE(options);
  EXPECT_TRUE(options->uplinks.empty());
  EXPECT_EQ(options->run_dir, "/run/mstack");
  EXPECT_EQ(options->pin_dir, "/sys/fs/bpf/mstack");
  EXPECT_EQ(options->cgroup, "");
  EXPECT_EQ(options->group, "");
  EXPECT_EQ(options->xdp_mode, protocol::XdpMode::automatic);
  EXPECT_EQ(options->log_level, log::Level::info);
  EXPECT_FALSE(options->chain || options->keep || options->send_fragments);
  EXPECT_EQ(options->claims, 65536U);
  EXPECT_EQ(options->quota.vports, 64U);
  EXPECT_EQ(options->quota.queues, 256U);
  EXPECT_EQ(options->quota.claims, 16384U);
  EXPECT_EQ(options->quota.umem_bytes, std::uint64_t{1} << 30);
}

TEST_F(DaemonOptions, EachIsItsOwn) {
  const auto options = parse({"--uplink",
                              "eth0",
                              "--uplink",
                              "eth1",
                              "--run-dir",
                              "/r",
                              "--pin-dir",
                              "/p",
                              "--cgroup",
                              "/c",
                              "--group",
                              "g",
                              "--chain",
                              "--keep",
                              "--send-fragments",
                              "--claims",
                              "1",
                              "--max-vports",
                              "2",
                              "--max-queues",
                              "3",
                              "--max-claims",
                              "4",
                              "--max-umem-mb",
                              "5"});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->uplinks, (std::vector<std::string>{"eth0", "eth1"}));
  EXPECT_EQ(options->run_dir, "/r");
  EXPECT_EQ(options->pin_dir, "/p");
  EXPECT_EQ(options->cgroup, "/c");
  EXPECT_EQ(options->group, "g");
  EXPECT_TRUE(options->chain && options->keep && options->send_fragments);
  EXPECT_EQ(options->claims, 1U);
  EXPECT_EQ(options->quota.vports, 2U);
  EXPECT_EQ(options->quota.queues, 3U);
  EXPECT_EQ(options->quota.claims, 4U);
  EXPECT_EQ(options->quota.umem_bytes, std::uint64_t{5} << 20);
}

TEST_F(DaemonOptions, WordsAreTheOnesThatAreNamed) {
  EXPECT_EQ(parse({"--xdp-mode", "auto"})->xdp_mode, protocol::XdpMode::automatic);
  EXPECT_EQ(parse({"--xdp-mode", "native"})->xdp_mode, protocol::XdpMode::native);
  EXPECT_EQ(parse({"--xdp-mode", "generic"})->xdp_mode, protocol::XdpMode::generic);
  EXPECT_EQ(parse({"--xdp-mode", "native", "--xdp-mode", "generic"})->xdp_mode, protocol::XdpMode::generic);
  EXPECT_EQ(parse({"--log-level", "error"})->log_level, log::Level::error);
  EXPECT_EQ(parse({"--log-level", "warn"})->log_level, log::Level::warn);
  EXPECT_EQ(parse({"--log-level", "info"})->log_level, log::Level::info);
  EXPECT_EQ(parse({"--log-level", "debug"})->log_level, log::Level::debug);
}

TEST_F(DaemonOptions, UsageErrorsAreOneLineAndStatus2) {
  const std::vector<std::vector<const char*>> wrong = {{"eth0"},
                                                       {"--frobnicate"},
                                                       {"--no\nsuch"},
                                                       {"--uplink"},
                                                       {"--uplink", ""},
                                                       {"--uplink", "aninterfacenametoolong"},
                                                       {"--xdp-mode", "fast"},
                                                       {"--xdp-mode", "1"},
                                                       {"--log-level", "loud\x1b[31m"},
                                                       {"--log-level", "1"},
                                                       {"--claims", "0"},
                                                       {"--claims", "16777217"},
                                                       {"--claims", "many"},
                                                       {"--max-vports", "-1"},
                                                       {"--max-queues", "4294967296"},
                                                       {"--max-claims", "x"},
                                                       {"--max-umem-mb", "-1"},
                                                       {"--max-umem-mb", "4294967297"}};
  for (const auto& arguments : wrong) {
    SCOPED_TRACE(testing::PrintToString(arguments));
    testing::internal::CaptureStderr();
    const auto options = parse(arguments);
    const std::string said = testing::internal::GetCapturedStderr();
    ASSERT_FALSE(options);
    EXPECT_EQ(options.error(), 2);
    EXPECT_TRUE(said.starts_with("mstackd: ")) << said;
    EXPECT_TRUE(said.ends_with("; see mstackd --help\n")) << said;
    EXPECT_EQ(std::ranges::count_if(said, [](char c) { return c < ' '; }), 1) << said;
  }
}

TEST_F(DaemonOptions, HelpAndVersionAreAnswers) {
  for (const char* question : {"--help", "--version"}) {
    testing::internal::CaptureStdout();
    const auto options = parse({question});
    const std::string said = testing::internal::GetCapturedStdout();
    ASSERT_FALSE(options);
    EXPECT_EQ(options.error(), 0);
    EXPECT_TRUE(said.starts_with("mstackd")) << said;
    EXPECT_TRUE(std::ranges::all_of(said, [](char c) { return c == '\n' || (c >= ' ' && c < 0x7f); })) << said;
    EXPECT_EQ(said.find("->"), std::string::npos) << "words, not what they stand for: " << said;
  }
}

}  // namespace
}  // namespace mstack::daemon
