// SPDX-License-Identifier: BSD-2-Clause
//
// The example programs as a user has them: an unprivileged process each, told by its options, judged by its output and
// its exit status.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "support/fixture.hpp"
#include "support/multi_buffer.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

using Json = nlohmann::json;
using namespace std::string_literals;
using Words = std::vector<std::string>;

const Endpoint service{host4, 7000}, remote{wire4, 4000};
constexpr Exit done{.code = 0, .signal = 0}, failed{.code = 1, .signal = 0}, usage{.code = 2, .signal = 0};

std::string text(const Endpoint& endpoint) {
  std::ostringstream out;
  out << (endpoint.ipv6() ? "[" + endpoint.address + "]" : endpoint.address) << ':' << endpoint.port;
  return out.str();
}

// What pkt_gen writes first into a payload.
std::string stamp(std::uint32_t stream, std::uint64_t sequence) {
  std::string out = "mspg";
  out.append(reinterpret_cast<const char*>(&stream), sizeof(stream));
  out.append(reinterpret_cast<const char*>(&sequence), sizeof(sequence));
  return out;
}

std::uint64_t sequence_of(const Packet& packet) {
  std::uint64_t sequence = 0;
  if (packet.payload.size() >= 16) std::memcpy(&sequence, packet.payload.data() + 8, sizeof(sequence));
  return sequence;
}

class Examples : public NetTest {
 protected:
  Words command(const std::string& program, const Words& arguments) const {
    // Copies, since other users may not reach the build directory.
    const std::string copies = world().directory() + "/examples";
    if (!std::filesystem::exists(copies)) {
      check(::mkdir(copies.c_str(), 0755), "mkdir " + copies);
      for (const char* name : {"udp_echo", "pkt_gen", "claim_denied"})
        std::filesystem::copy_file(std::string(TESTED_EXAMPLES) + "/" + name, copies + "/" + name);
      std::filesystem::copy_file(TESTED_LIBRARY, copies + "/" + TESTED_LIBRARY_SONAME);
    }
    Words out{copies + "/" + program};
    out.insert(out.end(), arguments.begin(), arguments.end());
    return out;
  }
  ProcessOptions as_alice() const {
    return {
        .who = {.netns = &world().host(), .uid = alice},
        .environment = {{"MSTACK_RUN_DIR", world().run_dir()}, {"LD_LIBRARY_PATH", world().directory() + "/examples"}}};
  }
  Completed run_example(const std::string& program, const Words& arguments) const {
    return run(command(program, arguments), as_alice());
  }
  Process start_example(const std::string& program, const Words& arguments) const {
    Process process = Process::command(command(program, arguments), as_alice());
    const auto ready = [&] { return process.out().find("ready") != std::string::npos; };
    eventually([&] { return ready() || !process.running(); });
    if (!ready()) throw std::runtime_error(program + " does not begin: " + process.err());
    return process;
  }
  // One line: what was attempted, why it was refused, and what to do next.
  void expect_refused(const std::string& program, const Words& arguments, const Words& said) const {
    SCOPED_TRACE(program + " " + ::testing::PrintToString(arguments));
    const Completed result = run_example(program, arguments);
    EXPECT_EQ(result.exit, failed);
    EXPECT_EQ(result.out, "");
    EXPECT_TRUE(result.err.starts_with(program + ": ")) << result.err;
    EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
    for (const std::string& part : said)
      EXPECT_NE(result.err.find(part), std::string::npos) << part << ": " << result.err;
  }
};

// Each line that pkt_gen --json printed.
std::vector<Json> json_lines(const std::string& out) {
  std::vector<Json> lines;
  std::istringstream in(out);
  for (std::string line; std::getline(in, line);) lines.push_back(Json::parse(line));
  return lines;
}

class ExamplesEcho : public Examples, public ::testing::WithParamInterface<std::pair<std::string, std::string>> {};

INSTANTIATE_TEST_SUITE_P(Families, ExamplesEcho, ::testing::Values(std::pair{host4, wire4}, std::pair{host6, wire6}),
                         [](const auto& chosen) { return chosen.param.first == host4 ? "IPv4" : "IPv6"; });

