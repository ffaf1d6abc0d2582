// SPDX-License-Identifier: BSD-2-Clause
//
// Next to another XDP program, by libxdp's dispatcher: xdp-filter of xdp-tools, which drops by port and runs before us,
// whoever came first.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "support/fixture.hpp"
#include "support/multi_buffer.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

const std::string bpffs = "/sys/fs/bpf";   // where xdp-filter pins its maps, whatever it is told; libxdp its chains
const std::string run_directory = "/run";  // where it has a lock: of two at once, one may fail
const Endpoint service{host4, 7000}, filtered{host4, 7001}, kernels{host4, 7002}, filtered_kernels{host4, 7003};
const Endpoint remote{wire4, 4000};

bool has_chains() {
  return ::libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_EXT, nullptr) == 1;
}

std::string name_of(std::uint32_t id) {
  const Fd program{::bpf_prog_get_fd_by_id(id)};
  bpf_prog_info info{};
  std::uint32_t size = sizeof(info);
  return program && ::bpf_obj_get_info_by_fd(program.get(), &info, &size) == 0 ? info.name : "";
}

class Chain : public NetTest {
 public:
  ~Chain() override {
    for (const std::string& place : {run_directory, bpffs}) ::umount2(place.c_str(), MNT_DETACH);
  }

 protected:
  Chain() : NetTest({.second = true}) {
    // The test's own, for its mounts are private.
    check(::mount("bpf", bpffs.c_str(), "bpf", 0, "mode=0700"), "mount a bpf filesystem on " + bpffs);
    check(::mount("none", run_directory.c_str(), "tmpfs", 0, "mode=0755"), "mount a tmpfs on " + run_directory);
  }
  void SetUp() override {
    if (const auto why = why_not(); !why.empty()) GTEST_SKIP() << why;
    start_chained();
  }
  static std::string why_not() {
    if (!has_chains()) return "this kernel takes no BPF programs of type EXT, of which chains are made";
    if (run({"sh", "-c", "command -v xdp-filter xdp-loader"}).exit.code != 0)
      return "there is no xdp-filter (Debian: xdp-tools)";
    return {};
  }
  void start_chained() { start({.arguments = {"--chain"}, .environment = {}}); }
  void start_plain() { start(); }
  void end() {
    ASSERT_EQ(daemon().stop().code, 0);
    ASSERT_EQ(attached_xdp(world().host(), uplink), 0U);
  }

  void host(const std::string& command) const { World::in(world().host(), command); }
  void load_filter(const std::string& interface = uplink) const { host("xdp-filter load -m native " + interface); }
  // Ports that are not let through.
  void filter() const {
    for (const Endpoint& endpoint : {filtered, filtered_kernels})
      host("xdp-filter port -m dst -p udp " + std::to_string(endpoint.port));
  }
  void unload_filter(const std::string& interface = uplink) const { host("xdp-filter unload " + interface); }

