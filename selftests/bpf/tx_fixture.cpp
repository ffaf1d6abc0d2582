// SPDX-License-Identifier: BSD-2-Clause
#include "tx_fixture.hpp"

namespace bpf_test {
namespace {

// A veth pair of which only `near` speaks IP; no address is made up, nothing is sent by itself.
void veth(const std::string& near, const std::string& far, const std::string& near_mac, const std::string& far_mac) {
  Netns::ip("link add " + near + " address " + near_mac + " type veth peer name " + far + " address " + far_mac + "\n" +
            "link set " + near + " addrgenmode none\nlink set " + far + " addrgenmode none");
  Netns::sysctl("ipv6/conf/" + far + "/disable_ipv6", "1");
  Netns::ip("link set " + near + " up\nlink set " + far + " up");
  Netns::pass_all(near);
  Netns::pass_all(far);
}

void make_host_end(const std::string& name) {
  Netns::sysctl("ipv4/conf/" + name + "/forwarding", "1");
  Netns::sysctl("ipv6/conf/" + name + "/forwarding", "1");
  Netns::sysctl("ipv4/conf/" + name + "/rp_filter", "0");
  Netns::sysctl("ipv4/conf/" + name + "/accept_local", "1");
}

Packet from_port_7(std::string_view from, std::string_view to, std::uint8_t protocol) {
  Packet packet;
  packet.from_mac = hex("02 4d 53 00 00 01");
  packet.to_mac = hex("02 4d 53 01 00 01");
  packet.from = from;
  packet.from_port = 7;
  packet.to = to;
  packet.to_port = 40000;
  packet.protocol = protocol;
  return packet;
}

}  // namespace

VportTx::VportTx(const Settings& settings) : programs(netns.cookie(), {"vport_tx", "vport_tx_slow"}, settings) {
  veth("host0", "stack0", "02:4d:53:01:00:01", "02:4d:53:00:00:01");
  veth("host1", "stack1", "02:4d:53:01:00:02", "02:4d:53:00:00:02");
  veth("up0", "wire0", "02:00:00:00:00:10", "02:00:00:00:00:11");
  veth("away0", "far0", "02:00:00:00:00:20", "02:00:00:00:00:21");
  make_host_end("host0");
  make_host_end("host1");
  Netns::ip(
      "addr add 192.0.2.1/24 dev up0\n"
      "addr add 2001:db8::1/64 dev up0 nodad\n"
      "addr add 203.0.113.1/24 dev away0\n"
      "addr add 2001:db8:a::1/64 dev away0 nodad\n"
      "neigh add 192.0.2.99 lladdr 02:00:00:00:00:99 nud permanent dev up0\n"
      "neigh add 2001:db8::99 lladdr 02:00:00:00:00:99 nud permanent dev up0\n"
      "neigh add 203.0.113.99 lladdr 02:00:00:00:00:99 nud permanent dev away0\n"
      "neigh add 2001:db8:a::99 lladdr 02:00:00:00:00:99 nud permanent dev away0");
  host_end = Netns::ifindex("host0");
  uplink_mac = Netns::mac("up0");
  for (const char* address : {"192.0.2.1", "2001:db8::1", "203.0.113.1", "2001:db8:a::1"}) programs.local(address);
  programs.add_uplink("up0");
  programs.add_host_end(host_end, own_vport, own_slot);
  programs.add_host_end(Netns::ifindex("host1"), 2, 2);
  for (const std::uint8_t protocol : every_protocol) {
    for (const char* address : {"192.0.2.1", "2001:db8::1"}) programs.claim(tuple(address, 7, protocol));
  }
}

Outcome VportTx::transmit_through(const Bytes& frame) {
  Outcome first = transmit(frame);
  if (first.action != XDP_PASS) return first;
  Outcome second = programs.run("vport_tx_slow", first.frame, host_end);
  for (const auto& [verdict, count] : first.counted) second.counted[verdict] += count;
  for (const auto& [slot, counts] : first.counted_by_slot) {
    for (const auto& [verdict, count] : counts) second.counted_by_slot[slot][verdict] += count;
  }
  second.tx_bytes += first.tx_bytes;
  return second;
}

Packet VportTx::udp4() {
  return from_port_7("192.0.2.1", peer4, proto_udp);
}
Packet VportTx::tcp4() {
  return from_port_7("192.0.2.1", peer4, proto_tcp);
}
Packet VportTx::udp6() {
  return from_port_7("2001:db8::1", peer6, proto_udp);
}
Packet VportTx::tcp6() {
  return from_port_7("2001:db8::1", peer6, proto_tcp);
}

Bytes VportTx::sent_as(const Bytes& frame, const Bytes& next_hop) const {
  return next_hop + uplink_mac + slice(frame, 12, frame.size() - 12);
}

testing::AssertionResult VportTx::sent(const Outcome& outcome, const Bytes& frame, const Bytes& next_hop) const {
  const auto counted = did(outcome, XDP_REDIRECT, MSTACK_TX_SENT, own_slot);
  if (!counted) return counted;
  if (outcome.frame != sent_as(frame, next_hop)) {
    return testing::AssertionFailure() << "not the frame that was sent, with the MACs of the uplink and the next hop";
  }
  if (outcome.tx_bytes != frame.size()) return testing::AssertionFailure() << outcome.tx_bytes << " bytes were counted";
  return testing::AssertionSuccess();
}

testing::AssertionResult VportTx::dropped(const Bytes& frame, mstack_verdict reason) {
  const Outcome outcome = transmit(frame);
  if (outcome.tx_bytes != 0) return testing::AssertionFailure() << "bytes of a dropped frame were counted";
  return did(outcome, XDP_DROP, reason, own_slot);
}

}  // namespace bpf_test
