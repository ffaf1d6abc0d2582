// SPDX-License-Identifier: BSD-2-Clause
// RFC 791.
#include "packet.hpp"

namespace model {
namespace {

constexpr std::uint16_t more_fragments = 0x2000;
constexpr std::uint16_t fragment_offset = 0x1fff;

constexpr std::uint8_t end_of_options = 0;
constexpr std::uint8_t no_operation = 1;
constexpr std::uint8_t loose_source_route = 131;
constexpr std::uint8_t strict_source_route = 137;

// Only those that route matter, but to find them every option has to be stepped over.
std::expected<void, Reason> read_options(View options) {
  for (unsigned walked = 0; !options.empty(); ++walked) {
    if (walked == headers_walked) return std::unexpected(Reason::too_many_headers);
    switch (options.u8(0)) {
      case end_of_options: return {};
      case no_operation: options = options.from(1); break;
      case loose_source_route:
      case strict_source_route: return std::unexpected(Reason::source_routed);
      default:
        if (options.size() < 2 || options.u8(1) < 2 || options.u8(1) > options.size()) {
          return std::unexpected(Reason::malformed);
        }
        options = options.from(options.u8(1));
    }
  }
  return {};
}

}  // namespace

std::expected<Network, Reason> read_ip4(View rest) {
  if (rest.size() < 20 || rest.u8(0) >> 4 != 4) return std::unexpected(Reason::malformed);
  const std::size_t header = std::size_t{rest.u8(0) & 0xfU} * 4;
  const std::size_t total = rest.u16(2);
  if (header < 20 || total < header || total > rest.size()) return std::unexpected(Reason::malformed);
  if ((rest.u16(6) & (more_fragments | fragment_offset)) != 0) return std::unexpected(Reason::fragment);
  const View packet = rest.first(total);
  if (const auto options = read_options(packet.part(20, header - 20)); !options) {
    return std::unexpected(options.error());
  }
  return Network{.source = Address::ip4(packet.from(12)),
                 .destination = Address::ip4(packet.from(16)),
                 .hop_limit = packet.u8(8),
                 .protocol = packet.u8(9),
                 .has_extensions = header > 20,
                 .packet = packet,
                 .message = packet.from(header)};
}

}  // namespace model
