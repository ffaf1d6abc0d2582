// SPDX-License-Identifier: BSD-2-Clause
// Ethernet.
#include "packet.hpp"

namespace model {

std::expected<Link, Reason> read_link(View frame) {
  if (frame.size() < 14) return std::unexpected(Reason::malformed);
  return Link{.type = frame.u16(12), .payload = frame.from(14)};
}

std::expected<Network, Reason> read_network(const Link& link, Direction direction) {
  switch (link.type) {
    case type_ip4: return read_ip4(link.payload);
    case type_ip6: return read_ip6(link.payload, direction);
    case type_arp: return std::unexpected(Reason::arp);
    default: return std::unexpected(Reason::not_ip);
  }
}

std::expected<Packet, Reason> read_packet(const Network& network) {
  const auto ports = read_ports(network.protocol, network.message);
  if (!ports) return std::unexpected(ports.error());
  return Packet{.source = {network.source, ports->source, network.protocol},
                .destination = {network.destination, ports->destination, network.protocol},
                .network = network};
}

}  // namespace model
