// SPDX-License-Identifier: BSD-2-Clause
//
// VLANs on the uplink, by the kernel's own devices at both ends of the wire. What a stack receives and sends has no
// tags, and what is another's VLAN is none of the stacks'.
#include <bpf/bpf.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

using Json = nlohmann::json;

// Names are those of the devices, behind "up0" or "wire0"; addresses end in 1 on the host and in 2 on the wire.
struct Vlan {
  const char* title;
  std::string name, prefix4, prefix6;
};
const Vlan dot1q{"Dot1q", ".100", "203.0.113.", "2001:db8:10::"};
const Vlan dot1ad{"Dot1ad", ".200", "203.0.113.6", "2001:db8:20::"};
const Vlan dot1q_in_dot1ad{"Dot1qInDot1ad", ".200.300", "203.0.113.13", "2001:db8:30::"};

// Tags stay in the frames, as on a wire: a veth hands them over beside.
void keep_tags_in_frames(const Namespace& netns, const std::string& end) {
  World::in(netns,
            "ethtool -K " + end +
                " rx-vlan-hw-parse off tx-vlan-hw-insert off rx-vlan-stag-hw-parse off tx-vlan-stag-hw-insert off");
}

void add_vlans(const Namespace& netns, const std::string& end, const std::string& last) {
  const auto in = [&netns](const std::string& command) { World::in(netns, command); };
  in("ip link add link " + end + " name " + end + ".100 type vlan id 100");
  in("ip link add link " + end + " name " + end + ".200 type vlan protocol 802.1ad id 200");
  in("ip link add link " + end + ".200 name " + end + ".200.300 type vlan id 300");
  for (const Vlan* vlan : {&dot1q, &dot1ad, &dot1q_in_dot1ad}) {
    const std::string device = end + vlan->name;
    in("ethtool -K " + device + " tx off");
    in("ip addr add " + vlan->prefix4 + last + "/29 dev " + device);
    in("ip addr add " + vlan->prefix6 + last + "/64 dev " + device + " nodad");
    in("ip link set " + device + " up");
  }
}

class VlanTest : public NetTest {
 protected:
  void SetUp() override {
    if (!make_vlans()) return;
    keep_tags_in_frames(world().host(), uplink);
    keep_tags_in_frames(world().wire(), wire_end);
    start();
  }
  void TearDown() override {
    for (const char* device : {"up0.200.300", "up0.200", "up0.100", "br0"})
      if (world().index_of(device) != 0) host(std::string("ip link del ") + device);
    NetTest::TearDown();
  }

  // Or the test is skipped.
  bool make_vlans() {
    const auto skip = [](const char* why) { GTEST_SKIP() << "this kernel has no VLAN devices: " << why; };
    try {
      host("ip link add link " + uplink + " name probe type vlan id 1");
    } catch (const std::exception& error) {
      skip(error.what());
      return false;
    }
    host("ip link del probe");
    add_vlans(world().host(), uplink, "1");
    add_vlans(world().wire(), wire_end, "2");
    return true;
  }
  void host(const std::string& command) const { World::in(world().host(), command); }

  // Of an uplink, as `mstack uplinks --json` has them: names.
  std::set<std::string> shown() const {
    std::set<std::string> names;
    const Json all = Json::parse(world().command({"uplinks", "--json"}).out);
    for (const Json& entry : all["uplinks"])
      for (const Json& vlan : entry["vlans"]) names.insert(vlan["name"].get<std::string>());
    return names;
  }
  bool becomes(const std::set<std::string>& names) const {
    return eventually([&] { return shown() == names; });
  }
  std::size_t entries(const char* map) const {
    const Fd pinned = pins().open(map);
    std::array<std::uint8_t, sizeof(mstack_vlan)> key{}, next{};
    std::size_t count = 0;
    for (const void* from = nullptr; ::bpf_map_get_next_key(pinned.get(), from, next.data()) == 0; from = key.data()) {
      key = next;
      ++count;
    }
    return count;
  }