  nlohmann::json shown(const std::string& name) const {
    const auto all = nlohmann::json::parse(world().command({"uplinks", "--json"}).out);
    for (const auto& entry : all["uplinks"])
      if (entry["name"] == name) return entry;
    return nullptr;
  }
  // What `mstack doctor` says of the uplink: state and text.
  std::pair<std::string, std::string> examined(std::vector<std::string> arguments = {}) const {
    arguments.insert(arguments.end(), {"doctor", "--json", "--cgroup", world().cgroup(), uplink});
    const auto report = nlohmann::json::parse(world().command(arguments).out);
    for (const auto& line : report["checks"])
      if (line["name"] == "interface up0") return {line["state"], line["text"]};
    return {};
  }
  // The names of the chain's members on a device, by libxdp's pins, in their order.
  std::vector<std::string> members(const std::string& interface = uplink) const {
    return members(world().host(), interface);
  }
  static std::vector<std::string> members(const Namespace& netns, const std::string& interface) {
    const unsigned index = netns.run([&] { return ::if_nametoindex(interface.c_str()); });
    const std::string chain =
        bpffs + "/xdp/dispatch-" + std::to_string(index) + "-" + std::to_string(attached_xdp(netns, interface));
    std::vector<std::string> names;
    for (int i = 0;; ++i) {
      const Fd program{::bpf_obj_get((chain + "/prog" + std::to_string(i) + "-prog").c_str())};
      if (!program) return names;
      bpf_prog_info info{};
      std::uint32_t size = sizeof(info);
      check(::bpf_obj_get_info_by_fd(program.get(), &info, &size), "look at a program");
      names.emplace_back(info.name);
    }
  }
  static std::vector<std::string> chains() {
    std::vector<std::string> names;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(bpffs + "/xdp", ignored))
      names.push_back(entry.path().filename());
    return names;
  }

  void expect_works(Stack& stack, const Endpoint& local = service) const {
    const std::string text = "number " + std::to_string(++number_);
    const auto capture = world().capture();
    world().send(World::udp(remote, local, text));
    EXPECT_TRUE(stack.receive(udp_payload(text)));
    stack.send(World::udp(local, remote, text));
    EXPECT_TRUE(capture->wait(udp_payload(text)));
  }
  // What the filter drops reaches neither stack nor kernel; the rest does.
  void expect_filtered(Stack& stack) const {
    const Fd server = bound_as(bob, IPPROTO_UDP, kernels), other = bound_as(bob, IPPROTO_UDP, filtered_kernels);
    world().send(World::udp(remote, filtered, "filtered"));
    world().send(World::udp(remote, filtered_kernels, "filtered"));
    world().send(World::udp(remote, kernels, "to the kernel"));
    const auto got = receive_from(server.get());
    ASSERT_TRUE(got);
    EXPECT_EQ(got->payload, "to the kernel");
    expect_works(stack);
    EXPECT_FALSE(pending(other.get()));
    for (const Packet& packet : stack.seen()) EXPECT_NE(packet.payload, "filtered");
  }

 private:
  mutable int number_ = 0;
};

// Elsewhere it is refused, with the reason; without it all is as ever.
class NoChain : public NetTest {};

TEST_F(NoChain, WhereTheKernelHasNone) {
  if (has_chains()) GTEST_SKIP() << "this kernel takes BPF programs of type EXT";
  const Completed refused = world().command({"attach", uplink, "--chain"});
  EXPECT_EQ(refused.exit.code, 1);
  EXPECT_NE(refused.err.find("already"), std::string::npos) << refused.err;
  EXPECT_EQ(world().command({"detach", uplink}).exit.code, 0);
  const Completed again = world().command({"attach", uplink, "--chain"});
  EXPECT_EQ(again.exit.code, 1);
  EXPECT_NE(again.err.find("this kernel cannot chain XDP programs"), std::string::npos) << again.err;
  EXPECT_EQ(attached_xdp(world().host(), uplink), 0U);
  EXPECT_EQ(world().command({"attach", uplink}).exit.code, 0);
  EXPECT_EQ(world().command({"detach", uplink}).exit.code, 0);
}

TEST_F(Chain, AloneAndNothingIsLeft) {
  EXPECT_EQ(name_of(attached_xdp(world().host(), uplink)), "xdp_dispatcher");
  EXPECT_EQ(members(), std::vector<std::string>{"uplink_rx"});
  EXPECT_EQ(members(second_uplink), std::vector<std::string>{"uplink_rx"});
  EXPECT_EQ(shown(uplink)["chained"], true);
  EXPECT_EQ(shown(uplink)["mode"], "native");
  EXPECT_NE(world().command({"uplinks"}).out.find("native, chained"), std::string::npos);
  {
    Stack stack(world());
    const Claim claim = stack.claim(IPPROTO_UDP, service);
    const Fd server = bound_as(bob, IPPROTO_UDP, kernels);
    expect_works(stack);
    world().send(World::udp(remote, kernels, "to the kernel"));
    EXPECT_TRUE(receive_from(server.get()));
    EXPECT_GE(pins().counter(MSTACK_RX_STEERED), 1U);
  }
  expect_idle();
  end();
  EXPECT_EQ(chains(), std::vector<std::string>{});
  start_chained();
}

TEST_F(Chain, AFilterThatComesAfterUs) {
  Stack stack(world());
  const Claim one = stack.claim(IPPROTO_UDP, service), two = stack.claim(IPPROTO_UDP, filtered);
  expect_works(stack, filtered);
  load_filter();
  filter();
  EXPECT_EQ(members(), (std::vector<std::string>{"xdpfilt_alw_all", "uplink_rx"}));
  expect_filtered(stack);
  // The kernel told of it, and we are still there.
  EXPECT_EQ(shown(uplink)["state"], "up");
  unload_filter();
  EXPECT_EQ(members(), std::vector<std::string>{"uplink_rx"});
  expect_works(stack, filtered);
}

