// SPDX-License-Identifier: BSD-2-Clause
// Where a packet goes is the kernel's routing: next hop, MTU, and that it leaves by an uplink.
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstring>
#include <string>

#include "tx_fixture.hpp"

namespace bpf_test {
namespace {

using VportTxRoute = VportTx;

TEST_F(VportTxRoute, ThroughAGateway) {
  Netns::ip(
      "neigh add 192.0.2.254 lladdr 02:00:00:00:00:fe nud permanent dev up0\n"
      "neigh add 2001:db8::fe lladdr 02:00:00:00:00:fe nud permanent dev up0\n"
      "route add default via 192.0.2.254\n"
      "route add default via 2001:db8::fe");
  for (Packet packet : every_kind()) {
    packet.to = packet.from.contains(':') ? "2001:db8:f::1" : "198.51.100.1";
    EXPECT_TRUE(sent(transmit(packet.bytes()), packet.bytes(), hex("02 00 00 00 00 fe"))) << packet.to;
  }
}

// IPv4 by way of an IPv6 next hop (RFC 8950).
TEST_F(VportTxRoute, ThroughAGatewayOfTheOtherFamily) {
  Netns::ip(
      "neigh add 2001:db8::fe lladdr 02:00:00:00:00:fe nud permanent dev up0\n"
      "route add 198.51.100.0/24 via inet6 2001:db8::fe dev up0");
  Packet packet = udp4();
  packet.to = "198.51.100.1";
  EXPECT_TRUE(sent(transmit(packet.bytes()), packet.bytes(), hex("02 00 00 00 00 fe")));
}

TEST_F(VportTxRoute, NoRoute) {
  for (Packet packet : every_kind()) {
    packet.to = packet.from.contains(':') ? "2001:db8:f::1" : "198.51.100.1";
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_NO_ROUTE)) << packet.to;
  }
}

TEST_F(VportTxRoute, ARouteThatForbids) {
  for (const char* kind : {"blackhole", "unreachable", "prohibit"}) {
    Netns::ip(std::string("route add ") + kind + " 198.51.100.0/24\nroute add " + kind + " 2001:db8:f::/64");
    for (Packet packet : every_kind()) {
      packet.to = packet.from.contains(':') ? "2001:db8:f::1" : "198.51.100.1";
      EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_NO_ROUTE)) << kind << " " << packet.to;
    }
    Netns::ip(std::string("route del ") + kind + " 198.51.100.0/24\nroute del " + kind + " 2001:db8:f::/64");
  }
}

TEST_F(VportTxRoute, AnInterfaceThatIsNoUplink) {
  for (Packet packet : every_kind()) {
    packet.to = packet.from.contains(':') ? "2001:db8:a::99" : "203.0.113.99";
    const Outcome outcome = transmit_through(packet.bytes());
    EXPECT_EQ(outcome.counted, (std::map<std::string, std::uint64_t>{{"TX_DROP_NOT_UPLINK", 1}})) << packet.to;
    EXPECT_EQ(outcome.counted_by_slot.at(own_slot), outcome.counted);
    EXPECT_EQ(outcome.tx_bytes, 0U);
  }
}

// Back to itself or to another stack, past its owner: never, though a route says so.
TEST_F(VportTxRoute, AHostEndIsNoUplink) {
  Netns::ip(
      "route add 198.51.100.0/24 dev host1\n"
      "route add 2001:db8:f::/64 dev host1\n"
      "neigh add 198.51.100.1 lladdr 02:4d:53:00:00:02 nud permanent dev host1\n"
      "neigh add 2001:db8:f::1 lladdr 02:4d:53:00:00:02 nud permanent dev host1");
  for (Packet packet : every_kind()) {
    packet.to = packet.from.contains(':') ? "2001:db8:f::1" : "198.51.100.1";
    const Outcome outcome = transmit_through(packet.bytes());
    EXPECT_EQ(outcome.counted, (std::map<std::string, std::uint64_t>{{"TX_DROP_NOT_UPLINK", 1}})) << packet.to;
  }
}

