// SPDX-License-Identifier: BSD-2-Clause
//
// The command line, from outside: what it prints, what it exits with, and one line for each error.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <tuple>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

using Json = nlohmann::json;

const Endpoint service{host4, 7000};
constexpr Exit done{.code = 0, .signal = 0}, failed{.code = 1, .signal = 0}, usage{.code = 2, .signal = 0};
const char* const nouns[] = {"status", "uplinks", "vports", "claims", "stats"};

void expect_one_line_error(const Completed& result, const Exit& exit, const std::string& word) {
  EXPECT_EQ(result.exit, exit) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
  EXPECT_NE(result.err.find(word), std::string::npos) << result.err;
}

class CommandLine : public NetTest {
 protected:
  Completed mstack(std::vector<std::string> arguments, Identity who = {}) const {
    return world().command(std::move(arguments), std::move(who));
  }
  Json json(const std::vector<std::string>& arguments) const {
    const Completed result = mstack(arguments);
    EXPECT_EQ(result.exit, done) << result.err;
    EXPECT_EQ(result.err, "");
    return Json::parse(result.out);  // throws, and so fails the test, if it is not JSON
  }
};

TEST_F(CommandLine, JsonSaysWhatIsTrue) {
  Stack stack(world(), alice, {.queues = 2, .frames = 64});
  const Claim udp = stack.claim(IPPROTO_UDP, service), tcp = stack.claim(IPPROTO_TCP, {host6, 7001});
  world().send(World::udp({wire4, 4000}, service, "one"));
  ASSERT_TRUE(stack.receive(udp_payload("one")));

  const Json status = json({"status", "--json"});
  EXPECT_EQ(status["daemon"]["state"], "running");
  EXPECT_EQ(status["daemon"]["pid"], daemon().pid());
  EXPECT_EQ(status["schema"], MSTACK_SCHEMA_VERSION);
  EXPECT_EQ(status["vports"], 1);
  EXPECT_EQ(status["claims"]["used"], 2);
  EXPECT_EQ(status["claims"]["size"], MSTACK_DEFAULT_CLAIMS);
  EXPECT_EQ(status["netns_cookie"], world().host().cookie());

  const Json uplinks = json({"--json", "uplinks"})["uplinks"];
  ASSERT_EQ(uplinks.size(), 1U);
  EXPECT_EQ(uplinks[0]["name"], uplink);
  EXPECT_EQ(uplinks[0]["ifindex"], world().uplink_index());
  EXPECT_EQ(uplinks[0]["mode"], "native");
  EXPECT_EQ(uplinks[0]["stays"], false);

  const Json vports = json({"vports", "--json"})["vports"];
  ASSERT_EQ(vports.size(), 1U);
  EXPECT_EQ(vports[0]["vport"], stack.id());
  EXPECT_EQ(vports[0]["uid"], alice);
  EXPECT_EQ(vports[0]["pid"], ::getpid());
  EXPECT_EQ(vports[0]["queues"], 2);
  EXPECT_EQ(vports[0]["claims"], 2);
  EXPECT_EQ(vports[0]["received"], 1);
  EXPECT_EQ(vports[0]["umem_bytes"], 2 * 64 * 2048);

  const Json claims = json({"claims", "--json"})["claims"];
  ASSERT_EQ(claims.size(), 2U);
  for (const Json& claim : claims) {
    const bool is_udp = claim["protocol"] == "udp";
    EXPECT_EQ(claim["address"], is_udp ? host4 : host6);
    EXPECT_EQ(claim["port"], is_udp ? 7000 : 7001);
    EXPECT_EQ(claim["uid"], alice);
    EXPECT_EQ(claim["vport"], stack.id());
    EXPECT_EQ(claim["cookie"], socket_cookie(is_udp ? udp.fd() : tcp.fd()));
  }

  // Every verdict, by the name that the maps' header gives it.
  const Json counters = json({"stats", "--json"})["counters"];
  EXPECT_EQ(counters.size(), MSTACK_VERDICT_COUNT);
  std::uint64_t steered = 0, others = 0;
  for (const auto& [name, count] : counters.items()) {
    std::string upper = name;
    std::ranges::transform(upper, upper.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    (upper == "RX_STEERED" ? steered : others) += count.get<std::uint64_t>();
  }
  EXPECT_EQ(steered, 1U);
  const Json of_vport = json({"stats", "--json", std::to_string(stack.id())});
  EXPECT_EQ(of_vport["vport"], stack.id());
  EXPECT_EQ(of_vport["queues"].size(), 2U);
  EXPECT_GT(of_vport["rx_bytes"], 0);
}

TEST_F(CommandLine, TextForPeople) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  for (const auto* noun : nouns) {
    const Completed result = mstack({noun});
    EXPECT_EQ(result.exit, done) << result.err;
    EXPECT_EQ(result.err, "");
    EXPECT_FALSE(result.out.empty()) << noun;
  }
  EXPECT_NE(mstack({"claims"}).out.find(host4), std::string::npos);
  const auto without_packets = [](const std::string& text) { return text.substr(0, text.find("\npackets")); };
  EXPECT_EQ(without_packets(mstack({}).out), without_packets(mstack({"status"}).out));
  EXPECT_EQ(mstack({"--help"}).exit, done);
  EXPECT_EQ(mstack({"--version"}).exit, done);
}

