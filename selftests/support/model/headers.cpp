// SPDX-License-Identifier: BSD-2-Clause
// What stands between an IP header and its message: the options of RFC 791, the extension headers of RFC 8200, the
// authentication header of RFC 4302, and the fragment header, behind which the first fragment goes on.
#include "packet.hpp"

namespace model {
namespace {

constexpr std::uint8_t hop_by_hop = 0;
constexpr std::uint8_t routing = 43;
constexpr std::uint8_t fragment = 44;
constexpr std::uint8_t authentication = 51;
constexpr std::uint8_t destination_options = 60;

constexpr std::uint8_t end_of_options = 0;
constexpr std::uint8_t no_operation = 1;
constexpr std::uint8_t loose_source_route = 131;
constexpr std::uint8_t strict_source_route = 137;

constexpr std::uint8_t pad1 = 0;
constexpr std::uint8_t home_address = 201;  // RFC 6275: whom a receiver takes for the source

// Only those that route matter, but to find them every option has to be stepped over.
std::optional<Reason> fault_of_ip4_options(View options) {
  for (unsigned walked = 0; !options.empty(); ++walked) {
    if (walked == headers_walked) return Reason::too_many_headers;
    if (!options.shows(1)) return Reason::malformed;
    switch (options.u8(0)) {
      case end_of_options: return std::nullopt;
      case no_operation: options = options.from(1); break;
      case loose_source_route:
      case strict_source_route: return Reason::source_routed;
      default:
        if (!options.shows(2) || options.u8(1) < 2 || options.u8(1) > options.size()) return Reason::malformed;
        options = options.from(options.u8(1));
    }
  }
  return std::nullopt;
}

std::optional<Reason> fault_of_destination_options(View options) {
  for (unsigned walked = 0; !options.empty(); ++walked) {
    if (walked == headers_walked) return Reason::too_many_headers;
    if (!options.shows(1)) return Reason::malformed;
    if (options.u8(0) == home_address) return Reason::source_routed;
    if (options.u8(0) == pad1) {
      options = options.from(1);
      continue;
    }
    if (!options.shows(2) || options.u8(1) > options.size() - 2) return Reason::malformed;
    options = options.from(std::size_t{2} + options.u8(1));
  }
  return std::nullopt;
}

bool is_walked_over(const Network& network) {
  switch (network.protocol) {
    case authentication: return true;
    case hop_by_hop:
    case routing:
    case fragment:
    case destination_options: return network.is_ip6;
    default: return false;
  }
}

// The datagram's data begins at `message`.
std::optional<Reason> begin_fragment(Network& network, Direction direction) {
  const Fragment& piece = *network.fragment;
  if (direction == Direction::transmitted) {
    // Nothing that somebody on the way may take offence at in one fragment and not find in the next.
    if (network.has_extensions) return Reason::too_many_headers;
    if (!piece.is_sound) return Reason::malformed;
  }
  const bool is_cut_wrong =
      piece.length == 0 || (piece.more && piece.length % 8 != 0) || piece.offset + piece.length > 65535;
  if (is_cut_wrong) return Reason::malformed;
  network.extent = Extent::first_fragment;
  // A stack's ports are in the 8 bytes that no later fragment can begin in, whatever a receiver does with an overlap.
  if (piece.is_first() && direction == Direction::transmitted && is_walked_over(network)) {
    return Reason::too_many_headers;
  }
  return std::nullopt;
}

std::optional<Reason> pass_fragment_header(Network& network, Direction direction) {
  const View header = network.message;
  const std::uint16_t field = header.u16(2);
  const std::size_t offset = field & 0xfff8U;
  const bool more = (field & 1U) != 0;
  network.protocol = header.u8(0);
  network.message = header.from(8);
  if (network.extent == Extent::quoted) {
    return offset == 0 ? std::nullopt : std::optional(Reason::fragment);
  }
  if (offset == 0 && !more) {  // RFC 6946: all of the datagram is here
    network.has_extensions = true;
    return std::nullopt;
  }
  if (network.fragment) return Reason::fragment;
  network.fragment = {.datagram = {.source = network.source, .destination = network.destination, .id = header.u32(4)},
                      .offset = offset,
                      .length = network.message.size(),
                      .more = more};
  return begin_fragment(network, direction);
}

std::optional<Reason> pass_header(Network& network, Direction direction) {
  const View rest = network.message;
  if (!rest.shows(8)) return Reason::malformed;
  if (network.protocol == fragment) return pass_fragment_header(network, direction);
  network.has_extensions = true;

  const bool authenticates = network.protocol == authentication;
  const std::size_t length = authenticates ? (std::size_t{rest.u8(1)} + 2) * 4 : (std::size_t{rest.u8(1)} + 1) * 8;
  if (length > rest.size() || (authenticates && length < 12)) return Reason::malformed;
  // Without segments left a routing header is history.
  if (network.protocol == routing && rest.u8(3) != 0) return Reason::source_routed;
  if (network.protocol == destination_options && direction == Direction::transmitted) {
    if (const auto fault = fault_of_destination_options(rest.part(2, length - 2))) return fault;
  }
  network.has_authentication |= authenticates;
  network.protocol = rest.u8(0);
  network.message = rest.from(length);
  return std::nullopt;
}

}  // namespace

std::optional<Reason> walk(Network& network, Direction direction) {
  if (const auto fault = fault_of_ip4_options(network.options)) return fault;
  const auto is_later = [&network] { return network.fragment && !network.fragment->is_first(); };
  if (network.fragment) {  // of IPv4
    if (network.extent == Extent::quoted) {
      if (is_later()) return Reason::fragment;
    } else if (const auto fault = begin_fragment(network, direction)) {
      return fault;
    }
  }
  for (unsigned walked = 0; !is_later() && is_walked_over(network); ++walked) {
    if (walked == headers_walked) return Reason::too_many_headers;
    if (const auto fault = pass_header(network, direction)) return fault;
  }
  return std::nullopt;
}

}  // namespace model