  // One packet from the wire's end of a VLAN. Frames of its device get its tags.
  void send_in(const std::string& device, const Endpoint& to, const std::string& text) const {
    Segment segment = World::udp({to.ipv6() ? dot1q.prefix6 + "2" : dot1q.prefix4 + "2", 4000}, to, text);
    segment.destination_mac = world().host_mac();
    segment.source_mac = world().wire_mac();
    Injector(world().wire(), device).send(build(segment));
  }
  // That the stack does not get it, and the kernel does.
  void expect_kernels(Stack& stack, const std::string& device, const Endpoint& to, const std::string& text) const {
    const auto before = pins().counter(MSTACK_RX_PASS_VLAN);
    send_in(device, to, text);
    EXPECT_TRUE(eventually([&] { return pins().counter(MSTACK_RX_PASS_VLAN) > before; })) << text;
    EXPECT_TRUE(std::ranges::none_of(stack.seen(), udp_payload(text))) << text;
  }
};

const std::set<std::string> all_of_them{"up0.100", "up0.200", "up0.200.300"};
const std::set<std::string> all_but_the_first{"up0.200", "up0.200.300"};

// ---- traffic, in every mode

class VlanTraffic : public VlanTest, public ::testing::WithParamInterface<std::tuple<const char*, Vlan, bool>> {
 protected:
  void SetUp() override {
    if (!make_vlans()) return;
    keep_tags_in_frames(world().host(), uplink);
    keep_tags_in_frames(world().wire(), wire_end);
    start({.arguments = {}, .xdp_mode = std::get<0>(GetParam()), .environment = {}});
  }
  const Vlan& vlan() const { return std::get<1>(GetParam()); }
  std::string prefix() const { return std::get<2>(GetParam()) ? vlan().prefix6 : vlan().prefix4; }
  Endpoint service(std::uint16_t port = 7000) const { return {prefix() + "1", port}; }
  Endpoint remote() const { return {prefix() + "2", 4000}; }
  Fd peer() const {
    return world().wire().run([this] { return bound(IPPROTO_UDP, remote()); });
  }
  bool native() const { return std::string_view(std::get<0>(GetParam())) == "native"; }

  void expect_both_ways(Stack& stack, const Fd& socket, const std::string& text) const {
    world().wire().run([&] { send_to(socket.get(), service(), "in " + text); });
    const auto in = stack.receive(udp_payload("in " + text));
    ASSERT_TRUE(in) << text.substr(0, 20);
    EXPECT_EQ(in->from, remote());
    EXPECT_TRUE(in->checksums_right);
    stack.send(World::udp(service(), remote(), "out " + text));
    const auto out = receive_from(socket.get());
    ASSERT_TRUE(out) << text.substr(0, 20);
    EXPECT_EQ(out->payload, "out " + text);
    EXPECT_EQ(out->from, service());
  }
};

INSTANTIATE_TEST_SUITE_P(Modes, VlanTraffic,
                         ::testing::Combine(::testing::Values("native", "generic"),
                                            ::testing::Values(dot1q, dot1ad, dot1q_in_dot1ad), ::testing::Bool()),
                         [](const auto& chosen) {
                           return std::string(std::get<0>(chosen.param)) + "_" + std::get<1>(chosen.param).title +
                                  (std::get<2>(chosen.param) ? "_IPv6" : "_IPv4");
                         });

TEST_P(VlanTraffic, AStackReceivesAndSends) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Fd socket = peer();
  const auto of_no_vlan = pins().counter(MSTACK_RX_PASS_VLAN);  // what came while the uplink was being attached
  for (int i = 0; i < 20; ++i) expect_both_ways(stack, socket, std::to_string(i));
  // The first waited for the neighbour; the rest XDP has sent, where the uplink takes its frames.
  EXPECT_EQ(pins().counter(MSTACK_TX_SENT) > 0, native());
  EXPECT_EQ(pins().counter(MSTACK_RX_PASS_VLAN), of_no_vlan);
}

