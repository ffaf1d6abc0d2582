// SPDX-License-Identifier: BSD-2-Clause
//
// Uplinks that go, come back, change their name or their namespace, or give their ifindex to another, while stacks run
// and while no mstackd does. The other uplink carries on.
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

const Endpoint service{host4, 7000}, second_service{second4, 7000};
const Endpoint remote{wire4, 4000}, second_remote{second_wire4, 4000};

class UplinkChanges : public NetTest {
 protected:
  UplinkChanges() : NetTest({.second = true}) {}

  void host(const std::string& command) const { World::in(world().host(), command); }
  // As `mstack uplinks --json` has it; null: it shows no such uplink.
  nlohmann::json shown(const std::string& name) const {
    const auto all = nlohmann::json::parse(world().command({"uplinks", "--json"}).out)["uplinks"];
    const auto found = std::ranges::find_if(all, [&](const auto& entry) { return entry["name"] == name; });
    return found == all.end() ? nlohmann::json() : *found;
  }
  std::string state(const std::string& name) const {
    const auto entry = shown(name);
    return entry.is_null() ? "" : entry["state"].get<std::string>();
  }
  bool becomes(const std::string& name, const std::string& wanted) const {
    return eventually([&] { return state(name) == wanted; });
  }
  std::vector<std::uint32_t> redirects() const {
    std::vector<std::uint32_t> keys;
    const Fd map = pins().open("uplinks");
    std::uint32_t key = 0, next = 0;
    for (const void* from = nullptr; ::bpf_map_get_next_key(map.get(), from, &next) == 0; from = &key)
      keys.push_back(key = next);
    std::ranges::sort(keys);
    return keys;
  }
  void expect_first_works(Stack& stack) const {
    const auto capture = world().capture();
    world().send(World::udp(remote, service, "first in"));
    EXPECT_TRUE(stack.receive(udp_payload("first in")));
    stack.send(World::udp(service, remote, "first out"));
    EXPECT_TRUE(capture->wait(udp_payload("first out")));
  }
  void expect_second_works(Stack& stack) const {
    const Capture capture(world().wire(), second_wire_end);
    world().send_by_second(World::udp(second_remote, service, "second in"));
    EXPECT_TRUE(stack.receive(udp_payload("second in")));
    stack.send(World::udp(service, second_remote, "second out"));
    EXPECT_TRUE(capture.wait(udp_payload("second out")));
  }
  std::string pin(std::uint32_t ifindex) const {
    return world().pin_dir() + "/links/uplink_" + std::to_string(ifindex);
  }
};

// A device that got the ifindex of an uplink is not one: nothing is steered from it, and nothing sent.
TEST_F(UplinkChanges, AnotherWithTheIfindexIsNoUplink) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  for (const bool running : {true, false}) {
    SCOPED_TRACE(running ? "mstackd sees it late" : "no mstackd runs");
    const unsigned ifindex = world().index_of(second_uplink);
    if (running) {
      ::kill(daemon().pid(), SIGSTOP);
    } else {
      crash();
    }
    host("ip link del up1");
    host("ip link add other0 index " + std::to_string(ifindex) + " type veth peer name other1 netns " +
         world().wire().path());
    host("ip link set other0 up");
    World::in(world().wire(), "ip link set other1 up");
    if (running) {
      ::kill(daemon().pid(), SIGCONT);
    } else {
      start();
    }
    EXPECT_TRUE(becomes(second_uplink, "gone"));
    EXPECT_TRUE(shown("other0").is_null());
    EXPECT_EQ(attached_xdp(world().host(), "other0"), 0U);
    EXPECT_EQ(redirects(), std::vector<std::uint32_t>{world().uplink_index()});
    EXPECT_FALSE(std::ranges::count(pins().uplinks(), ifindex));
    EXPECT_NE(::access(pin(ifindex).c_str(), F_OK), 0);
    expect_first_works(stack);
    host("ip link del other0");
    world().make_second();
    EXPECT_TRUE(becomes(second_uplink, "up"));
    expect_second_works(stack);
  }
}