// Without being asked for: a chain is there.
TEST_F(Chain, AFilterThatWasThereBeforeUs) {
  end();
  load_filter();
  filter();
  start_plain();
  EXPECT_EQ(members(), (std::vector<std::string>{"xdpfilt_alw_all", "uplink_rx"}));
  EXPECT_EQ(shown(uplink)["chained"], true);
  EXPECT_EQ(shown(second_uplink)["chained"], false);
  {
    Stack stack(world());
    const Claim one = stack.claim(IPPROTO_UDP, service), two = stack.claim(IPPROTO_UDP, filtered);
    expect_filtered(stack);
  }
  // We go, and it stays as it was.
  EXPECT_EQ(world().command({"detach", uplink}).exit.code, 0);
  EXPECT_EQ(members(), std::vector<std::string>{"xdpfilt_alw_all"});
  const Fd server = bound_as(bob, IPPROTO_UDP, kernels), other = bound_as(bob, IPPROTO_UDP, filtered_kernels);
  world().send(World::udp(remote, filtered_kernels, "filtered"));
  world().send(World::udp(remote, kernels, "to the kernel"));
  EXPECT_TRUE(receive_from(server.get()));
  EXPECT_FALSE(pending(other.get()));
  // And on request again.
  EXPECT_EQ(world().command({"attach", uplink}).exit.code, 0);
  EXPECT_EQ(members().size(), 2U);
  unload_filter();
  EXPECT_EQ(members(), std::vector<std::string>{"uplink_rx"});
  EXPECT_EQ(world().command({"detach", uplink}).exit.code, 0);
  EXPECT_EQ(attached_xdp(world().host(), uplink), 0U);
}

// What the doctor says of an interface is what mstackd would do with it.
TEST_F(Chain, TheDoctorKnowsIt) {
  const std::pair<std::string, std::string> ours{"ok", "MultiStack is attached (native XDP, in a chain)"},
      others{"ok", "a chain of other XDP programs, which MultiStack joins (native XDP)"};
  EXPECT_EQ(examined(), ours);
  load_filter();
  EXPECT_EQ(examined(), ours);
  EXPECT_EQ(world().command({"detach", uplink}).exit.code, 0);
  EXPECT_EQ(examined(), others);
  EXPECT_EQ(world().command({"attach", uplink}).exit.code, 0);
  EXPECT_EQ(examined(), ours);
  unload_filter();
  EXPECT_EQ(examined(), ours);
  EXPECT_EQ(world().command({"detach", uplink}).exit.code, 0);
}

// In no chain, it is refused by its name, and with --chain as well: it cannot be made a member.
TEST_F(Chain, AProgramInNoChainIsLeftAlone) {
  end();
  const Fd foreign = xdp_program("foreign", XDP_PASS);
  attach_xdp(world().host(), uplink, foreign);
  const auto id = attached_xdp(world().host(), uplink);
  for (const bool chained : {false, true}) {
    const Completed refused = Daemon::run_to_end(
        world(),
        {.arguments = chained ? std::vector<std::string>{"--chain"} : std::vector<std::string>{}, .environment = {}});
    EXPECT_EQ(refused.exit.code, 1);
    EXPECT_NE(refused.err.find("foreign (id "), std::string::npos) << refused.err;
    EXPECT_EQ(attached_xdp(world().host(), uplink), id);
  }
  host("ip link set up0 xdp off");
  start_plain();
  // And whoever comes to us when we are in none is refused by the kernel.
  EXPECT_EQ(shown(uplink)["chained"], false);
  EXPECT_NE(run({"xdp-filter", "load", uplink}, {.who = {.netns = &world().host()}}).exit.code, 0);
  EXPECT_EQ(name_of(attached_xdp(world().host(), uplink)), "uplink_rx");
}

// An mstackd that runs by a link of its own goes over to a chain at the next start, if that is asked for; not back.
TEST_F(Chain, FromALinkToAChain) {
  end();
  start_plain();
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  EXPECT_EQ(shown(uplink)["chained"], false);
  crash();
  start_chained();
  EXPECT_EQ(members(), std::vector<std::string>{"uplink_rx"});
  expect_works(stack);
  crash();
  start_plain();
  EXPECT_EQ(members(), std::vector<std::string>{"uplink_rx"});
  expect_works(stack);
}