// Packets of several frames, of the largest size that fits.
TEST_P(ExamplesEcho, JumboFrames) {
  if (!kernel_has_multi_buffer()) GTEST_SKIP() << "this kernel has no AF_XDP packets of several frames";
  World::in(world().host(), "ip link set up0 mtu 9000");
  World::in(world().wire(), "ip link set wire0 mtu 9000");
  restart();
  const Endpoint here{GetParam().first, 7000}, sender{GetParam().first, 7001}, there{GetParam().second, 4000};
  const std::size_t most = 9000 - (here.ipv6() ? 48 : 28);
  const std::string payload(most, 'j');
  {
    Process echo = start_example("udp_echo", {"--bind", text(here), "--count", "1", "--multi-buffer"});
    const Fd client = world().wire().run([&] { return bound(IPPROTO_UDP, there); });
    send_to(client.get(), here, payload);
    const auto answer = receive_from(client.get());
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->payload, payload);
    EXPECT_EQ(echo.wait(), done);
  }
  const Fd sink = world().wire().run([&] { return bound(IPPROTO_UDP, there); });
  const Completed sent =
      run_example("pkt_gen", {"tx", "--bind", text(sender), "--to", text(there), "--size", "9014", "--count", "2"});
  EXPECT_EQ(sent.exit, done) << sent.err;
  for (int i = 0; i < 2; ++i) {
    const auto got = receive_from(sink.get());
    ASSERT_TRUE(got);
    EXPECT_EQ(got->payload.size(), most);
  }
}

TEST_P(ExamplesEcho, AnswersAKernelSocketAndEndsAfterItsCount) {
  const Endpoint here{GetParam().first, 7000};
  Process echo = start_example("udp_echo", {"--bind", text(here), "--count", "3"});
  EXPECT_EQ(echo.out(), "udp_echo: ready " + text(here) + "\n");
  EXPECT_TRUE(pins().claimed(IPPROTO_UDP, here));
  const Fd client = world().wire().run([] { return bound(IPPROTO_UDP, {GetParam().second, 0}); });
  for (const std::string said : {"one", "", "three"}) {
    EXPECT_TRUE(echo.running());
    send_to(client.get(), here, said);
    const auto answer = receive_from(client.get());  // by the kernel, which looks at the checksum
    ASSERT_TRUE(answer) << said;
    EXPECT_EQ(answer->payload, said);
    EXPECT_EQ(answer->from, here);
  }
  EXPECT_EQ(echo.wait(), done);
  EXPECT_EQ(echo.err(), "");
}

TEST_F(Examples, UdpEchoEndsByASignal) {
  for (const int number : {SIGTERM, SIGINT}) {
    Process echo = start_example("udp_echo", {"--bind", host4 + ":0"});
    EXPECT_EQ(pins().claims().size(), 1U) << "port 0 picks one";
    echo.signal(number);
    EXPECT_EQ(echo.wait(), done);
    EXPECT_TRUE(eventually([&] { return pins().claims().empty(); }));
  }
}

// The rate is that of the time it ran, whatever part of it the packets came in.
TEST_F(Examples, PktGenCountsWhatComes) {
  Process receiver = start_example("pkt_gen", {"rx", "--bind", text(service), "--count", "203", "--json"});
  ASSERT_TRUE(eventually([&] { return receiver.out().find("interval") != std::string::npos; })) << "after a second";
  for (std::uint64_t sequence = 0; sequence < 210; ++sequence)
    if (sequence < 100 || sequence >= 110) world().send(World::udp(remote, service, stamp(1, sequence)));
  for (const char* unstamped : {"", "short", "long enough, but not a stamp"})
    world().send(World::udp(remote, service, unstamped));
  ASSERT_EQ(receiver.wait(), done) << receiver.err();
  EXPECT_EQ(receiver.err(), "");
  const auto lines = json_lines(receiver.out());
  EXPECT_EQ(lines.front()["type"], "ready");
  EXPECT_EQ(lines.front()["tuple"], text(service));
  EXPECT_EQ(lines.at(1)["type"], "interval");
  const Json& summary = lines.back();
  EXPECT_EQ(summary["type"], "summary");
  EXPECT_EQ(summary["mode"], "rx");
  EXPECT_EQ(summary["packets"], 203);
  EXPECT_EQ(summary["bytes"], 203 * (14 + 20 + 8) + 200 * 16 + 5 + 28);
  EXPECT_EQ(summary["lost"], 10);
  EXPECT_GE(summary["seconds"], 1.0);
  EXPECT_LE(summary["pps"], 203.0);
}

struct Sending {
  const char* name;
  Endpoint from, to;
  int protocol;
};

class ExamplesSend : public Examples, public ::testing::WithParamInterface<Sending> {};

