// SPDX-License-Identifier: BSD-2-Clause
// RFC 791.
#include "packet.hpp"

namespace model {
namespace {

constexpr std::uint16_t more_fragments = 0x2000;
constexpr std::uint16_t fragment_offset = 0x1fff;

bool is_checksum_right(View header) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i + 1 < header.size(); i += 2) sum += header.u16(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return sum == 0xffff;
}

std::optional<Fragment> fragment_of(View packet, std::size_t header) {
  const std::uint16_t field = packet.u16(6);
  if ((field & (more_fragments | fragment_offset)) == 0) return std::nullopt;
  return Fragment{
      .datagram = {.source = Address::ip4(packet.from(12)),
                   .destination = Address::ip4(packet.from(16)),
                   .id = packet.u16(4),
                   .protocol = packet.u8(9)},
      .offset = static_cast<std::size_t>(field & fragment_offset) * 8,
      .length = packet.size() - header,
      .more = (field & more_fragments) != 0,
      .is_sound = (field & ~(more_fragments | fragment_offset)) == 0 && is_checksum_right(packet.first(header))};
}

}  // namespace

std::expected<Network, Reason> read_ip4(View rest, Extent extent) {
  if (!rest.shows(20) || rest.u8(0) >> 4 != 4) return std::unexpected(Reason::malformed);
  const std::size_t header = std::size_t{rest.u8(0) & 0xfU} * 4;
  // Routers have been seen to change the total length in a quote; what it speaks of is not there anyway.
  const std::size_t total = extent == Extent::quoted ? rest.size() : rest.u16(2);
  if (header < 20 || total < header || total > rest.size()) return std::unexpected(Reason::malformed);
  const View packet = rest.first(total);
  return Network{.source = Address::ip4(packet.from(12)),
                 .destination = Address::ip4(packet.from(16)),
                 .hop_limit = packet.u8(8),
                 .traffic = packet.u8(1),
                 .protocol = packet.u8(9),
                 .has_extensions = header > 20,
                 .extent = extent,
                 .fragment = fragment_of(packet, header),
                 .options = packet.part(20, header - 20),
                 .packet = packet,
                 .message = packet.from(header)};
}

}  // namespace model
