// SPDX-License-Identifier: BSD-2-Clause
// A host with one uplink, and a vport 1 on it that holds port 7 of the host's addresses for both transports.
//
//   host0 <> stack0          the veth of slot 1 (vport 1)
//   host1 <> stack1          the veth of slot 2 (vport 2)
//   up0   <> wire0           the uplink: 192.0.2.1/24, 2001:db8::1/64
//   away0 <> far0            an interface that is no uplink: 203.0.113.1/24, 2001:db8:a::1/64
#pragma once

#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <string>
#include <string_view>
#include <vector>

#include "netns.hpp"
#include "programs.hpp"

namespace bpf_test {

class VportTx : public testing::Test {
 protected:
  static constexpr std::uint32_t own_vport = 1;
  static constexpr std::uint32_t own_slot = 1;
  static constexpr std::string_view peer4 = "192.0.2.99";  // on-link, its MAC is known
  static constexpr std::string_view peer6 = "2001:db8::99";

  explicit VportTx(const Settings& settings = {});

  Outcome transmit(const Bytes& frame) { return programs.run("vport_tx", frame, host_end); }
  // What the whole of the host end does: the slow path sees what XDP passes, and only that.
  Outcome transmit_through(const Bytes& frame);

  static Packet udp4();
  static Packet tcp4();
  static Packet udp6();
  static Packet tcp6();
  static std::vector<Packet> every_kind() { return {udp4(), tcp4(), udp6(), tcp6()}; }

  // As the vport sent it, but for the MACs: the uplink's and that of the next hop.
  Bytes sent_as(const Bytes& frame, const Bytes& next_hop = hex("02 00 00 00 00 99")) const;
  testing::AssertionResult sent(const Outcome& outcome, const Bytes& frame,
                                const Bytes& next_hop = hex("02 00 00 00 00 99")) const;
  testing::AssertionResult dropped(const Bytes& frame, mstack_verdict reason);

  Netns netns;
  Programs programs;
  std::uint32_t host_end = 0;
  Bytes uplink_mac;
};

}  // namespace bpf_test
