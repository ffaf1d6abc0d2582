// SPDX-License-Identifier: BSD-2-Clause
// Ethernet, and from the message inside the packet inside it to the tuples.
#include "packet.hpp"

namespace model {

std::expected<Link, Reason> read_link(View frame) {
  if (frame.size() < 14) return std::unexpected(Reason::malformed);
  return Link{.type = frame.u16(12), .payload = frame.from(14)};
}

std::expected<Network, Reason> read_network(const Link& link) {
  switch (link.type) {
    case type_ip4: return read_ip4(link.payload, Extent::whole);
    case type_ip6: return read_ip6(link.payload, Extent::whole);
    case type_arp: return std::unexpected(Reason::arp);
    default: return std::unexpected(Reason::not_ip);
  }
}

std::expected<Packet, Reason> read_message(const Network& network, Direction direction) {
  if (network.is_icmp()) return read_icmp(network, direction);
  const auto ports = read_ports(network);
  if (!ports) return std::unexpected(ports.error());
  return Packet{.source = {network.source, ports->source, network.protocol},
                .destination = {network.destination, ports->destination, network.protocol},
                .network = network};
}

}  // namespace model