TEST_F(CommandLine, NounsNeedNoDaemon) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  crash();
  for (const auto* noun : nouns) EXPECT_FALSE(json({noun, "--json"}).empty()) << noun;
  EXPECT_EQ(json({"status", "--json"})["daemon"]["state"], "stopped");
  EXPECT_EQ(json({"claims", "--json"})["claims"].size(), 1U);
  for (const auto* verb : {"attach", "detach"}) expect_one_line_error(mstack({verb, uplink}), failed, "start mstackd");
}

TEST_F(CommandLine, WhereNothingIsPinned) {
  for (const auto* noun : nouns) {
    expect_one_line_error(mstack({noun, "--pin-dir", world().directory() + "/nowhere"}), failed,
                          "/nowhere; start mstackd");
  }
  for (const auto* verb : {"attach", "detach"}) {
    expect_one_line_error(mstack({verb, uplink, "--run-dir", world().directory() + "/nowhere"}), failed, "nowhere");
  }
}

TEST_F(CommandLine, Usage) {
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"frobnicate"},
                                                    {"status", "--frobnicate"},
                                                    {"attach"},
                                                    {"attach", "up0", "up1"},
                                                    {"attach", "up0", "--xdp-mode", "sideways"},
                                                    {"stats", "one"},
                                                    {"claims", "vports"},
                                                    {"--run-dir"}}) {
    const Completed result = mstack(arguments);
    EXPECT_EQ(result.exit, usage) << ::testing::PrintToString(arguments);
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
  }
}

TEST_F(CommandLine, WhatIsNotThere) {
  for (const std::string name : {"nosuch0", "..", "a/b", "aninterfacenametoolong", ""}) {
    for (const auto* verb : {"attach", "detach"}) {
      SCOPED_TRACE(verb + (" " + name));
      expect_one_line_error(mstack({verb, name}), failed, name);
      expect_one_line_error(mstack({verb, name}), failed, "link");  // `ip link`, `mstack uplinks`
    }
  }
  expect_one_line_error(mstack({"stats", "999999"}), failed, "999999; `mstack vports` lists");
  expect_one_line_error(mstack({"attach", uplink}), failed, uplink + " already: detach it first");
}

TEST_F(CommandLine, WithoutPermission) {
  const Identity user{.uid = alice};
  for (const auto* noun : nouns) {
    expect_one_line_error(mstack({noun, "--json"}, user), failed, "run mstack as root");
  }
  for (const auto* verb : {"attach", "detach"}) {
    expect_one_line_error(mstack({verb, uplink}, user), failed, "use sudo");
  }
  EXPECT_EQ(pins().uplinks().size(), 1U);
}

TEST_F(CommandLine, AttachAndDetach) {
  World::in(world().host(), "ip link add second0 type veth peer name second1");
  World::in(world().host(), "ip link set second0 up");
  World::in(world().host(), "ip link set second1 up");
  EXPECT_EQ(mstack({"attach", "second0", "--xdp-mode", "generic"}).exit, done);
  Json uplinks = json({"uplinks", "--json"})["uplinks"];
  ASSERT_EQ(uplinks.size(), 2U);
  for (const Json& link : uplinks) {
    EXPECT_EQ(link["stays"], link["name"] == "second0");
    EXPECT_EQ(link["mode"], link["name"] == "second0" ? "generic" : "native");
    if (link["mode"] == "generic") {
      EXPECT_EQ(link["sends_by"], "tc");
    }
  }
  EXPECT_EQ(mstack({"detach", "second0"}).exit, done);
  expect_one_line_error(mstack({"detach", "second0"}), failed, "second0");
  EXPECT_EQ(json({"uplinks", "--json"})["uplinks"].size(), 1U);
  // One whose device goes away is waited for, until it is detached.
  EXPECT_EQ(mstack({"attach", "second0"}).exit, done);
  World::in(world().host(), "ip link del second0");
  EXPECT_TRUE(eventually([&] {
    const Json now = json({"uplinks", "--json"})["uplinks"];
    return std::ranges::any_of(now,
                               [](const Json& link) { return link["name"] == "second0" && link["state"] == "gone"; });
  }));
  EXPECT_EQ(mstack({"detach", "second0"}).exit, done);
  EXPECT_EQ(json({"uplinks", "--json"})["uplinks"].size(), 1U);
}