// A device in a chain beside one that is in none: the program of the one takes frames of several buffers, that of the
// other cannot, and both serve the same stacks.
TEST_F(Chain, OneUplinkInAChainAndOneInNone) {
  end();
  start_plain();
  const bool jumbo = kernel_has_multi_buffer();
  Stack stack(world(), alice, {.frames = 256, .multi_buffer = jumbo});
  const Claim claim = stack.claim(IPPROTO_UDP, {host4, 7000});
  const Endpoint there{second4, 7000}, from{second_wire4, 4000};
  const Claim other = stack.claim(IPPROTO_UDP, there);
  ASSERT_EQ(world().command({"detach", second_uplink}).exit.code, 0);
  const Completed attached = world().command({"attach", second_uplink, "--chain"});
  ASSERT_EQ(attached.exit.code, 0) << attached.err;
  EXPECT_EQ(shown(uplink)["chained"], false);
  EXPECT_EQ(shown(second_uplink)["chained"], true);
  expect_works(stack);
  world().send_by_second(World::udp(from, there, "by the chain"));
  EXPECT_TRUE(stack.receive(udp_payload("by the chain")));
  crash();
  start_chained();
  expect_works(stack);
  world().send_by_second(World::udp(from, there, "still"));
  EXPECT_TRUE(stack.receive(udp_payload("still")));
  EXPECT_EQ(Stack::try_open(world(), bob, {.frames = 64, .multi_buffer = true}).has_value(), jumbo);
}

// mstackd is killed and started again while packets come. Of those, the stack gets all: not one reaches the kernel's
// socket, as one would that found no program of ours, and the filter is never out of the way.
TEST_F(Chain, TakenOverWithoutAGap) {
  load_filter();
  filter();
  Stack stack(world());
  const Claim one = stack.claim(IPPROTO_UDP, service), two = stack.claim(IPPROTO_UDP, filtered);
  std::atomic<bool> stop = false;
  std::atomic<std::uint64_t> sent = 0, received = 0;
  std::thread sender([&] {
    while (!stop) {
      while (sent - received >= 64 && !stop) std::this_thread::yield();
      world().send(World::udp(remote, filtered, "filtered"));
      world().send(World::udp(remote, service, "steered"));
      ++sent;
    }
  });
  std::atomic<bool> polling = true;
  std::thread receiver([&] {
    while (polling) {
      received = stack.seen().size();
      stack.flush();
    }
  });
  const auto more = [&] {
    const std::uint64_t now = received;
    EXPECT_TRUE(eventually([&] { return received >= now + 100; }));
  };
  for (int times = 0; times < 4; ++times) {
    more();
    crash();
    more();
    // One that is killed on its way in leaves no more than the next can put right.
    if (times % 2 == 1) {
      const auto before = attached_xdp(world().host(), uplink);
      Process early = Process::command(Daemon::command_line(world(), {.arguments = {"--chain"}, .environment = {}}),
                                       {.who = {.netns = &world().host()}, .environment = {}, .keep = {}});
      EXPECT_TRUE(eventually([&] { return attached_xdp(world().host(), uplink) != before; }));
      early.kill();
      more();
    }
    start_chained();
    EXPECT_EQ(members(), (std::vector<std::string>{"xdpfilt_alw_all", "uplink_rx"}));
  }
  more();
  stop = true;
  sender.join();
  EXPECT_TRUE(eventually([&] { return received == sent; })) << received << " of " << sent;
  polling = false;
  receiver.join();
  EXPECT_FALSE(pending(one.fd()));
  EXPECT_FALSE(pending(two.fd()));
  for (const Packet& packet : stack.seen()) EXPECT_EQ(packet.payload, "steered");
  unload_filter();
}

