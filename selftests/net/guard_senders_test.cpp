// SPDX-License-Identifier: BSD-2-Clause
//
// The guard and the senders that a host has: its sockets, the owner's among them, what it forwards and what it
// translates.
#include <gtest/gtest.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "net/guard_fixture.hpp"

namespace mstack::test {
namespace {

// Without any privilege: a socket may send from any address of the host.
class GuardEach : public GuardTest, public testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override { begin({}, GetParam()); }
  // From bob's port on another address of the host, with `source` as the packet's.
  void send_as(const std::string& source, const Endpoint& to, const std::string& text) const {
    const Fd socket = bound_as(bob, IPPROTO_UDP, {to.ipv6() ? host6_second : host4_second, 7000});
    const SocketAddress address{to};
    std::string payload = text;
    iovec part{.iov_base = payload.data(), .iov_len = payload.size()};
    alignas(cmsghdr) std::array<char, 64> control{};
    msghdr message{};
    message.msg_name = const_cast<sockaddr*>(address.get());
    message.msg_namelen = address.size;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = to.ipv6() ? CMSG_SPACE(sizeof(in6_pktinfo)) : CMSG_SPACE(sizeof(in_pktinfo));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    const Bytes bytes = address_bytes(source);
    if (to.ipv6()) {
      in6_pktinfo info{};
      std::memcpy(&info.ipi6_addr, bytes.data(), bytes.size());
      *header = {.cmsg_len = CMSG_LEN(sizeof(info)), .cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_PKTINFO};
      std::memcpy(CMSG_DATA(header), &info, sizeof(info));
    } else {
      in_pktinfo info{};
      std::memcpy(&info.ipi_spec_dst, bytes.data(), bytes.size());
      *header = {.cmsg_len = CMSG_LEN(sizeof(info)), .cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO};
      std::memcpy(CMSG_DATA(header), &info, sizeof(info));
    }
    as_user(bob, [&] { (void)::sendmsg(socket.get(), &message, 0); });
  }
};
INSTANTIATE_TEST_SUITE_P(Modes, GuardEach, testing::Values("native", "generic"),
                         [](const auto& chosen) { return std::string(chosen.param); });

TEST_P(GuardEach, ASocketThatChoosesAnotherSource) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, claimed4), claim6 = stack.claim(IPPROTO_UDP, claimed6);
  const auto capture = world().capture();
  const Fd near4 = bound_as(bob, IPPROTO_UDP, {host4, 9000}), near6 = bound_as(bob, IPPROTO_UDP, {host6, 9000});
  for (const Endpoint& to : {wire_4, wire_6, Endpoint{host4, 9000}, Endpoint{host6, 9000}}) {
    send_as(to.ipv6() ? host6 : host4, to, "attack");
    send_as(to.ipv6() ? host6_second : host4_second, to, "passes");
  }
  settle(*capture);
  EXPECT_EQ(arrived(*capture, "attack"), 0U);
  EXPECT_EQ(arrived(*capture, "passes"), 2U);
  // On the loopback device as well.
  for (const Fd* socket : {&near4, &near6}) {
    const auto got = receive_from(socket->get());
    ASSERT_TRUE(got);
    EXPECT_EQ(got->payload, "passes");
    EXPECT_FALSE(pending(socket->get()));
  }
  EXPECT_EQ(refused(), 4U);
}

