// SPDX-License-Identifier: BSD-2-Clause
#include "routes.hpp"

#include "packet.hpp"

namespace model {

NextHop next_hop(const State& state, const Address& destination, std::size_t size) {
  const Route* best = nullptr;
  for (const Route& route : state.routes) {
    if (destination.is_in(route.prefix, route.length) && (best == nullptr || route.length > best->length)) {
      best = &route;
    }
  }
  if (best == nullptr || best->device == 0) return {};
  const Device& device = state.devices.at(best->device);
  if (size > (best->mtu != 0 ? best->mtu : device.mtu)) return {.kind = NextHop::Kind::too_big};
  const auto mac = state.neighbours.find(best->gateway.value_or(destination));
  if (mac == state.neighbours.end()) {
    return {.kind = NextHop::Kind::unknown_neighbour, .device = best->device};
  }
  return {.kind = NextHop::Kind::known, .device = best->device, .mac = mac->second};
}

bool is_unicast(const Address& address) {
  if (address.is_ip4()) {
    const bool this_network = address.octet(0) == 0;
    const bool loopback = address.octet(0) == 127;
    const bool multicast_reserved_or_broadcast = address.octet(0) >= 224;
    return !this_network && !loopback && !multicast_reserved_or_broadcast;
  }
  const bool multicast = is_multicast(address);
  const bool unspecified_or_loopback = address.is_in(Address{}, 127);
  return !multicast && !unspecified_or_loopback;
}

bool is_group(const Address& address) {
  if (address.is_ip4()) {
    const auto is_all_ones = [&](unsigned octet) { return address.octet(octet) == 255; };
    return is_multicast(address) || (is_all_ones(0) && is_all_ones(1) && is_all_ones(2) && is_all_ones(3));
  }
  const unsigned scope = address.bytes()[1] % 16;
  return is_multicast(address) && scope >= 2;
}

Mac mac_of_many(const Address& address) {
  if (!is_multicast(address)) return {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  const auto& bytes = address.bytes();
  if (address.is_ip4()) return {0x01, 0x00, 0x5e, static_cast<std::uint8_t>(bytes[13] % 128), bytes[14], bytes[15]};
  return {0x33, 0x33, bytes[12], bytes[13], bytes[14], bytes[15]};
}

}  // namespace model