TEST_P(VlanTraffic, AsMuchAsFits) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Fd socket = peer();
  // A veth itself, as this wire, carries one tag more than its MTU says, whoever sends.
  const std::size_t mtu = vlan().name == dot1q_in_dot1ad.name ? 1496 : 1500;
  const std::size_t longest = mtu - 8 - (service().ipv6() ? 40 : 20) - 4;  // "out "
  for (const std::size_t size : {longest - 8, longest - 4, longest - 3, longest}) {
    for (int i = 0; i < 3; ++i) expect_both_ways(stack, socket, std::string(size, static_cast<char>('a' + i)));
  }
}

// The kernel's own sockets have what nobody claimed, tags and all, on the very address of a claim.
TEST_P(VlanTraffic, TheKernelHasTheRest) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Fd server = world().host().run([this] { return bound(IPPROTO_UDP, service(7001)); });
  const Fd socket = peer();
  world().wire().run([&] { send_to(socket.get(), service(7001), "kernel"); });
  const auto got = receive_from(server.get());
  ASSERT_TRUE(got);
  EXPECT_EQ(got->payload, "kernel");
  world().host().run([&] { send_to(server.get(), remote(), "back"); });
  const auto back = receive_from(socket.get());
  ASSERT_TRUE(back);
  EXPECT_EQ(back->payload, "back");
  expect_both_ways(stack, socket, "beside it");
  EXPECT_EQ(stack.seen().size(), 1U);
}

// ---- whose VLANs they are

TEST_F(VlanTest, OfAnotherVlanItIsTheKernels) {
  Stack stack(world());
  const Endpoint service{dot1q.prefix4 + "1", 7000};
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  ASSERT_TRUE(becomes(all_of_them));
  World::in(world().wire(), "ip link add link wire0 name wire0.101 type vlan id 101");
  World::in(world().wire(), "ip link set wire0.101 up");
  World::in(world().wire(), "ip link add link wire0.100 name wire0.100.5 type vlan id 5");
  World::in(world().wire(), "ip link set wire0.100.5 up");
  expect_kernels(stack, "wire0.101", service, "no such VLAN");
  expect_kernels(stack, "wire0.100.5", service, "no such VLAN in a VLAN");
  // Whichever VLAN of the uplink it came in by, as on whichever uplink.
  for (const char* device : {"wire0.100", "wire0.200", "wire0.200.300"}) {
    send_in(device, service, device);
    EXPECT_TRUE(stack.receive(udp_payload(device))) << device;
  }
}

// What a bridge, a namespace or nobody has is not the stacks': the attack is to hope for stale entries.
TEST_F(VlanTest, ADeviceIsFollowed) {
  Stack stack(world());
  const Endpoint service{dot1q.prefix4 + "1", 7000};
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  const auto expect_none = [&](const std::string& why) {
    EXPECT_TRUE(becomes(all_but_the_first)) << why;
    EXPECT_EQ(entries("vlans"), 2U) << why;
    EXPECT_EQ(entries("vlan_devices"), 2U) << why;
    expect_kernels(stack, "wire0.100", service, why);
  };
  const auto expect_back = [&](const std::string& why) {
    EXPECT_TRUE(becomes(all_of_them)) << why;
    send_in("wire0.100", service, "after " + why);
    EXPECT_TRUE(stack.receive(udp_payload("after " + why))) << why;
  };
  expect_back("nothing");
  host("ip link set up0.100 down");
  expect_none("down");
  host("ip link set up0.100 up");
  expect_back("down");

  host("ip link add br0 type bridge");
  host("ip link set up0.100 master br0");
  expect_none("in a bridge");
  host("ip link set up0.100 nomaster");
  expect_back("in a bridge");

  const Namespace elsewhere = Namespace::create();
  host("ip link set up0.100 netns " + elsewhere.path());
  World::in(elsewhere, "ip link set up0.100 up");
  // Its address went with it, and with that the claim is suspended.
  host("ip addr add " + service.address + "/29 dev " + uplink);
  expect_none("in another namespace");
  World::in(elsewhere, "ip link set up0.100 netns " + world().host().path());
  host("ip link set up0.100 up");
  expect_back("in another namespace");

  host("ip link set up0.100 down");
  host("ip link set up0.100 name other");
  host("ip link set other up");
  EXPECT_TRUE(becomes({"other", "up0.200", "up0.200.300"}));
  host("ip link set other down");
  host("ip link set other name up0.100");
  host("ip link set up0.100 up");
  expect_back("renamed");

  // What is inside goes with what is outside.
  host("ip link set up0.200 down");
  EXPECT_TRUE(becomes({"up0.100"}));
  host("ip link set up0.200 up");
  host("ip link set up0.200.300 up");
  EXPECT_TRUE(becomes(all_of_them));
  host("ip link del up0.100");
  expect_none("removed");
}

