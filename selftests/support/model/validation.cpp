// SPDX-License-Identifier: BSD-2-Clause
#include "validation.hpp"

#include "neighbours.hpp"
#include "routes.hpp"
#include "steering.hpp"

namespace model {
namespace {

mstack_verdict drop_verdict(Reason reason) {
  switch (reason) {
    case Reason::tagged:
    case Reason::not_ip: return MSTACK_TX_DROP_NOT_IP;
    case Reason::arp: return MSTACK_TX_DROP_ARP;
    case Reason::malformed: return MSTACK_TX_DROP_MALFORMED;
    case Reason::fragment: return MSTACK_TX_DROP_FRAGMENT;
    case Reason::too_many_headers: return MSTACK_TX_DROP_HEADERS;
    case Reason::source_routed: return MSTACK_TX_DROP_SOURCE_ROUTE;
    case Reason::protocol: return MSTACK_TX_DROP_PROTOCOL;
    case Reason::quote: return MSTACK_TX_DROP_ICMP;
  }
  throw std::logic_error("a reason that has no verdict");
}

struct Sender {
  Tuple source;
  bool is_error = false;  // about a packet to that

  bool speaks_to_many() const {
    return !is_error && (source.protocol == protocol_udp || source.protocol == protocol_udp_lite);
  }
};

// One of the two programs at work on a frame of a host end.
struct Gate {
  const State& state;
  Datagrams& datagrams;  // of this vport
  Datagrams::Time now;
  View frame;
  HostEnd from;
  bool is_slow = false;

  Decision drop(mstack_verdict verdict) const { return {.verdict = verdict, .slot = from.slot}; }
  Decision drop(Reason reason) const { return drop(drop_verdict(reason)); }

