// SPDX-License-Identifier: BSD-2-Clause
//
// Nobody but its owner sends from a claimed tuple, whatever privilege it has and whatever a packet looks like. Every
// attack is made with the guard off, too, when it succeeds.
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <system_error>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

const Endpoint claimed4{host4, 7000}, claimed6{host6, 7000}, free4{host4, 7001}, free6{host6, 7001};
const Endpoint wire_4{wire4, 4000}, wire_6{wire6, 4000};
constexpr std::size_t ethernet_size = 14;

// <linux/virtio_net.h> is no C++: one of its members is called class.
struct VnetHeader {
  std::uint8_t flags = 0;
  std::uint8_t gso_type = 0;
  std::uint16_t linear = 0, gso_size = 0, checksum_start = 0, checksum_offset = 0;
};
constexpr std::uint8_t vnet_needs_checksum = 1, vnet_gso_tcp4 = 1;

// A packet socket that takes a refusal for an answer; the kernel says ENOBUFS.
class PacketSocket {
 public:
  PacketSocket(const Namespace& netns, const std::string& interface, bool has_headers = false) {
    const auto visit = netns.visit();
    socket_ = Fd{check(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), "socket")};
    const int on = has_headers;
    check(::setsockopt(socket_.get(), SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), "PACKET_VNET_HDR");
    sockaddr_ll to{};
    to.sll_family = AF_PACKET;
    to.sll_protocol = htons(ETH_P_IP);
    to.sll_ifindex = static_cast<int>(::if_nametoindex(interface.c_str()));
    check(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&to), sizeof(to)), "bind");
  }
  void send(const Bytes& bytes) const {
    if (::send(socket_.get(), bytes.data(), bytes.size(), 0) < 0 && errno != ENOBUFS) check(-1, "send");
  }

 private:
  Fd socket_;
};

struct Attack {
  std::string name;
  Bytes frame;
};

class Guard : public NetTest {
 protected:
  explicit Guard(const WorldOptions& options = {.far = true}) : NetTest(options) {}
  void SetUp() override {}
  void begin(const std::vector<std::string>& arguments = {}, const std::string& mode = "native") {
    start({.arguments = arguments, .xdp_mode = mode, .environment = {}});
  }
  Bytes frame(Segment segment) const {
    segment.source_mac = world().host_mac();
    segment.destination_mac = world().wire_mac();
    return build(segment);
  }
  Bytes ethernet_frame(std::uint16_t type, const Bytes& packet) const {
    return ethernet(world().wire_mac(), world().host_mac(), type, packet);
  }
  // With its IPv6 payload behind further headers: each has the type of the next in its first byte.
  Bytes behind(std::uint8_t first, const Bytes& headers) const {
    Bytes out = frame(World::udp(claimed6, wire_6, "attack"));
    const auto at = out.begin() + ethernet_size + 40;
    out[ethernet_size + 6] = first;
    out[ethernet_size + 5] = static_cast<std::uint8_t>(out[ethernet_size + 5] + headers.size());
    out.insert(at, headers.begin(), headers.end());
    return out;
  }
  static Bytes tagged(Bytes frame, const std::vector<std::uint16_t>& types) {
    for (const std::uint16_t type : types) {
      const Bytes tag{static_cast<std::uint8_t>(type >> 8), static_cast<std::uint8_t>(type), 0, 5};
      frame.insert(frame.begin() + 12, tag.begin(), tag.end());
    }
    return frame;
  }
  std::vector<Attack> attacks() const;
  std::uint64_t refused() const { return pins().counter(MSTACK_GUARD_DROP_NOT_OWNER); }
  std::uint64_t unreadable() const { return pins().counter(MSTACK_GUARD_DROP_HEADERS); }
  // Frames that end in this, as they were sent.
  static std::size_t arrived(const Capture& capture, const std::string& end) {
    return static_cast<std::size_t>(std::ranges::count_if(capture.frames(), [&](const Bytes& got) {
      return got.size() >= end.size() && std::equal(end.begin(), end.end(), got.end() - static_cast<long>(end.size()));
    }));
  }
  // All that was sent before has arrived by now, or never will.
  void settle(const Capture& capture, const std::string& text = "sentinel") const {
    Injector(world().host(), uplink).send(frame(World::udp(free4, wire_4, text)));
    ASSERT_TRUE(capture.wait(udp_payload(text)));
  }
  bool is_guarded() const {
    return world().command({"uplinks", "--json"}).out.find("\"guarded\": true") != std::string::npos;
  }
  std::string egress(const std::string& device) const {
    return World::in(world().host(), "tc filter show dev " + device + " egress");
  }
};

