// SPDX-License-Identifier: BSD-2-Clause
#include "validation.hpp"

#include "neighbours.hpp"
#include "packet.hpp"
#include "routes.hpp"

namespace model {
namespace {

using Kind = NextHop::Kind;

mstack_verdict drop_verdict(Reason reason) {
  switch (reason) {
    case Reason::not_ip: return MSTACK_TX_DROP_NOT_IP;
    case Reason::arp: return MSTACK_TX_DROP_ARP;
    case Reason::malformed: return MSTACK_TX_DROP_MALFORMED;
    case Reason::fragment: return MSTACK_TX_DROP_FRAGMENT;
    case Reason::too_many_headers: return MSTACK_TX_DROP_HEADERS;
    case Reason::source_routed: return MSTACK_TX_DROP_SOURCE_ROUTE;
    case Reason::protocol: return MSTACK_TX_DROP_PROTOCOL;
  }
  throw std::logic_error("a reason that has no verdict");
}

// Nothing leaves but from a tuple of this vport, and in the name of this host.
std::optional<mstack_verdict> source_refused(const State& state, const HostEnd& from, const Tuple& source) {
  const Claim* claim = state.find(source);
  if (claim == nullptr) return MSTACK_TX_DROP_UNCLAIMED;
  if (claim->vport != from.vport) return MSTACK_TX_DROP_NOT_OWNER;
  if (!state.is_local(source.address)) return MSTACK_TX_DROP_NOT_LOCAL;
  return std::nullopt;
}

std::optional<mstack_verdict> refused(const State& state, const HostEnd& from, const Packet& packet) {
  if (const auto reason = source_refused(state, from, packet.source)) return reason;
  if (!is_unicast(packet.destination.address)) return MSTACK_TX_DROP_DESTINATION;
  return std::nullopt;
}

Decision answered(const std::expected<Bytes, Reason>& answer, mstack_verdict not_a_question, std::uint32_t slot) {
  if (answer) return {.action = Action::answer, .verdict = MSTACK_TX_ANSWERED, .slot = slot, .frame = *answer};
  return {.verdict = answer.error() == Reason::malformed ? MSTACK_TX_DROP_MALFORMED : not_a_question, .slot = slot};
}

// Addressed so that this host's own stack would take it.
Decision left_to_slow_path(View frame, const HostEnd& from) {
  return {.action = Action::pass, .frame = with_macs(frame, gateway_mac(from.slot), stack_mac(from.slot))};
}

}  // namespace

Decision vport_tx(const State& state, View frame, std::uint32_t ifindex) {
  const auto host_end = state.host_ends.find(ifindex);
  if (host_end == state.host_ends.end()) return {.verdict = MSTACK_TX_DROP_NO_VPORT};
  const HostEnd& from = host_end->second;
  const auto drop = [&](mstack_verdict verdict) { return Decision{.verdict = verdict, .slot = from.slot}; };

  const auto link = read_link(frame);
  if (!link) return drop(drop_verdict(link.error()));
  const auto network = read_network(*link, Direction::transmitted);
  if (!network && network.error() == Reason::arp) {
    return answered(answer_arp(frame, from.slot), MSTACK_TX_DROP_ARP, from.slot);
  }
  if (!network) return drop(drop_verdict(network.error()));
  if (link->type == type_ip6 && network->protocol == protocol_icmp6) {
    return answered(answer_icmp6(*network, from.slot), MSTACK_TX_DROP_PROTOCOL, from.slot);
  }
  const auto packet = read_packet(*network);
  if (!packet) return drop(drop_verdict(packet.error()));
  if (const auto reason = refused(state, from, *packet)) return drop(*reason);

  if (state.host.contains(packet->destination.address)) {
    return state.is_local(packet->destination.address) ? left_to_slow_path(frame, from) : drop(MSTACK_TX_DROP_NO_ROUTE);
  }
  const NextHop next = next_hop(state, packet->destination.address, link->payload.size());
  switch (next.kind) {
    case Kind::none: return drop(MSTACK_TX_DROP_NO_ROUTE);
    case Kind::too_big: return drop(MSTACK_TX_DROP_TOO_BIG);
    case Kind::unknown_neighbour: return left_to_slow_path(frame, from);
    case Kind::known: break;
  }
  const Device& device = state.devices.at(next.device);
  if (!device.takes_xdp_frames) return left_to_slow_path(frame, from);
  return {.action = Action::forward,
          .verdict = MSTACK_TX_SENT,
          .slot = from.slot,
          .frame = with_macs(frame, next.mac, device.mac)};
}

Decision vport_tx_slow(const State& state, View frame, std::uint32_t ifindex) {
  const auto host_end = state.host_ends.find(ifindex);
  if (host_end == state.host_ends.end()) return {.verdict = MSTACK_TX_DROP_NO_VPORT};
  const HostEnd& from = host_end->second;
  const auto drop = [&](mstack_verdict verdict) { return Decision{.verdict = verdict, .slot = from.slot}; };

  // XDP has told the reasons apart already, and what is not a packet it never passes on.
  const auto link = read_link(frame);
  if (!link) return drop(MSTACK_TX_DROP_MALFORMED);
  const auto network = read_network(*link, Direction::transmitted);
  if (!network) return drop(MSTACK_TX_DROP_MALFORMED);
  const auto packet = read_packet(*network);
  if (!packet) return drop(MSTACK_TX_DROP_MALFORMED);
  if (const auto reason = refused(state, from, *packet)) return drop(*reason);

  if (state.is_local(packet->destination.address)) {
    return {.action = Action::pass, .verdict = MSTACK_TX_TO_HOST, .slot = from.slot};
  }
  if (state.host.contains(packet->destination.address)) return drop(MSTACK_TX_DROP_NO_ROUTE);
  const NextHop next = next_hop(state, packet->destination.address, network->packet.size());
  if (next.kind == Kind::none) return drop(MSTACK_TX_DROP_NO_ROUTE);
  if (next.kind == Kind::too_big) return drop(MSTACK_TX_DROP_TOO_BIG);
  if (!state.devices.at(next.device).uplink) return drop(MSTACK_TX_DROP_NOT_UPLINK);
  return {.action = Action::forward, .verdict = MSTACK_TX_SENT_SLOW, .slot = from.slot};
}

}  // namespace model