TEST_P(GuardEach, TheOwnerSendsBySocketAndByStack) {
  Stack stack(world());
  const Fd owner = bound_as(alice, IPPROTO_UDP, claimed4);
  const Claim claim = stack.claim(owner);
  const Fd server = world().wire().run([] { return bound(IPPROTO_UDP, wire_4); });
  const auto expect = [&](const std::string& text) {
    const auto got = receive_from(server.get());
    ASSERT_TRUE(got) << text.size();
    EXPECT_TRUE(got->payload == text);
    EXPECT_EQ(got->from, claimed4);
  };
  send_to(owner.get(), wire_4, "own");
  expect("own");
  const std::string large(9000, 'l');
  send_to(owner.get(), wire_4, large);
  expect(large);
  // Before 6.11 the kernel says EIO where the device does not finish checksums itself, as not every one can.
  world().host().run([&] { return run({"ethtool", "-K", uplink, "tx", "on"}).exit.code; });
  const int segment = 1000;
  ASSERT_EQ(::setsockopt(owner.get(), IPPROTO_UDP, 103 /* UDP_SEGMENT */, &segment, sizeof(segment)), 0);
  try {
    send_to(owner.get(), wire_4, std::string(3000, 's'));
    for (int i = 0; i < 3; ++i) expect(std::string(1000, 's'));
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code().value(), EIO) << error.what();
  }
  // By the kernel's neighbour table, which may keep a packet for a while.
  World::in(world().host(), "ip neigh flush all");
  stack.send(World::udp(claimed4, wire_4, "by the slow path"));
  expect("by the slow path");
  stack.send(World::udp(claimed4, wire_4, "once more"));
  expect("once more");
  EXPECT_EQ(refused() + unreadable(), 0U);
}

TEST_P(GuardEach, ForwardedPackets) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, claimed4), claim6 = stack.claim(IPPROTO_UDP, claimed6);
  const Namespace container = Namespace::create();
  World::in(world().host(), "ip link add side0 type veth peer name side1 netns " + container.path());
  World::in(world().host(), "ip addr add 203.0.113.1/24 dev side0");
  World::in(world().host(), "ip addr add 2001:db8:5::1/64 dev side0 nodad");
  World::in(world().host(), "ip link set side0 up");
  World::in(container, "ip link set side1 up");
  // All that lets a host forward what says it is from itself.
  World::in(world().host(),
            "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.side0.accept_local=1 "
            "net.ipv4.conf.side0.rp_filter=0 net.ipv4.conf.all.rp_filter=0");
  World::in(world().host(), "ip link set side0 address 02:00:00:00:05:01");
  const Injector injector(container, "side1");
  const auto capture = world().capture();
  const auto send = [&](const Endpoint& from, const Endpoint& to, const std::string& text) {
    Segment segment = World::udp(from, to, text);
    segment.destination_mac = {0x02, 0, 0, 0, 0x05, 0x01};
    injector.send(build(segment));
  };
  send(claimed4, wire_4, "attack");
  send(claimed6, wire_6, "attack");
  send({"203.0.113.2", 7000}, wire_4, "forwarded");
  send({"2001:db8:5::2", 7000}, wire_6, "forwarded");
  ASSERT_TRUE(eventually([&] { return arrived(*capture, "forwarded") == 2; }));
  EXPECT_EQ(arrived(*capture, "attack"), 0U);
  EXPECT_EQ(refused(), 2U);
  World::in(world().host(), "ip link del side0");
}

// A container behind the host's address: translation may give its packets any port, a claimed one too.
TEST_P(GuardEach, AddressTranslation) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, claimed4);
  const Namespace container = Namespace::create();
  World::in(world().host(), "ip link add side0 type veth peer name side1 netns " + container.path());
  World::in(world().host(), "ip addr add 203.0.113.1/24 dev side0");
  World::in(world().host(), "ip link set side0 up");
  World::in(world().host(), "sysctl -qw net.ipv4.ip_forward=1");
  World::in(container, "ip addr add 203.0.113.2/24 dev side1");
  World::in(container, "ip link set side1 up");
  World::in(container, "ip route add default via 203.0.113.1");
  const std::string rules = world().directory() + "/translate.nft";
  std::ofstream(rules) << "table ip guard {\n chain out {\n  type nat hook postrouting priority 100;\n"
                       << "  udp sport 4000 snat to " << host4 << ":7000\n  udp sport 4001 snat to " << host4
                       << ":7001\n }\n}\n";
  const Completed loaded = world().host().run([&] { return run({"nft", "-f", rules}); });
  if (loaded.exit != Exit{.code = 0, .signal = 0}) GTEST_SKIP() << "nft translates no addresses here: " << loaded.err;
  const auto capture = world().capture();
  container.run([&] {
    send_to(bound(IPPROTO_UDP, {"203.0.113.2", 4000}).get(), wire_4, "attack");
    send_to(bound(IPPROTO_UDP, {"203.0.113.2", 4001}).get(), wire_4, "translated");
  });
  ASSERT_TRUE(capture->wait([](const Packet& packet) { return packet.from == free4; }));
  EXPECT_EQ(arrived(*capture, "translated"), 1U);
  EXPECT_EQ(arrived(*capture, "attack"), 0U);
  EXPECT_EQ(refused(), 1U);
  World::in(world().host(), "ip link del side0");
}

