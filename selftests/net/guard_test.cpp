// SPDX-License-Identifier: BSD-2-Clause
//
// Nobody but its owner sends from a claimed tuple, whatever privilege it has and whatever a packet looks like. Every
// attack is made with the guard off, too, when it succeeds.
#include <gtest/gtest.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "net/guard_fixture.hpp"

namespace mstack::test {
namespace {

// <linux/virtio_net.h> is no C++: one of its members is called class.
struct VnetHeader {
  std::uint8_t flags = 0;
  std::uint8_t gso_type = 0;
  std::uint16_t linear = 0, gso_size = 0, checksum_start = 0, checksum_offset = 0;
};
constexpr std::uint8_t vnet_needs_checksum = 1, vnet_gso_tcp4 = 1;

struct Attack {
  std::string name;
  Bytes frame;
};

class Guard : public GuardTest {
 protected:
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

}  // namespace
}  // namespace mstack::test