// Whoever may take a program off a device may take the dispatcher off. We are there again, next to who comes next.
TEST_F(Chain, TakenOffItIsAttachedAgain) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  host("ip link set up0 xdp off");
  EXPECT_TRUE(eventually([&] { return members() == std::vector<std::string>{"uplink_rx"}; }));
  EXPECT_TRUE(eventually([&] { return shown(uplink)["state"] == "up" && shown(uplink)["chained"] == true; }));
  expect_works(stack);
  const auto id = attached_xdp(world().host(), uplink);
  host("xdp-loader unload up0 --all");
  EXPECT_TRUE(eventually([&] {
    return attached_xdp(world().host(), uplink) != id && members() == std::vector<std::string>{"uplink_rx"};
  }));
  EXPECT_TRUE(eventually([&] { return shown(uplink)["state"] == "up"; }));
  expect_works(stack);
}

// The device goes, or goes elsewhere: our program is out of its chain, others' are let alone, no pin of ours is left.
TEST_F(Chain, OfADeviceThatGoesAndComes) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  const auto state = [&] { return shown(second_uplink)["state"]; };
  const auto chain_of = [](unsigned index) {
    const std::string prefix = "dispatch-" + std::to_string(index) + "-";
    std::vector<std::string> found = chains();
    std::erase_if(found, [&](const std::string& name) { return !name.starts_with(prefix); });
    return found.size();
  };
  for (const bool running : {true, false}) {
    SCOPED_TRACE(running ? "while mstackd runs" : "while none runs");
    const unsigned index = world().index_of(second_uplink);
    EXPECT_EQ(chain_of(index), 1U);
    if (!running) crash();
    host("ip link del up1");
    if (!running) start_chained();
    EXPECT_TRUE(eventually([&] { return state() == "gone"; }));
    EXPECT_EQ(chain_of(index), 0U);
    expect_works(stack);
    world().make_second();
    EXPECT_TRUE(eventually([&] { return state() == "up"; }));
    EXPECT_EQ(members(second_uplink), std::vector<std::string>{"uplink_rx"});
  }
  load_filter(second_uplink);
  const unsigned index = world().index_of(second_uplink);
  host("ip link set up1 netns " + world().far().path());
  EXPECT_TRUE(eventually([&] { return state() == "gone"; }));
  EXPECT_EQ(chain_of(index), 1U) << "the filter's";
  World::in(world().far(), "ip addr add 192.0.2.1/32 dev up1");
  World::in(world().far(), "ip link set up1 up");
  const Fd theirs = world().far().run([&] { return bound(IPPROTO_UDP, service); });
  world().send_by_second(World::udp({second_wire4, 4000}, service, "theirs"), world().far());
  EXPECT_TRUE(receive_from(theirs.get()));
  expect_works(stack);
  World::in(world().far(), "ip link set up1 xdp off");
  World::in(world().far(), "ip link set up1 netns " + world().host().path());
  host("ip link set up1 up");
  EXPECT_TRUE(eventually([&] { return state() == "up"; }));
  EXPECT_EQ(shown(second_uplink)["chained"], true);
}

TEST_F(Chain, AnotherMultiStackIsRefused) {
  const std::string other = world().directory() + "/bpf/other";
  const Completed refused = Daemon::run_to_end(
      world(), {.arguments = {"--run-dir", world().directory() + "/other", "--pin-dir", other}, .environment = {}});
  EXPECT_EQ(refused.exit.code, 1);
  EXPECT_NE(refused.err.find("another MultiStack is in the chain: uplink_rx (id "), std::string::npos) << refused.err;
  EXPECT_EQ(members(), std::vector<std::string>{"uplink_rx"});
  const auto [state, text] = examined({"--pin-dir", other});
  EXPECT_EQ(state, "failed");
  EXPECT_NE(refused.err.find(text), std::string::npos) << refused.err << "does not say: " << text;
}

TEST_F(Chain, GenericToo) {
  end();
  start({.arguments = {"--chain"}, .xdp_mode = "generic", .environment = {}});
  Stack stack(world());
  const Claim one = stack.claim(IPPROTO_UDP, service), two = stack.claim(IPPROTO_UDP, filtered);
  EXPECT_EQ(shown(uplink)["mode"], "generic");
  EXPECT_EQ(shown(uplink)["chained"], true);
  expect_works(stack);
  host("xdp-filter load -m skb up0");
  filter();
  expect_filtered(stack);
  restart({.arguments = {"--chain"}, .xdp_mode = "generic", .environment = {}});
  EXPECT_EQ(members(), (std::vector<std::string>{"xdpfilt_alw_all", "uplink_rx"}));
  expect_filtered(stack);
  unload_filter();
}

}  // namespace
}  // namespace mstack::test