// In another namespace the same address is somebody else's.
TEST_F(UplinkChanges, InAnotherNamespaceItTakesNothingAndBackItIsOneAgain) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  for (const bool running : {true, false}) {
    SCOPED_TRACE(running ? "while mstackd runs" : "while none runs");
    if (!running) crash();
    host("ip link set up1 netns " + world().far().path());
    if (!running) start();
    EXPECT_TRUE(becomes(second_uplink, "gone"));
    EXPECT_EQ(attached_xdp(world().far(), second_uplink), 0U);
    EXPECT_EQ(redirects(), std::vector<std::uint32_t>{world().uplink_index()});
    World::in(world().far(), "ip addr add 203.0.113.1/24 dev up1");
    World::in(world().far(), "ip addr add 192.0.2.1/32 dev up1");
    World::in(world().far(), "ip link set up1 up");
    const Fd theirs = world().far().run([&] { return bound(IPPROTO_UDP, service); });
    world().send_by_second(World::udp(second_remote, service, "theirs"), world().far());
    EXPECT_TRUE(receive_from(theirs.get()));
    expect_first_works(stack);
    EXPECT_TRUE(std::ranges::none_of(stack.seen(), [](const Packet& packet) { return packet.payload == "theirs"; }));
    if (!running) crash();
    World::in(world().far(), "ip link set up1 netns " + world().host().path());
    host("ip addr replace 203.0.113.1/24 dev up1");
    host("ip link set up1 up");
    if (!running) start();
    EXPECT_TRUE(becomes(second_uplink, "up"));
    expect_second_works(stack);
  }
}

TEST_F(UplinkChanges, ReplacedUnderTheSameName) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  for (int times = 0; times < 3; ++times) {
    const unsigned before = world().index_of(second_uplink);
    host("ip link del up1");
    if (times == 1) {
      EXPECT_TRUE(becomes(second_uplink, "gone"));
    }
    expect_first_works(stack);
    world().make_second();
    const unsigned after = world().index_of(second_uplink);
    EXPECT_NE(before, after);
    EXPECT_TRUE(eventually([&] { return state(second_uplink) == "up" && shown(second_uplink)["ifindex"] == after; }));
    expect_second_works(stack);
    EXPECT_NE(::access(pin(before).c_str(), F_OK), 0);
    EXPECT_EQ(pins().uplinks().size(), 2U);
  }
}

TEST_F(UplinkChanges, ARenamedOneGoesOnAndIsWaitedForByTheNameThatWasAsked) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  host("ip link set up1 down");
  host("ip link set up1 name wan7");
  host("ip link set wan7 up");
  EXPECT_TRUE(becomes("wan7", "up"));
  EXPECT_TRUE(shown(second_uplink).is_null());
  const Capture capture(world().wire(), second_wire_end);
  stack.send(World::udp(service, second_remote, "renamed"));
  EXPECT_TRUE(capture.wait(udp_payload("renamed")));
  // The next mstackd is told the old name, and finds the same device.
  restart();
  EXPECT_TRUE(becomes("wan7", "up"));
  stack.send(World::udp(service, second_remote, "taken over"));
  EXPECT_TRUE(capture.wait(udp_payload("taken over")));
  host("ip link del wan7");
  EXPECT_TRUE(becomes(second_uplink, "gone"));
  EXPECT_TRUE(shown("wan7").is_null());
  // One that gets the name by being renamed will do.
  host("ip link add new0 type veth peer name wire1 netns " + world().wire().path());
  host("ip link set new0 name up1");
  EXPECT_TRUE(becomes(second_uplink, "down"));
  EXPECT_NE(attached_xdp(world().host(), second_uplink), 0U);
  host("ip link del up1");
  EXPECT_TRUE(becomes(second_uplink, "gone"));
}