// Native where the driver has it, else generic, or as it is told.
TEST_F(CommandLine, TheModeIsTheDriversBestOrAsItIsTold) {
  const Completed made = run({"ip", "link", "add", "bridge0", "type", "bridge"}, {.who = {.netns = &world().host()}});
  if (made.exit != done) GTEST_SKIP() << "this kernel has no bridges, which have no XDP of their own: " << made.err;
  World::in(world().host(), "ip link add second0 type veth peer name second1");
  const auto mode_of = [&](const std::string& name) {
    const Json uplinks = json({"uplinks", "--json"})["uplinks"];
    for (const Json& link : uplinks)
      if (link["name"] == name) return link["mode"].get<std::string>();
    return std::string("not attached");
  };
  expect_one_line_error(mstack({"attach", "bridge0", "--xdp-mode", "native"}), failed, "try --xdp-mode generic");
  EXPECT_EQ(mode_of("bridge0"), "not attached");
  EXPECT_EQ(attached_xdp(world().host(), "bridge0"), 0U);
  for (const auto& [name, mode, expected] : {std::tuple{"bridge0", "auto", "generic"},
                                             {"bridge0", "generic", "generic"},
                                             {"second0", "auto", "native"},
                                             {"second0", "native", "native"},
                                             {"second0", "generic", "generic"}}) {
    SCOPED_TRACE(std::string(name) + ' ' + mode);
    EXPECT_EQ(mstack({"attach", name, "--xdp-mode", mode}).exit, done);
    EXPECT_EQ(mode_of(name), expected);
    EXPECT_EQ(mstack({"detach", name}).exit, done);
  }
  for (const char* name : {"bridge0", "second0"}) World::in(world().host(), "ip link del " + std::string(name));
}

// What was attached by hand stays when mstackd ends, and with it everything else.
TEST_F(CommandLine, AttachedByHandStays) {
  EXPECT_EQ(mstack({"detach", uplink}).exit, done);
  EXPECT_EQ(mstack({"attach", uplink}).exit, done);
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  EXPECT_EQ(daemon().stop(), done);
  world().send(World::udp({wire4, 4000}, service, "still steered"));
  EXPECT_TRUE(stack.receive(udp_payload("still steered")));
  start({.arguments = {}, .attach = false, .environment = {}});
  EXPECT_EQ(json({"uplinks", "--json"})["uplinks"].size(), 1U);
  EXPECT_EQ(mstack({"detach", uplink}).exit, done);
}

// With a stack that runs, and still: all of it goes, or all of it stays.
TEST_F(CommandLine, MstackdEndsByEachOfItsSignals) {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    SCOPED_TRACE(::strsignal(signal));
    Stack stack(world());
    const Claim claim = stack.claim(IPPROTO_UDP, service);
    EXPECT_EQ(daemon().stop(signal), done);
    const auto left = world().leftovers_after_end();
    EXPECT_TRUE(left.empty()) << ::testing::PrintToString(left);
    start({.arguments = {"--keep"}, .environment = {}});
    Stack kept(world());
    const Claim stays = kept.claim(IPPROTO_UDP, {host4, 7001});
    EXPECT_EQ(daemon().stop(signal), done);
    EXPECT_TRUE(pins().claimed(IPPROTO_UDP, {host4, 7001}));
    world().send(World::udp({wire4, 4000}, {host4, 7001}, "kept"));
    EXPECT_TRUE(kept.receive(udp_payload("kept")));
    start();
  }
}

class DaemonCommandLine : public ::testing::Test {};

TEST_F(DaemonCommandLine, RefusesWhatItCannotDo) {
  const World world;
  const auto refused = [&](std::vector<std::string> arguments, const Exit& exit, const std::string& word) {
    arguments.insert(arguments.begin(), {"--log-level", "error"});
    const Completed result =
        Daemon::run_to_end(world, {.arguments = std::move(arguments), .attach = false, .environment = {}});
    expect_one_line_error(result, exit, word);
    const auto left = world.leftovers_after_end();
    EXPECT_TRUE(left.empty()) << ::testing::PrintToString(left);
  };
  refused({"--uplink", "nosuch0"}, failed, "nosuch0");
  refused({"--uplink", uplink, "--uplink", "nosuch0"}, failed, "nosuch0");
  refused({"--uplink", "lo"}, failed, "lo");
  refused({"--group", "no-such-group"}, failed, "no-such-group");
  refused({"--frobnicate"}, usage, "--frobnicate");
  refused({"--claims", "0"}, usage, "--claims");
  refused({"--max-vports", "-1"}, usage, "--max-vports");
  refused({"--log-level", "loud"}, usage, "loud");
}

TEST_F(DaemonCommandLine, NeedsABpfFilesystem) {
  const World world;
  DaemonOptions nowhere{.arguments = {"--pin-dir", world.directory() + "/no-bpffs"}, .environment = {}};
  const Completed result = Daemon::run_to_end(world, nowhere);
  EXPECT_EQ(result.exit, failed);
  EXPECT_NE(result.err.find("no-bpffs"), std::string::npos) << result.err;
  EXPECT_TRUE(world.leftovers_after_end().empty());
}

}  // namespace
}  // namespace mstack::test