std::vector<Attack> Guard::attacks() const {
  const Bytes udp = frame(World::udp(claimed4, wire_4, "attack")), udp6 = frame(World::udp(claimed6, wire_6, "attack"));
  std::vector<Attack> list{{"UDP", udp},
                           {"UDP over IPv6", udp6},
                           {"TCP", frame(World::tcp(claimed4, wire_4, "attack"))},
                           {"TCP over IPv6", frame(World::tcp(claimed6, wire_6, "attack"))},
                           {"tagged", tagged(udp, {0x8100})},
                           {"tagged, IPv6", tagged(udp6, {0x88a8})},
                           {"tagged twice", tagged(udp, {0x8100, 0x88a8})},
                           {"tagged six times", tagged(udp, std::vector<std::uint16_t>(6, 0x8100))}};
  // What the kernel writes anew when it cuts up what a packet socket gave it may say anything before.
  Bytes odd = udp;
  odd[ethernet_size + 2] = odd[ethernet_size + 3] = 0;
  list.push_back({"no total length", odd});
  odd = udp;
  odd[ethernet_size + 24] = odd[ethernet_size + 25] = 0;
  list.push_back({"no UDP length", odd});
  odd = udp6;
  odd[ethernet_size + 4] = odd[ethernet_size + 5] = 0;
  list.push_back({"no payload length", odd});
  odd = frame(World::tcp(claimed4, wire_4, "attack"));
  odd[ethernet_size + 32] = 0xf0;
  list.push_back({"a TCP header beyond its end", odd});
  odd = udp;
  odd[ethernet_size] = 0x47;
  odd.insert(odd.begin() + ethernet_size + 20, {131, 7, 4, 0, 0, 0, 0, 0});
  list.push_back({"IPv4 options, source routed", odd});
  odd = udp;
  odd[ethernet_size + 6] = 0x20;
  list.push_back({"a first fragment", odd});
  const Bytes destination{17, 0, 1, 4, 0, 0, 0, 0}, routing{17, 0, 4, 9, 0, 0, 0, 0}, first{17, 0, 0, 1, 0, 0, 0, 9},
      whole{17, 0, 0, 0, 0, 0, 0, 9};
  const Bytes authentication{17, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  list.push_back({"hop-by-hop options", behind(0, destination)});
  list.push_back({"destination options", behind(60, destination)});
  list.push_back({"a routing header with segments left", behind(43, routing)});
  list.push_back({"a first fragment of IPv6", behind(44, first)});
  list.push_back({"a fragment header around a whole", behind(44, whole)});
  list.push_back({"AH", behind(51, authentication)});
  Bytes chain;
  for (int i = 0; i < 6; ++i)
    chain.insert(chain.end(), {static_cast<std::uint8_t>(i == 5 ? 17 : 60), 0, 1, 4, 0, 0, 0, 0});
  list.push_back({"six headers", behind(60, chain)});
  return list;
}

TEST_F(Guard, PacketSockets) {
  begin();
  Stack stack(world());
  const std::array claims = {stack.claim(IPPROTO_UDP, claimed4), stack.claim(IPPROTO_UDP, claimed6),
                             stack.claim(IPPROTO_TCP, claimed4), stack.claim(IPPROTO_TCP, claimed6)};
  const auto capture = world().capture();
  const PacketSocket injector(world().host(), uplink);
  std::uint64_t before = 0;
  for (const Attack& attack : attacks()) {
    injector.send(attack.frame);
    EXPECT_EQ(refused(), ++before) << attack.name;
    before = refused();
  }
  settle(*capture);
  EXPECT_EQ(arrived(*capture, "attack"), 0U);
  EXPECT_EQ(unreadable(), 0U);
}

TEST_F(Guard, TheSameWithoutIt) {
  begin({"--no-guard"});
  Stack stack(world());
  const std::array claims = {stack.claim(IPPROTO_UDP, claimed4), stack.claim(IPPROTO_UDP, claimed6),
                             stack.claim(IPPROTO_TCP, claimed4), stack.claim(IPPROTO_TCP, claimed6)};
  const auto capture = world().capture();
  const PacketSocket injector(world().host(), uplink);
  const auto all = attacks();
  for (const Attack& attack : all) injector.send(attack.frame);
  settle(*capture);
  EXPECT_EQ(arrived(*capture, "attack"), all.size());
  EXPECT_EQ(refused(), 0U);
  EXPECT_EQ(egress(uplink).find("mstack"), std::string::npos);
  EXPECT_NE(world().command({"uplinks"}).out.find(" no "), std::string::npos);
}

TEST_F(Guard, WhatCannotBeReadIsRefusedInThisHostsNameAlone) {
  begin();
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, claimed6);
  const auto capture = world().capture();
  const PacketSocket injector(world().host(), uplink);
  Bytes chain;
  for (int i = 0; i < 7; ++i)
    chain.insert(chain.end(), {static_cast<std::uint8_t>(i == 6 ? 17 : 60), 0, 1, 4, 0, 0, 0, 0});
  Bytes seven = behind(60, chain);
  injector.send(seven);
  EXPECT_EQ(unreadable(), 1U);
  // Its ports are in the next one, for a receiver that takes that.
  Bytes cut = behind(44, Bytes{60, 0, 0, 1, 0, 0, 0, 9});
  cut.resize(ethernet_size + 48);
  injector.send(cut);
  EXPECT_EQ(unreadable(), 2U);
  // What is behind its end is nothing to a receiver, whatever port it looks like.
  cut[ethernet_size + 4] = 0;
  cut[ethernet_size + 5] = 8;
  cut.insert(cut.end(), {17, 0, 1, 4, 0, 0, 0, 0, 0x1b, 0x59, 0, 0});
  injector.send(cut);
  EXPECT_EQ(unreadable(), 3U);
  const Bytes foreign = address_bytes(far6);
  std::ranges::copy(foreign, seven.begin() + ethernet_size + 8);
  injector.send(seven);
  settle(*capture);
  EXPECT_EQ(arrived(*capture, "attack"), 1U);
  EXPECT_EQ(unreadable(), 3U);
}