// In a VRF the same ports are others'.
TEST_F(UplinkChanges, OneThatIsPutIntoAVrfIsNoUplinkUntilItIsOut) {
  const auto made =
      run({"ip", "link", "add", "vrf7", "type", "vrf", "table", "77"}, {.who = {.netns = &world().host()}});
  if (made.exit.code != 0) GTEST_SKIP() << "this kernel has no VRF: " << made.err;
  host("ip link set vrf7 up");
  host("ip link add other0 type veth peer name other1 netns " + world().wire().path());
  host("ip link set other0 master vrf7");
  const Completed refused = world().command({"attach", "other0"});
  EXPECT_EQ(refused.exit.code, 1);
  EXPECT_NE(refused.err.find("is in a VRF"), std::string::npos) << refused.err;
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  for (const bool running : {true, false}) {
    SCOPED_TRACE(running ? "while mstackd runs" : "while none runs");
    if (!running) crash();
    host("ip link set up1 master vrf7");
    if (!running) start();
    EXPECT_TRUE(becomes(second_uplink, "gone"));
    EXPECT_EQ(attached_xdp(world().host(), second_uplink), 0U);
    expect_first_works(stack);
    host("ip link set up1 nomaster");
    EXPECT_TRUE(becomes(second_uplink, "up"));
    expect_second_works(stack);
  }
  host("ip link del other0");
  host("ip link del vrf7");
}

// Another's program on the device that came is no reason to end, and is not touched.
TEST_F(UplinkChanges, AForeignProgramOnTheOneThatComesBackIsLeftAlone) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  host("ip link del up1");
  EXPECT_TRUE(becomes(second_uplink, "gone"));
  host("ip link add new0 type veth peer name wire1 netns " + world().wire().path());
  const Fd foreign = xdp_program("foreign", XDP_PASS);
  attach_xdp(world().host(), "new0", foreign);
  const auto id = attached_xdp(world().host(), "new0");
  host("ip link set new0 name up1");
  EXPECT_TRUE(eventually([&] { return daemon().log().find("foreign") != std::string::npos; }));
  EXPECT_EQ(attached_xdp(world().host(), second_uplink), id);
  EXPECT_EQ(state(second_uplink), "gone");
  expect_first_works(stack);
  EXPECT_EQ(world().command({"attach", second_uplink}).exit.code, 1);
  host("ip link set up1 xdp off");
  host("ip link set up1 up");
  World::in(world().wire(), "ip link set wire1 up");
  EXPECT_TRUE(becomes(second_uplink, "up"));
}

// The same when somebody takes our program off the device.
TEST_F(UplinkChanges, AnUplinkThatLostItsProgramGetsItAgain) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  const Fd link{check(::bpf_obj_get(pin(world().index_of(second_uplink)).c_str()), "open the pinned link")};
  check(::bpf_link_detach(link.get()), "detach");
  EXPECT_EQ(attached_xdp(world().host(), second_uplink), 0U);
  host("ip link set up1 mtu 1400");  // whatever the kernel tells of
  EXPECT_TRUE(eventually([&] { return attached_xdp(world().host(), second_uplink) != 0; }));
  EXPECT_TRUE(becomes(second_uplink, "up"));
  expect_second_works(stack);
}

TEST_F(UplinkChanges, WhatIsNotThereAtTheFirstStartIsAnError) {
  ASSERT_EQ(daemon().stop().code, 0);
  const Completed refused = Daemon::run_to_end(world(), {.arguments = {"--uplink", "missing0"}, .environment = {}});
  EXPECT_EQ(refused.exit.code, 1);
  EXPECT_NE(refused.err.find("there is no interface missing0"), std::string::npos) << refused.err;
  EXPECT_TRUE(world().leftovers_after_end().empty());
  start();
}

