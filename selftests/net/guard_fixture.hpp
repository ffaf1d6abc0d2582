// SPDX-License-Identifier: BSD-2-Clause
// What the tests of the guard share: who sends, as nobody should, and what came of it.
#pragma once

#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {

inline const Endpoint claimed4{host4, 7000}, claimed6{host6, 7000}, free4{host4, 7001}, free6{host6, 7001};
inline const Endpoint wire_4{wire4, 4000}, wire_6{wire6, 4000};
inline constexpr std::size_t ethernet_size = 14;

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

class GuardTest : public NetTest {
 protected:
  explicit GuardTest(const WorldOptions& options = {.far = true}) : NetTest(options) {}
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

}  // namespace mstack::test