// A receiver takes off priority tags, all that there are; nobody else has use for so many.
TEST_F(Guard, BehindMoreTagsThanAreReadNothingLeaves) {
  begin();
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, claimed4);
  const auto capture = world().capture();
  const PacketSocket injector(world().host(), uplink);
  const Bytes udp = frame(World::udp(claimed4, wire_4, "attack"));
  std::uint64_t sent = 0;
  for (const std::size_t tags : {7U, 8U, 20U, 300U}) {
    injector.send(tagged(udp, std::vector<std::uint16_t>(tags, 0x8100)));
    EXPECT_EQ(unreadable(), ++sent) << tags;
  }
  settle(*capture);
  EXPECT_EQ(arrived(*capture, "attack"), 0U);
}

TEST_F(Guard, WhatIsNoneOfItsBusinessLeaves) {
  begin();
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, claimed4), any = stack.claim(IPPROTO_UDP, {"0.0.0.0", 7002});
  const auto capture = world().capture();
  const PacketSocket injector(world().host(), uplink);
  const auto other = [&](const Endpoint& from) { return frame(World::udp(from, {wire4, 4000}, "passes")); };
  std::vector<Bytes> frames{other(free4),
                            other({host4_second, 7000}),
                            other({far4, 7000}),
                            other({far4, 7002}),
                            frame(World::tcp(claimed4, wire_4, "passes")),
                            frame(World::udp(claimed6, wire_6, "passes"))};
  Bytes later = other(claimed4);
  later[ethernet_size + 7] = 1;
  frames.push_back(later);
  frames.push_back(ethernet_frame(0x0800, Bytes(20, 'x')));
  frames.push_back(ethernet_frame(0x88b5, {'p', 'a', 's', 's', 'e', 's'}));
  for (const Bytes& one : frames) injector.send(one);
  settle(*capture);
  EXPECT_EQ(arrived(*capture, "passes"), frames.size() - 1);
  EXPECT_EQ(refused() + unreadable(), 0U);
  // Of this host's addresses the wildcard is its owner's.
  injector.send(other({host4_second, 7002}));
  EXPECT_EQ(refused(), 1U);
}

