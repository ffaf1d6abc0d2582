// SPDX-License-Identifier: BSD-2-Clause
// RFC 8200. No jumbograms: a payload of length 0 holds nothing.
#include "packet.hpp"

namespace model {

std::expected<Network, Reason> read_ip6(View rest, Extent extent) {
  if (!rest.shows(40) || rest.u8(0) >> 4 != 6) return std::unexpected(Reason::malformed);
  const std::size_t total = extent == Extent::quoted ? rest.size() : std::size_t{40} + rest.u16(4);
  if (total > rest.size()) return std::unexpected(Reason::malformed);
  Network network{.source = Address::ip6(rest.from(8)),
                  .destination = Address::ip6(rest.from(24)),
                  .hop_limit = rest.u8(7),
                  .traffic = rest.u32(0) & 0x0fffffff,
                  .protocol = rest.u8(6),
                  .is_ip6 = true,
                  .extent = extent,
                  .options = {},
                  .packet = rest.first(total),
                  .message = rest.part(40, total - 40)};
  // ::ffff:a.b.c.d is how a tuple says IPv4: nobody on the wire is called so.
  if (network.source.is_ip4() || network.destination.is_ip4()) return std::unexpected(Reason::malformed);
  return network;
}

}  // namespace model
