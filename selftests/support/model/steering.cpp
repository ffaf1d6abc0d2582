// SPDX-License-Identifier: BSD-2-Clause
#include "steering.hpp"

#include <algorithm>
#include <ranges>

#include "packet.hpp"

namespace model {
namespace {

Decision pass(mstack_verdict verdict) {
  return {.action = Action::pass, .verdict = verdict};
}

Decision pass(Reason reason) {
  switch (reason) {
    case Reason::not_ip:
    case Reason::arp: return pass(MSTACK_RX_PASS_NOT_IP);
    case Reason::malformed: return pass(MSTACK_RX_PASS_MALFORMED);
    case Reason::fragment: return pass(MSTACK_RX_PASS_FRAGMENT);
    case Reason::too_many_headers:
    case Reason::source_routed: return pass(MSTACK_RX_PASS_HEADERS);
    case Reason::protocol: return pass(MSTACK_RX_PASS_PROTOCOL);
  }
  throw std::logic_error("a reason that has no verdict");
}

// Which of them is the flow's is the data path's own choice. If one of them is gone it may be that one.
Decision steer(const State& state, View frame, const Packet& packet, const Claim& claim) {
  const bool all =
      std::ranges::all_of(std::views::iota(claim.slot, static_cast<std::uint16_t>(claim.slot + claim.queues)),
                          [&](std::uint32_t slot) { return state.slots.contains(slot); });
  if (!all) return {.action = Action::drop, .verdict = MSTACK_RX_DROP_NO_VPORT};
  return {.action = Action::forward,
          .verdict = MSTACK_RX_STEERED,
          .frame = with_macs(frame, stack_mac(claim.slot), gateway_mac(claim.slot)),
          .first_slot = claim.slot,
          .queues = claim.queues,
          .flow = {packet.source, packet.destination}};
}

}  // namespace

Decision uplink_rx(const State& state, View frame) {
  const auto link = read_link(frame);
  if (!link) return pass(link.error());
  const auto network = read_network(*link, Direction::received);
  if (!network) return pass(network.error());
  const auto packet = read_packet(*network);
  if (!packet) return pass(packet.error());

  const Claim* claim = state.find(packet->destination);
  if (claim == nullptr) return pass(MSTACK_RX_PASS_UNCLAIMED);
  // To own every address of this host is not to own those that it forwards for, nor its groups.
  const Tuple any{packet->destination.address.any(), packet->destination.port, packet->destination.protocol};
  const bool by_wildcard = state.claims.contains(any) && claim == &state.claims.at(any);
  if (by_wildcard && !state.is_local(packet->destination.address)) return pass(MSTACK_RX_PASS_NOT_LOCAL);
  return steer(state, frame, *packet, *claim);
}

Decision vport_rx(View frame, std::uint32_t slot, bool has_socket) {
  const Mac own = stack_mac(slot);
  if (frame.size() < 14 || !std::equal(own.begin(), own.end(), frame.data())) {
    return {.action = Action::drop, .verdict = MSTACK_RX_DROP_NOT_STEERED, .slot = slot};
  }
  if (!has_socket) return {.action = Action::drop, .verdict = MSTACK_RX_DROP_NO_SOCKET, .slot = slot};
  return {.action = Action::forward, .verdict = MSTACK_RX_DELIVERED, .slot = slot};
}

}  // namespace model