  Decision settle(Network& network) const;
  Decision first_fragment(const Network& network, std::optional<Reason> fault) const;
  Decision later_fragment(const Network& network, std::optional<Reason> fault) const;
  Decision whole_packet(const Network& network) const;
  Decision answered(const std::expected<Bytes, Reason>& answer, mstack_verdict not_a_question) const;
  std::optional<mstack_verdict> refused(const Sender& sender, const Address& destination) const;
  Decision validated(const Sender& sender, const Tuple& destination) const;
  Decision sent(const Sender& sender, const Tuple& destination) const;
  Decision sent_slow(const Sender& sender, const Tuple& destination) const;
  std::optional<Decision> handed_to_stack(const Tuple& source, const Tuple& destination) const;
  std::optional<std::uint32_t> way_to_many(const Sender& sender, const Address& destination) const;
  Decision sent_to_many(const Sender& sender, const Address& destination, std::uint32_t way) const;
  Decision left_to_slow_path() const;
};

Decision Gate::answered(const std::expected<Bytes, Reason>& answer, mstack_verdict not_a_question) const {
  if (answer) return {.action = Action::answer, .verdict = MSTACK_TX_ANSWERED, .slot = from.slot, .frame = *answer};
  return drop(answer.error() == Reason::malformed ? MSTACK_TX_DROP_MALFORMED : not_a_question);
}

// Nothing leaves but from a tuple of this vport, and in the name of this host.
std::optional<mstack_verdict> Gate::refused(const Sender& sender, const Address& destination) const {
  const Claim* claim = state.find(sender.source);
  if (claim == nullptr) return MSTACK_TX_DROP_UNCLAIMED;
  if (claim->vport != from.vport) return MSTACK_TX_DROP_NOT_OWNER;
  if (!state.is_local(sender.source.address)) return MSTACK_TX_DROP_NOT_LOCAL;
  const bool is_somebody = is_unicast(destination) || (is_group(destination) && sender.speaks_to_many());
  if (!is_somebody) return MSTACK_TX_DROP_DESTINATION;
  return std::nullopt;
}

// Addressed so that this host's own stack would take it.
Decision Gate::left_to_slow_path() const {
  return {.action = Action::pass, .frame = with_macs(frame, gateway_mac(from.slot), stack_mac(from.slot))};
}

// A stack of this host gets it as from the wire. None: no stack has claimed the destination.
std::optional<Decision> Gate::handed_to_stack(const Tuple& source, const Tuple& destination) const {
  const auto claim = receiver_of(state, destination);
  if (!claim) return std::nullopt;
  Decision decision = steer(state, frame, source, destination, *claim);
  if (decision.verdict == MSTACK_RX_DROP_TOO_BIG) return drop(MSTACK_TX_DROP_TOO_BIG);
  if (decision.verdict == MSTACK_RX_DROP_NO_VPORT) return drop(MSTACK_TX_DROP_NO_VPORT);
  decision.verdict = MSTACK_TX_TO_STACK;
  decision.slot = from.slot;
  return decision;
}

// A group is reached by the device of the source, a subnet by its own.
std::optional<std::uint32_t> Gate::way_to_many(const Sender& sender, const Address& destination) const {
  if (is_group(destination)) return state.device_of.at(sender.source.address);
  const auto subnet = state.broadcasts.find(destination);
  return subnet == state.broadcasts.end() ? std::nullopt : std::optional(subnet->second);
}

Decision Gate::sent_to_many(const Sender& sender, const Address& destination, std::uint32_t way) const {
  const Device& device = state.devices.at(way);
  if (!sender.speaks_to_many()) return drop(MSTACK_TX_DROP_DESTINATION);
  if (is_slow && !state.below(device).uplink) return drop(MSTACK_TX_DROP_NOT_UPLINK);
  if (frame.size() - 14 > device.mtu) return drop(MSTACK_TX_DROP_TOO_BIG);
  if (!is_slow && !device.takes_xdp_frames) return left_to_slow_path();
  return {.action = Action::forward,
          .verdict = is_slow ? MSTACK_TX_SENT_SLOW : MSTACK_TX_SENT,
          .slot = from.slot,
          .frame = with_macs(frame, mac_of_many(destination), device.mac)};
}

Decision Gate::sent(const Sender& sender, const Tuple& to) const {
  const Address& destination = to.address;
  if (const auto way = way_to_many(sender, destination)) return sent_to_many(sender, destination, *way);
  if (state.host.contains(destination)) {
    if (!state.is_local(destination)) return drop(MSTACK_TX_DROP_NO_ROUTE);
    return handed_to_stack(sender.source, to).value_or(left_to_slow_path());
  }
  // The MTU is about all that would be sent behind the Ethernet header, padding too.
  const NextHop next = next_hop(state, destination, frame.size() - 14);
  switch (next.kind) {
    case NextHop::Kind::none: return drop(MSTACK_TX_DROP_NO_ROUTE);
    case NextHop::Kind::too_big: return drop(MSTACK_TX_DROP_TOO_BIG);
    case NextHop::Kind::unknown_neighbour: return left_to_slow_path();
    case NextHop::Kind::known: break;
  }
  const Device& device = state.devices.at(next.device);
  const Device& uplink = state.below(device);
  if (!uplink.takes_xdp_frames) return left_to_slow_path();
  const Tags tags = device.vlan ? device.vlan->tags : Tags{};
  // An uplink takes one tag more than its MTU says.
  if (frame.size() - 14 + tags.size() * size_of_tag > uplink.mtu + size_of_tag && !tags.empty()) {
    return left_to_slow_path();
  }
  return {.action = Action::forward,
          .verdict = MSTACK_TX_SENT,
          .slot = from.slot,
          .frame = with_tags(with_macs(frame, next.mac, device.mac), tags)};
}

Decision Gate::sent_slow(const Sender& sender, const Tuple& to) const {
  const Address& destination = to.address;
  if (const auto way = way_to_many(sender, destination)) return sent_to_many(sender, destination, *way);
  if (state.is_local(destination)) {
    const Decision to_host{.action = Action::pass, .verdict = MSTACK_TX_TO_HOST, .slot = from.slot};
    return handed_to_stack(sender.source, to).value_or(to_host);
  }
  if (state.host.contains(destination)) return drop(MSTACK_TX_DROP_NO_ROUTE);
  const NextHop next = next_hop(state, destination, frame.size() - 14);
  if (next.kind == NextHop::Kind::none) return drop(MSTACK_TX_DROP_NO_ROUTE);
  if (next.kind == NextHop::Kind::too_big) return drop(MSTACK_TX_DROP_TOO_BIG);
  if (!state.below(state.devices.at(next.device)).uplink) return drop(MSTACK_TX_DROP_NOT_UPLINK);
  return {.action = Action::forward, .verdict = MSTACK_TX_SENT_SLOW, .slot = from.slot};
}

Decision Gate::validated(const Sender& sender, const Tuple& destination) const {
  if (const auto reason = refused(sender, destination.address)) return drop(*reason);
  return is_slow ? sent_slow(sender, destination) : sent(sender, destination);
}

// It leaves as any packet does, and only if it does may the rest. Of several firsts the newest decides.
Decision Gate::first_fragment(const Network& network, std::optional<Reason> fault) const {
  const Datagram& datagram = network.fragment->datagram;
  datagrams.forget(datagram);
  if (fault) return drop(*fault);
  const auto packet = read_message(network, Direction::transmitted);
  if (!packet) return drop(packet.error());
  const Claim* claim = state.find(packet->source);
  if (claim != nullptr && claim->vport == from.vport) {
    const First first{.source = packet->source,
                      .destination = packet->destination,
                      .length = network.fragment->length,
                      .vport = from.vport,
                      .cookie = claim->cookie,
                      .hop_limit = network.hop_limit,
                      .traffic = network.traffic};
    datagrams.remember(datagram, first, now);
  }
  Decision decision = validated({.source = packet->source}, packet->destination);
  if (decision.action == Action::drop) datagrams.forget(datagram);
  return decision;
}

Decision Gate::later_fragment(const Network& network, std::optional<Reason> fault) const {
  if (fault) return drop(*fault);
  const Fragment& fragment = *network.fragment;
  const auto found = datagrams.find(fragment.datagram, now);
  if (!found) return drop(MSTACK_TX_DROP_FRAGMENT);
  const First& first = found->first;
  const auto decide = [&] {
    // It is to live on its way as long as the first.
    if (network.hop_limit != first.hop_limit || network.traffic != first.traffic) return drop(MSTACK_TX_DROP_FRAGMENT);
    // It could write over the ports that were checked.
    if (fragment.offset < first.length) return drop(MSTACK_TX_DROP_OVERLAP);
    const Claim* claim = state.find(first.source);
    const bool is_another_socket = claim != nullptr && claim->vport == from.vport && claim->cookie != first.cookie;
    if (is_another_socket) return drop(MSTACK_TX_DROP_FRAGMENT);
    return validated({.source = first.source}, first.destination);
  };
  Decision decision = decide();
  if (found->in_doubt) {
    decision.doubt = {.table = &datagrams, .datagram = fragment.datagram, .otherwise = MSTACK_TX_DROP_FRAGMENT};
  }
  return decision;
}

Decision Gate::whole_packet(const Network& network) const {
  const auto packet = read_message(network, Direction::transmitted);
  if (!packet) {
    if (is_slow)
      return drop(network.is_icmp() && packet.error() != Reason::malformed ? MSTACK_TX_DROP_ICMP
                                                                           : MSTACK_TX_DROP_MALFORMED);
    const bool may_ask = network.is_icmp() && network.is_ip6 && packet.error() == Reason::protocol;
    return may_ask ? answered(answer_icmp6(network, from.slot), MSTACK_TX_DROP_PROTOCOL) : drop(packet.error());
  }
  const Sender sender{.source = packet->source, .is_error = packet->is_error};
  if (packet->is_error && !is_slow) {
    if (const auto reason = refused(sender, network.destination)) return drop(*reason);
    if (state.errors_spent.contains(from.slot)) return drop(MSTACK_TX_DROP_ICMP_RATE);
  }
  return validated(sender, packet->destination);
}

// What the slow path is given has passed the other one, which told the reasons apart: it has one for all that is not
// even a packet.
Decision Gate::settle(Network& network) const {
  const auto fault = walk(network, Direction::transmitted);
  if (network.fragment) {
    if (!state.send_fragments) return drop(MSTACK_TX_DROP_FRAGMENT);
    return network.fragment->is_first() ? first_fragment(network, fault) : later_fragment(network, fault);
  }
  if (fault) return is_slow ? drop(Reason::malformed) : drop(*fault);
  return whole_packet(network);
}

Decision through_gate(const State& state, Memory& memory, View frame, std::uint32_t ifindex, bool is_slow) {
  const auto host_end = state.host_ends.find(ifindex);
  if (host_end == state.host_ends.end()) return {.verdict = MSTACK_TX_DROP_NO_VPORT};
  const HostEnd& from = host_end->second;
  const Gate gate{.state = state,
                  .datagrams = memory.sent[from.vport],
                  .now = memory.now,
                  .frame = frame,
                  .from = from,
                  .is_slow = is_slow};

  const auto link = read_link(View({frame.data(), frame.size()}, first_buffer));
  if (!link) return gate.drop(link.error());
  auto network = read_network(*link);
  if (!network && is_slow) return gate.drop(Reason::malformed);
  if (!network && network.error() == Reason::arp) {
    return gate.answered(answer_arp(frame, from.slot), MSTACK_TX_DROP_ARP);
  }
  if (!network) return gate.drop(network.error());
  Decision decision = gate.settle(*network);
  decision.kind = kind_of(state, *network);
  decision.is_ip6 = network->is_ip6;
  return decision;
}

}  // namespace

Decision vport_tx(const State& state, Memory& memory, View frame, std::uint32_t ifindex) {
  return through_gate(state, memory, frame, ifindex, false);
}

Decision vport_tx_slow(const State& state, Memory& memory, View frame, std::uint32_t ifindex) {
  return through_gate(state, memory, frame, ifindex, true);
}

}  // namespace model