// The kernel cuts up what it is given in one piece, and writes lengths and checksums into the pieces. Only the
// beginning of what is larger than a page is where a program can see it.
TEST_F(Guard, PacketSocketsThatHaveTheKernelCutUp) {
  for (const bool guarded : {false, true}) {
    begin(guarded ? std::vector<std::string>{} : std::vector<std::string>{"--no-guard"});
    {
      Stack stack(world());
      const Claim claim = stack.claim(IPPROTO_TCP, claimed4);
      const auto capture = world().capture();
      const PacketSocket socket(world().host(), uplink, true);
      constexpr std::uint16_t headers = ethernet_size + 40;
      for (const std::uint16_t linear : {headers, std::uint16_t{ethernet_size}}) {
        Bytes all = frame(World::tcp(claimed4, wire_4, std::string(9000, 'z'), tcp_ack));
        all[ethernet_size + 2] = all[ethernet_size + 3] = 0;
        VnetHeader header{.linear = linear};
        if (linear == headers)
          header = {.flags = vnet_needs_checksum,
                    .gso_type = vnet_gso_tcp4,
                    .linear = linear,
                    .gso_size = 1000,
                    .checksum_start = ethernet_size + 20,
                    .checksum_offset = 16};
        else
          all.resize(ethernet_size + 1500);
        Bytes message(sizeof(header) + all.size());
        std::memcpy(message.data(), &header, sizeof(header));
        std::ranges::copy(all, message.begin() + sizeof(header));
        socket.send(message);
      }
      settle(*capture);
      const auto pieces = capture->count([](const Packet& packet) { return packet.from == claimed4; });
      if (guarded)
        EXPECT_EQ(pieces, 0U);
      else
        EXPECT_EQ(pieces, 9U) << "of the other no receiver would read more than its addresses";
      EXPECT_EQ(refused(), guarded ? 2U : 0U);
    }
    EXPECT_EQ(daemon().stop().code, 0);
  }
  begin();
}

TEST_F(Guard, RawSockets) {
  begin();
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, claimed4);
  const auto capture = world().capture();
  const Fd raw = world().host().run([] { return Fd{check(::socket(AF_INET, SOCK_RAW, IPPROTO_RAW), "socket")}; });
  const SocketAddress to{Endpoint{wire4, 0}};
  for (const auto& [from, text] : {std::pair{claimed4, "attack"}, std::pair{free4, "passes"}}) {
    const Bytes bytes = build(World::udp(from, wire_4, text));
    check(::sendto(raw.get(), bytes.data() + ethernet_size, bytes.size() - ethernet_size, 0, to.get(), to.size),
          "sendto");
  }
  ASSERT_TRUE(capture->wait(udp_payload("passes")));
  EXPECT_EQ(arrived(*capture, "attack"), 0U);
  EXPECT_EQ(refused(), 1U);
}