// But one that was there, and went while no mstackd ran, keeps nobody from serving the others.
TEST_F(UplinkChanges, WhatWentMeanwhileIsWaitedFor) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  crash();
  host("ip link del up1");
  start();
  EXPECT_EQ(state(second_uplink), "gone");
  EXPECT_NE(daemon().log().find("up1 is attached when it can be again: there is no interface up1"), std::string::npos);
  expect_first_works(stack);
  restart();
  EXPECT_EQ(state(second_uplink), "gone");
  world().make_second();
  EXPECT_TRUE(becomes(second_uplink, "up"));
  expect_second_works(stack);
  // And one that was replaced meanwhile is attached at the start.
  crash();
  host("ip link del up1");
  world().make_second();
  start();
  EXPECT_EQ(state(second_uplink), "up");
  expect_second_works(stack);
}

TEST_F(UplinkChanges, OneThatIsWaitedForCanBeDetached) {
  host("ip link del up1");
  EXPECT_TRUE(becomes(second_uplink, "gone"));
  EXPECT_NE(world().command({"uplinks"}).out.find("gone"), std::string::npos);
  EXPECT_NE(world().command({"status"}).out.find("up1 (gone)"), std::string::npos);
  EXPECT_EQ(world().command({"detach", second_uplink}).exit.code, 0);
  EXPECT_TRUE(shown(second_uplink).is_null());
  EXPECT_EQ(world().command({"detach", second_uplink}).exit.code, 1);
  world().make_second();
  EXPECT_EQ(world().command({"attach", second_uplink}).exit.code, 0);
  EXPECT_EQ(state(second_uplink), "up");
  EXPECT_EQ(world().command({"detach", second_uplink}).exit.code, 0);
}

// What `mstack attach` attached stays when mstackd ends, and so does the wish for it while it is gone.
TEST_F(UplinkChanges, AnAttachedOneIsWaitedForBeyondTheEnd) {
  EXPECT_EQ(world().command({"detach", second_uplink}).exit.code, 0);
  EXPECT_EQ(world().command({"attach", second_uplink}).exit.code, 0);
  host("ip link del up1");
  EXPECT_TRUE(becomes(second_uplink, "gone"));
  EXPECT_EQ(daemon().stop().code, 0);
  EXPECT_EQ(state(second_uplink), "gone");
  start({.arguments = {"--uplink", uplink}, .attach = false, .environment = {}});
  world().make_second();
  EXPECT_TRUE(becomes(second_uplink, "up"));
  EXPECT_TRUE(shown(second_uplink)["stays"]);
  EXPECT_EQ(world().command({"detach", second_uplink}).exit.code, 0);
}

// More news than the kernel keeps: what was missed is found by looking.
TEST_F(UplinkChanges, LostNewsAreMadeUpFor) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  const unsigned ifindex = world().index_of(second_uplink);
  ::kill(daemon().pid(), SIGSTOP);
  const auto flood = [&] {
    world().host().run([] {
      const std::string batch = [] {
        std::string lines;
        for (int i = 0; i < 4000; ++i) lines += "addr add 203.0.113.77/32 dev lo\naddr del 203.0.113.77/32 dev lo\n";
        return lines;
      }();
      FILE* ip = ::popen("ip -batch -", "w");
      check(ip ? 0 : -1, "ip -batch");
      ::fputs(batch.c_str(), ip);
      ::pclose(ip);
    });
  };
  flood();
  for (const std::string& device : {uplink, std::string("lo")}) host("tc qdisc del dev " + device + " clsact");
  host("ip link del up1");
  world().make_second("index " + std::to_string(ifindex));
  ::kill(daemon().pid(), SIGCONT);
  EXPECT_TRUE(eventually([&] { return attached_xdp(world().host(), second_uplink) != 0; }));
  EXPECT_TRUE(becomes(second_uplink, "up"));
  EXPECT_NE(daemon().log().find("more happened"), std::string::npos) << "the kernel kept all of it";
  for (const std::string& device : {uplink, std::string("lo")})
    EXPECT_TRUE(eventually([&] {
      return World::in(world().host(), "tc filter show dev " + device + " egress").find("mstack") != std::string::npos;
    })) << device;
  expect_first_works(stack);
  expect_second_works(stack);
}

}  // namespace
}  // namespace mstack::test