// The wire's packets come by another device, where no XDP takes them: the kernel finds a socket that does not listen.
TEST_P(GuardEach, TheKernelsOwnReset) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_TCP, claimed4);
  const Namespace other = Namespace::create();
  World::in(world().host(), "ip link add side0 type veth peer name side1 netns " + other.path());
  World::in(world().host(), "ip link set side0 address 02:00:00:00:05:01");
  World::in(world().host(), "ip link set side0 up");
  World::in(other, "ip link set side1 up");
  World::in(world().host(), "sysctl -qw net.ipv4.conf.side0.rp_filter=0 net.ipv4.conf.all.rp_filter=0");
  World::in(world().host(), "ip addr add 203.0.113.1/24 dev side0");
  const auto capture = world().capture();
  for (const Endpoint& to : {claimed4, Endpoint{host4, 7001}}) {
    Segment segment = World::tcp({far4, 4000}, to, "");
    segment.destination_mac = {0x02, 0, 0, 0, 0x05, 0x01};
    Injector(other, "side1").send(build(segment));
  }
  ASSERT_TRUE(capture->wait([](const Packet& packet) { return packet.from == free4 && (packet.tcp_flags & tcp_rst); }));
  EXPECT_EQ(capture->count([](const Packet& packet) { return packet.from == claimed4; }), 0U);
  EXPECT_EQ(refused(), 1U);
  World::in(world().host(), "ip link del side0");
}

TEST_P(GuardEach, ComesAndGoesWithTheUplink) {
  const auto attacked = [&](const std::string& text) {
    PacketSocket(world().host(), uplink).send(frame(World::udp(claimed4, wire_4, text)));
  };
  Stack stack(world());
  const Fd owner = bound_as(alice, IPPROTO_UDP, claimed4);
  const Claim claim = stack.claim(owner);
  const auto capture = world().capture();
  EXPECT_TRUE(is_guarded());
  crash();
  attacked("killed");
  start({.arguments = {"--no-guard"}, .xdp_mode = GetParam(), .environment = {}});
  EXPECT_FALSE(is_guarded());
  attacked("off");
  restart({.arguments = {}, .xdp_mode = GetParam(), .environment = {}});
  EXPECT_TRUE(is_guarded());
  attacked("on");
  settle(*capture);
  EXPECT_EQ(capture->count(udp_payload("killed")), 0U);
  EXPECT_EQ(capture->count(udp_payload("off")), 1U);
  EXPECT_EQ(capture->count(udp_payload("on")), 0U);
  EXPECT_EQ(refused(), 2U);
  EXPECT_EQ(world().command({"detach", uplink}).exit.code, 0);
  EXPECT_EQ(egress(uplink).find("mstack"), std::string::npos);
  EXPECT_EQ(World::in(world().host(), "tc qdisc show dev " + uplink).find("clsact"), std::string::npos);
  EXPECT_EQ(world().command({"attach", uplink}).exit.code, 0);
  EXPECT_TRUE(is_guarded());
  EXPECT_EQ(world().command({"detach", uplink}).exit.code, 0);
}

}  // namespace
}  // namespace mstack::test