// Without any privilege: a socket may send from any address of the host.
class GuardEach : public Guard, public testing::WithParamInterface<const char*> {
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
  const int segment = 1000;
  ASSERT_EQ(::setsockopt(owner.get(), IPPROTO_UDP, 103 /* UDP_SEGMENT */, &segment, sizeof(segment)), 0);
  try {
    send_to(owner.get(), wire_4, std::string(3000, 's'));
    for (int i = 0; i < 3; ++i) expect(std::string(1000, 's'));
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code().value(),
              EIO);  // before 6.11 a device that leaves checksums to the kernel has no UDP_SEGMENT
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

// By itself, or with the qdisc: mstackd puts it back, each time.
TEST_F(Guard, AFilterThatIsRemovedIsPutBack) {
  begin();
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, claimed4);
  const auto tc = [&](const std::string& command) { World::in(world().host(), "tc " + command); };
  const auto times_told = [&] {
    const std::string log = daemon().log(), words = "it is put back";
    std::size_t count = 0;
    for (std::size_t at = log.find(words); at != std::string::npos; at = log.find(words, at + 1)) ++count;
    return count;
  };
  std::size_t removed = 0;
  for (const std::string& device : {uplink, std::string("lo")})
    for (const std::string& what :
         {"filter del dev " + device + " egress", "filter del dev " + device + " egress pref 1",
          "qdisc del dev " + device + " clsact"}) {
      tc(what);
      ++removed;
      EXPECT_TRUE(eventually([&] { return egress(device).find("mstack") != std::string::npos; })) << what;
      EXPECT_TRUE(eventually([&] { return times_told() == removed; })) << what;
    }
  EXPECT_TRUE(is_guarded());
  // That of another is nothing to it.
  const std::string file = world().directory() + "/nothing";
  std::ofstream(file) << "1,6 0 0 0\n";
  tc("filter add dev up0 egress pref 9 protocol all bpf bytecode-file " + file);
  tc("filter del dev up0 egress pref 9");
  const auto capture = world().capture();
  PacketSocket(world().host(), uplink).send(frame(World::udp(claimed4, wire_4, "attack")));
  settle(*capture);
  EXPECT_EQ(arrived(*capture, "attack"), 0U);
  const Fd near = bound_as(bob, IPPROTO_UDP, {host4, 9000});
  send_to(near.get(), claimed4, "to the stack");
  EXPECT_TRUE(stack.receive(udp_payload("to the stack")));
  EXPECT_EQ(times_told(), removed) << daemon().log();
}

TEST_F(Guard, AFilterThatCannotBePutBackIsMissed) {
  begin();
  ::kill(daemon().pid(), SIGSTOP);
  for (const std::string& device : {uplink, std::string("lo")}) {
    World::in(world().host(), "tc qdisc del dev " + device + " clsact");
    World::in(world().host(), "tc qdisc add dev " + device + " ingress");
  }
  ::kill(daemon().pid(), SIGCONT);
  EXPECT_TRUE(eventually([&] { return !is_guarded(); }));
  EXPECT_NE(daemon().log().find("up0 is not guarded: an ingress qdisc"), std::string::npos) << daemon().log();
  EXPECT_TRUE(eventually([&] { return daemon().log().find("sockets of this host do not") != std::string::npos; }));
  for (const std::string& device : {uplink, std::string("lo")})
    World::in(world().host(), "tc qdisc del dev " + device + " ingress");
}

// A tcx program comes before every filter, and what it returns other than TCX_NEXT ends the way.
TEST_F(Guard, ProgramsBeforeAllFiltersAreTold) {
  constexpr auto tcx_egress = static_cast<bpf_attach_type>(47);  // Linux 6.6
  const std::array<bpf_insn, 2> code{
      bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = -1},
      bpf_insn{.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  const Fd program{check(::bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "theirs", "GPL", code.data(), code.size(), nullptr),
                         "load a TC program")};
  std::vector<Fd> links;
  for (const std::string& device : {uplink, std::string("lo")}) {
    bpf_attr attributes{};
    attributes.link_create.prog_fd = static_cast<__u32>(program.get());
    attributes.link_create.target_ifindex = world().index_of(device);
    attributes.link_create.attach_type = tcx_egress;
    links.emplace_back(world().host().run(
        [&] { return static_cast<int>(::syscall(SYS_bpf, BPF_LINK_CREATE, &attributes, sizeof(attributes))); }));
    const int refusal = errno;
    if (!links.back()) {
      begin();
      GTEST_SKIP() << "this kernel has no tcx programs: " << std::strerror(refusal);
    }
  }
  begin();
  for (const std::string device : {"up0", "lo"})
    EXPECT_NE(daemon().log().find("on the egress of " + device + " come before MultiStack's"), std::string::npos)
        << daemon().log();
  links.clear();
  restart();
  EXPECT_EQ(daemon().log().find("come before"), std::string::npos) << daemon().log();
}

}  // namespace
}  // namespace mstack::test
