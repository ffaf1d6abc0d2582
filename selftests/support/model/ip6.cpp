// SPDX-License-Identifier: BSD-2-Clause
// RFC 8200.
#include "packet.hpp"

namespace model {
namespace {

constexpr std::uint8_t hop_by_hop = 0;
constexpr std::uint8_t routing = 43;
constexpr std::uint8_t fragment = 44;
constexpr std::uint8_t destination_options = 60;

bool is_walked_over(std::uint8_t header) {
  return header == hop_by_hop || header == routing || header == destination_options;
}

}  // namespace

std::expected<Network, Reason> read_ip6(View rest, Direction direction) {
  if (rest.size() < 40 || rest.u8(0) >> 4 != 6) return std::unexpected(Reason::malformed);
  const std::size_t total = std::size_t{40} + rest.u16(4);
  if (total > rest.size()) return std::unexpected(Reason::malformed);
  Network network{.source = Address::ip6(rest.from(8)),
                  .destination = Address::ip6(rest.from(24)),
                  .hop_limit = rest.u8(7),
                  .protocol = rest.u8(6),
                  .packet = rest.first(total),
                  .message = rest.part(40, total - 40)};
  // ::ffff:a.b.c.d is how a tuple says IPv4: nobody on the wire is called so.
  if (network.source.is_ip4() || network.destination.is_ip4()) return std::unexpected(Reason::malformed);

  for (unsigned walked = 0; is_walked_over(network.protocol); ++walked) {
    if (walked == headers_walked) return std::unexpected(Reason::too_many_headers);
    if (network.message.size() < 8) return std::unexpected(Reason::malformed);
    const std::size_t length = (std::size_t{network.message.u8(1)} + 1) * 8;
    const bool segments_left = network.message.u8(3) != 0;
    // To a receiver a routing header without segments left is history; none leaves a stack.
    if (network.protocol == routing && (direction == Direction::transmitted || segments_left)) {
      return std::unexpected(Reason::source_routed);
    }
    if (length > network.message.size()) return std::unexpected(Reason::malformed);
    network.has_extensions = true;
    network.protocol = network.message.u8(0);
    network.message = network.message.from(length);
  }
  if (network.protocol == fragment) return std::unexpected(Reason::fragment);
  if (network.protocol == protocol_icmp6 && network.message.size() < 8) return std::unexpected(Reason::malformed);
  return network;
}

}  // namespace model
