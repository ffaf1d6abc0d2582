// SPDX-License-Identifier: BSD-2-Clause
#include "steering.hpp"

#include <algorithm>
#include <ranges>

#include "guarding.hpp"
#include "routes.hpp"

namespace model {

std::expected<Claim, mstack_verdict> receiver_of(const State& state, const Tuple& to) {
  const Claim* claim = state.find(to);
  if (claim == nullptr) return std::unexpected(MSTACK_RX_PASS_UNCLAIMED);
  // To own every address of this host is not to own those that it forwards for, nor its groups.
  const auto any = state.claims.find({to.address.any(), to.port, to.protocol});
  const bool by_wildcard = any != state.claims.end() && claim == &any->second;
  if (by_wildcard && !state.is_local(to.address)) return std::unexpected(MSTACK_RX_PASS_NOT_LOCAL);
  return *claim;
}

// Which queue is the flow's is the data path's own choice. If one of them is gone it may be that one.
Decision steer(const State& state, View frame, const Tuple& remote, const Tuple& local, const Claim& claim) {
  constexpr std::size_t fits_any_vport = 1792;
  const auto slots = std::views::iota(claim.slot, static_cast<std::uint16_t>(claim.slot + claim.queues));
  if (!std::ranges::all_of(slots, [&](std::uint32_t slot) { return state.slots.contains(slot); })) {
    return {.action = Action::drop, .verdict = MSTACK_RX_DROP_NO_VPORT};
  }
  // A device takes one tag more than its MTU says.
  const std::size_t header = 14 + (is_tagged(frame) ? size_of_tag : 0);
  const auto fits = [&](std::uint32_t slot) { return frame.size() <= header + state.slots.at(slot); };
  if (frame.size() > fits_any_vport && !std::ranges::all_of(slots, fits)) {
    return {.action = Action::drop, .verdict = MSTACK_RX_DROP_TOO_BIG};
  }
  return {.action = Action::forward,
          .verdict = MSTACK_RX_STEERED,
          .frame = with_macs(frame, stack_mac(claim.slot), gateway_mac(claim.slot)),
          .first_slot = claim.slot,
          .queues = claim.queues,
          .flow = {remote, local}};
}

namespace {

constexpr std::uint32_t no_device = 0;  // where a frame came in that this host sent to itself

Decision pass(mstack_verdict verdict) {
  return {.action = Action::pass, .verdict = verdict};
}

Decision pass(Reason reason) {
  switch (reason) {
    case Reason::tagged: return pass(MSTACK_RX_PASS_VLAN);
    case Reason::not_ip:
    case Reason::arp: return pass(MSTACK_RX_PASS_NOT_IP);
    case Reason::malformed: return pass(MSTACK_RX_PASS_MALFORMED);
    case Reason::fragment: return pass(MSTACK_RX_PASS_FRAGMENT);
    case Reason::too_many_headers:
    case Reason::source_routed: return pass(MSTACK_RX_PASS_HEADERS);
    case Reason::protocol: return pass(MSTACK_RX_PASS_PROTOCOL);
    case Reason::quote: return pass(MSTACK_RX_PASS_ICMP);
  }
  throw std::logic_error("a reason that has no verdict");
}

// What says that it is from this host is nothing that a wire should carry; what is from a loopback address cannot be
// answered by a stack.
Decision hand_over(const State& state, std::uint32_t origin, View frame, const Tuple& remote, const Tuple& local,
                   const Claim& claim) {
  if (origin != no_device && state.is_local(remote.address)) return pass(MSTACK_RX_PASS_OWN_SOURCE);
  if (origin == no_device && !is_unicast(remote.address)) return pass(MSTACK_LO_PASS);
  return steer(state, frame, remote, local, claim);
}

// Whoever a datagram's first fragment went to gets the rest, and what went to the kernel goes there whole. Of several
// firsts the newest decides.
Decision first_fragment(const State& state, Datagrams& datagrams, Datagrams::Time now, View frame, std::uint32_t origin,
                        const Network& network, std::optional<Reason> fault) {
  const Datagram& datagram = network.fragment->datagram;
  datagrams.forget(datagram);
  if (fault) return pass(*fault);
  const auto packet = read_message(network, Direction::received);
  if (!packet) return pass(packet.error());
  const auto claim = receiver_of(state, packet->destination);
  if (!claim) return pass(claim.error());
  const First first{.source = packet->source,
                    .destination = packet->destination,
                    .length = network.fragment->length,
                    .vport = claim->vport,
                    .cookie = claim->cookie};
  datagrams.remember(datagram, first, now);
  return hand_over(state, origin, frame, packet->source, packet->destination, *claim);
}

Decision later_fragment(const State& state, Datagrams& datagrams, Datagrams::Time now, View frame, std::uint32_t origin,
                        const Fragment& fragment, std::optional<Reason> fault) {
  if (fault) return pass(*fault);
  const auto found = datagrams.find(fragment.datagram, now);
  if (!found) return pass(MSTACK_RX_PASS_FRAGMENT);
  const First& first = found->first;
  const auto decide = [&] {
    // It could write over the ports that were read.
    if (fragment.offset < first.length) return pass(MSTACK_RX_PASS_OVERLAP);
    const auto claim = receiver_of(state, first.destination);
    const bool is_same_owner = claim && claim->vport == first.vport && claim->cookie == first.cookie;
    if (!is_same_owner) return pass(MSTACK_RX_PASS_FRAGMENT);
    return hand_over(state, origin, frame, first.source, first.destination, *claim);
  };
  Decision decision = decide();
  if (found->in_doubt) {
    decision.doubt = {.table = &datagrams, .datagram = fragment.datagram, .otherwise = MSTACK_RX_PASS_FRAGMENT};
  }
  return decision;
}

Decision whole_packet(const State& state, View frame, std::uint32_t origin, const Network& network) {
  const auto packet = read_message(network, Direction::received);
  if (!packet) return pass(packet.error());
  const auto claim = receiver_of(state, packet->destination);
  if (!claim) return pass(claim.error());
  return hand_over(state, origin, frame, packet->source, packet->destination, *claim);
}

// A copy of what the host sends to a group has no Ethernet header, and any user chooses what is in its place.
bool is_ip_packet(View frame) {
  if (frame.size() < 20) return false;
  switch (frame.u8(0) >> 4) {
    case 4: return (frame.u8(0) & 0xfU) >= 5 && frame.u16(2) == frame.size();
    case 6: return frame.u16(4) + 40U == frame.size();
    default: return false;
  }
}

// The tags stay in the frame as far as the stack end.
Decision receive(const State& state, Datagrams& datagrams, Datagrams::Time now, View frame, std::uint32_t origin) {
  const auto untagged = take_tags(frame);
  if (!untagged) return pass(untagged.error());
  if (!untagged->tags.empty() && !state.has({.uplink = origin, .tags = untagged->tags})) return pass(Reason::tagged);
  const auto link = read_link(View(untagged->frame, first_buffer - (frame.size() - untagged->frame.size())));
  if (!link) return pass(link.error());
  auto network = read_network(*link);
  if (!network) return pass(network.error());
  const auto fault = walk(*network, Direction::received);
  const auto decide = [&] {
    if (network->fragment) {
      return network->fragment->is_first()
                 ? first_fragment(state, datagrams, now, frame, origin, *network, fault)
                 : later_fragment(state, datagrams, now, frame, origin, *network->fragment, fault);
    }
    return fault ? pass(*fault) : whole_packet(state, frame, origin, *network);
  };
  Decision decision = decide();
  decision.kind = kind_of(state, *network);
  decision.is_ip6 = network->is_ip6;
  return decision;
}

}  // namespace

// Drivers never see such copies.
Decision uplink_rx(const State& state, Memory& memory, View frame, std::uint32_t ifindex) {
  if (!state.devices.at(ifindex).native && is_ip_packet(frame)) return pass(MSTACK_RX_PASS_OWN_SOURCE);
  return receive(state, memory.received, memory.now, frame, ifindex);
}

// As from the wire, without VLANs, and of datagrams there it knows nothing; the kernel's reasons are all one.
Decision lo_tx(const State& state, Memory& memory, View frame) {
  if (state.guards_loopback)
    if (const Decision guarded = uplink_tx(state, frame); guarded.action == Action::drop) return guarded;
  Decision decision = receive(state, memory.looped, memory.now, frame, no_device);
  if (decision.action == Action::pass) decision.verdict = MSTACK_LO_PASS;
  if (decision.doubt) decision.doubt->otherwise = MSTACK_LO_PASS;
  return decision;
}

Decision vport_rx(View frame, std::uint32_t slot, bool has_socket) {
  const Mac own = stack_mac(slot);
  if (frame.size() < 14 || !std::equal(own.begin(), own.end(), frame.data())) {
    return {.action = Action::drop, .verdict = MSTACK_RX_DROP_NOT_STEERED, .slot = slot};
  }
  const auto untagged = take_tags(frame);
  if (!untagged) return {.action = Action::drop, .verdict = MSTACK_RX_DROP_NOT_STEERED, .slot = slot};
  if (!has_socket) return {.action = Action::drop, .verdict = MSTACK_RX_DROP_NO_SOCKET, .slot = slot};
  Decision delivered{.action = Action::forward, .verdict = MSTACK_RX_DELIVERED, .slot = slot};
  if (!untagged->tags.empty()) {
    delivered.frame = with_macs(View(untagged->frame), stack_mac(slot), gateway_mac(slot));
  }
  return delivered;
}

}  // namespace model