INSTANTIATE_TEST_SUITE_P(Kinds, ExamplesSend,
                         ::testing::Values(Sending{"UdpIPv4", {host4, 7000}, {wire4, 4000}, IPPROTO_UDP},
                                           Sending{"UdpIPv6", {host6, 7000}, {wire6, 4000}, IPPROTO_UDP},
                                           Sending{"TcpIPv4", {host4, 7000}, {wire4, 4000}, IPPROTO_TCP},
                                           Sending{"TcpIPv6", {host6, 7000}, {wire6, 4000}, IPPROTO_TCP}),
                         [](const auto& chosen) { return chosen.param.name; });

TEST_P(ExamplesSend, EveryPacketOnceAndWhole) {
  const auto& [name, from, to, protocol] = GetParam();
  const auto capture = world().capture();
  // The neighbour is known before: how many packets may wait for one is another matter.
  const Fd first = world().host().run([&, &here = from] { return bound(IPPROTO_UDP, {here.address, 7001}); });
  send_to(first.get(), to, "first");
  ASSERT_TRUE(capture->wait(udp_payload("first")));
  Words arguments{"tx",  "--bind",   text(from), "--to",   text(to), "--count",
                  "201", "--queues", "2",        "--size", "100",    "--json"};
  if (protocol == IPPROTO_TCP) arguments.emplace_back("--tcp");
  const Completed sent = run_example("pkt_gen", arguments);
  ASSERT_EQ(sent.exit, done) << sent.err;
  const Json summary = json_lines(sent.out).back();
  EXPECT_EQ(summary["packets"], 201);
  EXPECT_EQ(summary["bytes"], 20100);
  const auto generated = [&](const Packet& packet) { return packet.from == from && packet.to == to; };
  EXPECT_TRUE(eventually([&] { return capture->count(generated) >= 201; }));
  EXPECT_EQ(capture->count(generated), 201U);
  std::multiset<std::uint64_t> sequences, all;
  for (const Packet& packet : capture->packets()) {
    if (!generated(packet)) continue;
    EXPECT_EQ(packet.protocol, protocol);
    EXPECT_TRUE(packet.checksums_right);
    EXPECT_TRUE(packet.payload.starts_with("mspg"));
    sequences.insert(sequence_of(packet));
  }
  // A stream a queue, each numbered from 0.
  for (std::uint64_t sequence = 0; sequence < 101; ++sequence) all.insert(sequence);
  for (std::uint64_t sequence = 0; sequence < 100; ++sequence) all.insert(sequence);
  EXPECT_EQ(sequences, all);
}

TEST_F(Examples, PktGenSpoofsInVain) {
  const auto capture = world().capture();
  const Completed sent = run_example(
      "pkt_gen", {"tx", "--bind", text(service), "--to", text(remote), "--spoof", host4 + ":9", "--count", "1000"});
  EXPECT_EQ(sent.exit, done) << sent.err;
  EXPECT_NE(sent.out.find("tx total: 1000 packets"), std::string::npos) << sent.out;
  EXPECT_TRUE(eventually([&] { return pins().counter(MSTACK_TX_DROP_UNCLAIMED) == 1000; }));
  EXPECT_EQ(pins().counter(MSTACK_TX_SENT), 0U);
  EXPECT_EQ(capture->count([](const Packet& packet) { return packet.protocol == IPPROTO_UDP; }), 0U);
}

TEST_F(Examples, ClaimDeniedIsDeniedEverything) {
  Stack other(world(), bob);
  const Claim taken = other.claim(IPPROTO_UDP, service);
  for (const std::string& own : {"0.0.0.0:0"s, host4 + ":0", "[" + host6 + "]:0"}) {
    const Completed result = run_example("claim_denied", {"--bind", own, "--taken", text(service)});
    EXPECT_EQ(result.exit, done) << own << '\n' << result.out << result.err;
    EXPECT_EQ(result.err, "");
    EXPECT_EQ(result.out.find("GRANTED"), std::string::npos) << result.out;
    const auto refusals = std::ranges::count(result.out, '\n') - 1;
    EXPECT_GE(refusals, 13);
    EXPECT_TRUE(result.out.ends_with("claim_denied: " + std::to_string(refusals) + " refused, 0 not refused\n"))
        << result.out;
  }
  EXPECT_EQ(pins().claims().size(), 1U);
  EXPECT_TRUE(pins().claimed(IPPROTO_UDP, service));
}