// A route's own MTU counts if it is locked, as when the kernel forwards.
TEST_F(VportTxRoute, LargerThanTheRoutesMtu) {
  Netns::ip(
      "route add 198.51.100.0/24 dev up0 mtu lock 1300\n"
      "route add 2001:db8:f::/64 dev up0 mtu lock 1300\n"
      "neigh add 198.51.100.1 lladdr 02:00:00:00:00:99 nud permanent dev up0\n"
      "neigh add 2001:db8:f::1 lladdr 02:00:00:00:00:99 nud permanent dev up0");
  for (Packet packet : every_kind()) {
    const bool six = packet.from.contains(':');
    const std::size_t headers = (six ? 40U : 20U) + (packet.protocol == proto_udp ? 8U : 20U);
    packet.payload = zeros(1500 - headers);
    EXPECT_TRUE(sent(transmit(packet.bytes()), packet.bytes())) << "the interface's own";
    packet.to = six ? "2001:db8:f::1" : "198.51.100.1";
    packet.payload = zeros(1300 - headers);
    EXPECT_TRUE(sent(transmit(packet.bytes()), packet.bytes()));
    packet.payload = zeros(1301 - headers);
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_TOO_BIG));
  }
}

TEST_F(VportTxRoute, LargerThanTheUplinksMtu) {
  Netns::ip("link set up0 mtu 1400");
  for (Packet packet : every_kind()) {
    const std::size_t headers = (packet.from.contains(':') ? 40U : 20U) + (packet.protocol == proto_udp ? 8U : 20U);
    packet.payload = zeros(1401 - headers);
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_TOO_BIG));
  }
}

// What the next device would have to carry is the frame, not what IP says of it.
TEST_F(VportTxRoute, PaddingCountsTowardsTheMtu) {
  for (Packet packet : every_kind()) {
    packet.padding = zeros(2000);
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_TOO_BIG));
    packet.padding = zeros(1400);
    EXPECT_TRUE(sent(transmit(packet.bytes()), packet.bytes()));
    EXPECT_TRUE(sent(transmit(packet.bytes()), packet.bytes())) << "again, as a known flow";
    packet.padding = zeros(2000);
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_TOO_BIG)) << "of a known flow";
  }
}

TEST_F(VportTxRoute, DestinationsThatAreNobody) {
  Netns::ip("route add default dev up0\nroute add default dev up0 metric 5\nroute add ::/0 dev up0");
  for (Packet packet : every_kind()) {
    for (const char* to : packet.from.contains(':') ? std::vector{"ff00::1", "ff01::1", "ff11::7", "::1", "::"}
                                                    : std::vector{"240.0.0.1", "255.255.255.254", "127.0.0.1",
                                                                  "127.255.255.254", "0.0.0.0", "0.1.2.3"}) {
      packet.to = to;
      EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_DESTINATION)) << to;
    }
  }
}

// One that is known to the routing table alone, since mstackd has not heard of the address yet.
TEST_F(VportTxRoute, AnUnknownSubnetsBroadcastIsNotSent) {
  for (const std::uint8_t protocol : {proto_udp, proto_tcp}) {
    Packet packet = udp4();
    packet.protocol = protocol;
    packet.to = "192.0.2.255";
    EXPECT_TRUE(dropped(packet.bytes(), MSTACK_TX_DROP_NO_ROUTE));
  }
}

// What is carried out, not only decided: the frame comes out at the other end of the uplink.
TEST_F(VportTxRoute, TheFrameLeavesByTheUplink) {
  const Fd wire(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  ASSERT_TRUE(wire);
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(Netns::ifindex("wire0"));
  ASSERT_EQ(bind(wire.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  for (const Packet& packet : every_kind()) {
    const Outcome outcome = programs.run_live("vport_tx", packet.bytes(), host_end);
    EXPECT_EQ(outcome.counted, (std::map<std::string, std::uint64_t>{{"TX_SENT", 1}}));
    Bytes received;
    do {  // but for what the kernel tells every router of the addresses that the uplink has
      pollfd ready{.fd = wire.get(), .events = POLLIN, .revents = 0};
      ASSERT_EQ(poll(&ready, 1, 60000), 1) << "nothing on the wire";
      received.resize(2048);
      const ssize_t length = recv(wire.get(), received.data(), received.size(), 0);
      ASSERT_GT(length, 0);
      received.resize(static_cast<std::size_t>(length));
    } while ((received[0] & 1) != 0);
    EXPECT_EQ(received, sent_as(packet.bytes()));
  }
}

}  // namespace
}  // namespace bpf_test