TEST_F(VlanTest, TheyComeAndGoWithTheUplink) {
  ASSERT_TRUE(becomes(all_of_them));
  EXPECT_EQ(world().command({"detach", uplink}).exit.code, 0);
  EXPECT_EQ(entries("vlans"), 0U);
  EXPECT_EQ(entries("vlan_devices"), 0U);
  EXPECT_EQ(world().command({"attach", uplink}).exit.code, 0);
  EXPECT_EQ(shown(), all_of_them);
  EXPECT_EQ(world().command({"detach", uplink}).exit.code, 0);  // what `attach` attached would stay
}

// While no mstackd runs one is removed, and another made.
TEST_F(VlanTest, TakenOver) {
  ASSERT_TRUE(becomes(all_of_them));
  Stack stack(world());
  const Endpoint service{dot1ad.prefix4 + "1", 7000};
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  crash();
  send_in("wire0.200", service, "without mstackd");
  EXPECT_TRUE(stack.receive(udp_payload("without mstackd")));
  host("ip link del up0.100");
  host("ip link add link up0 name up0.101 type vlan id 101");
  host("ip link set up0.101 up");
  start();
  EXPECT_EQ(shown(), (std::set<std::string>{"up0.101", "up0.200", "up0.200.300"}));
  EXPECT_EQ(entries("vlans"), 3U);
  expect_kernels(stack, "wire0.100", service, "of the one that is gone");
  World::in(world().wire(), "ip link add link wire0 name wire0.101 type vlan id 101");
  World::in(world().wire(), "ip link set wire0.101 up");
  send_in("wire0.101", service, "of the new one");
  EXPECT_TRUE(stack.receive(udp_payload("of the new one")));
  host("ip link del up0.101");
}

// ---- tags that XDP does not see

class StrippedTags : public VlanTest {
 protected:
  void SetUp() override {
    if (make_vlans()) start();  // with the offloads that a veth has
  }
};

TEST_F(StrippedTags, AreWarnedOf) {
  constexpr const char* advice = "ethtool -K up0 rx-vlan-hw-parse off rx-vlan-stag-hw-parse off";
  EXPECT_TRUE(eventually([&] { return daemon().log().find(advice) != std::string::npos; }));
  const Completed doctor = world().command({"doctor", "--cgroup", world().cgroup(), uplink});
  EXPECT_NE(doctor.out.find(advice), std::string::npos) << doctor.out;
  keep_tags_in_frames(world().host(), uplink);
  const Completed after = world().command({"doctor", "--cgroup", world().cgroup(), uplink});
  EXPECT_EQ(after.out.find(advice), std::string::npos) << after.out;
  EXPECT_NE(after.out.find("vlans of up0"), std::string::npos) << after.out;
}

}  // namespace
}  // namespace mstack::test