TEST_F(Examples, WhatIsWrongWithTheOptions) {
  const std::string bind = text(service), to = text(remote);
  struct Wrong {
    std::string program;
    Words arguments;
    std::string said;
  };
  const Wrong wrong[] = {{"udp_echo", {}, "--bind"},
                         {"udp_echo", {"--bind"}, "--bind"},
                         {"udp_echo", {"--bind", bind, "--count", "-1"}, "--count"},
                         {"udp_echo", {"--bind", bind, "--count", "many"}, "--count"},
                         {"udp_echo", {"--bind", bind, "--frobnicate"}, "--frobnicate"},
                         {"claim_denied", {"--frobnicate"}, "--frobnicate"},
                         {"pkt_gen", {}, "mode"},
                         {"pkt_gen", {"rx"}, "--bind"},
                         {"pkt_gen", {"sideways", "--bind", bind}, "sideways"},
                         {"pkt_gen", {"tx", "--bind", bind}, "--to"},
                         {"pkt_gen", {"rx", "--bind", bind, "--to", to}, "--to"},
                         {"pkt_gen", {"rx", "--bind", bind, "--spoof", to}, "--spoof"},
                         {"pkt_gen", {"rx", "--bind", bind, "--seconds", "-1"}, "--seconds"},
                         {"pkt_gen", {"rx", "--bind", bind, "--count", "-1"}, "--count"},
                         {"pkt_gen", {"rx", "--bind", bind, "--queues", "0"}, "--queues"},
                         {"pkt_gen", {"rx", "--bind", bind, "--queues", "17"}, "--queues"},
                         {"pkt_gen", {"tx", "--bind", bind, "--to", to, "--rate", "-5"}, "--rate"},
                         {"pkt_gen", {"tx", "--bind", bind, "--to", to, "--size", "0"}, "--size"},
                         {"pkt_gen", {"tx", "--bind", bind, "--to", to, "--size", "65550"}, "--size"}};
  for (const auto& [program, arguments, said] : wrong) {
    SCOPED_TRACE(program + " " + ::testing::PrintToString(arguments));
    const Completed result = run_example(program, arguments);
    EXPECT_EQ(result.exit, usage);
    EXPECT_EQ(result.out, "");
    EXPECT_NE(result.err.find(said), std::string::npos) << result.err;
    EXPECT_LT(result.err.size(), 200U) << result.err;
  }
  for (const char* program : {"udp_echo", "pkt_gen", "claim_denied"}) {
    const Completed help = run_example(program, {"--help"});
    EXPECT_EQ(help.exit, done);
    EXPECT_NE(help.out.find("--run-dir"), std::string::npos) << help.out;
  }
}

TEST_F(Examples, WhatCannotBeDone) {
  const std::string bind = text(service);
  for (const char* nonsense : {"nonsense", "192.0.2.1", "192.0.2.1:70000", "[2001:db8::1:7"})
    expect_refused("udp_echo", {"--bind", nonsense}, {nonsense});
  expect_refused("pkt_gen", {"tx", "--bind", bind, "--to", text({wire6, 4000})}, {"both must be IPv4, or both IPv6"});
  expect_refused("pkt_gen", {"tx", "--bind", bind, "--to", text(remote), "--size", "3000"}, {"--size 3000", "at most"});
}

TEST_F(Examples, ARefusedBindSaysWhatAndWhyAndWhatNext) {
  const Fd other = bound_as(bob, IPPROTO_UDP, service);
  for (const char* program : {"udp_echo", "pkt_gen"}) {
    const auto refused = [&](const std::string& where, const Words& said) {
      Words arguments{"--bind", where};
      if (program == "pkt_gen"s) arguments.insert(arguments.begin(), "rx");
      Words all = said;
      all.push_back("cannot bind udp " + where);
      expect_refused(program, arguments, all);
    };
    refused(text(service), {"already in use", "pick another"});
    refused("192.0.2.99:7000", {"Cannot assign requested address", "`ip address`"});
    refused("[2001:db8::99]:7000", {"Cannot assign requested address", "`ip address`"});
    refused(host4 + ":9", {"Permission denied", "net.ipv4.ip_unprivileged_port_start"});
  }
  EXPECT_TRUE(pins().claims().empty());
}

TEST_F(Examples, WithoutMstackd) {
  const std::map<std::string, Words> programs{
      {"udp_echo", {"--bind", text(service)}}, {"pkt_gen", {"rx", "--bind", text(service)}}, {"claim_denied", {}}};
  for (const auto& [program, arguments] : programs) {
    Words nowhere = arguments;
    nowhere.insert(nowhere.end(), {"--run-dir", "/nonexistent"});
    expect_refused(program, nowhere, {"/nonexistent", "No such file", "mstackd"});
  }
  crash();
  for (const auto& [program, arguments] : programs)
    expect_refused(program, arguments, {world().run_dir(), "Connection refused", "mstackd"});
}

}  // namespace
}  // namespace mstack::test
