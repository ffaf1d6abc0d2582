// SPDX-License-Identifier: BSD-2-Clause
// RFC 792, 4443, 1122: an error quotes the packet that it is about, and goes to that packet's source.
#include "packet.hpp"

namespace model {
namespace {

bool is_error(bool is_ip6, std::uint8_t type) {
  if (is_ip6) return type >= 1 && type <= 4;     // unreachable, too big, time exceeded, parameter problem
  return type == 3 || type == 11 || type == 12;  // the same, too big being a code of unreachable
}

bool is_about_path_mtu(bool is_ip6, View message) {
  return is_ip6 ? message.u8(0) == 2 : message.u8(0) == 3 && message.u8(1) == 4;
}

// The beginning of a packet as somebody on its way saw it.
std::optional<Packet> read_quote(bool is_ip6, View quote) {
  auto network = is_ip6 ? read_ip6(quote, Extent::quoted) : read_ip4(quote, Extent::quoted);
  if (!network || walk(*network, Direction::received)) return std::nullopt;
  if (network->is_icmp()) return std::nullopt;
  const auto packet = read_message(*network, Direction::received);
  return packet ? std::optional(*packet) : std::nullopt;
}

}  // namespace

bool is_multicast(const Address& address) {
  return address.is_ip4() ? address.octet(0) >> 4 == 0xe : address.bytes()[0] == 0xff;
}

std::expected<Packet, Reason> read_icmp(const Network& network, Direction direction) {
  const View message = network.message;
  if (!message.shows(8)) return std::unexpected(Reason::malformed);
  // An error is no larger than a packet that need not be cut up.
  if (network.extent != Extent::whole || !is_error(network.is_ip6, message.u8(0))) {
    return std::unexpected(Reason::protocol);
  }
  const bool sent = direction == Direction::transmitted;
  // The path's MTU is the whole address's at the peer: it is for routers to say.
  if (sent && is_about_path_mtu(network.is_ip6, message)) return std::unexpected(Reason::quote);
  const auto about = read_quote(network.is_ip6, message.from(8));
  if (!about || about->source.address != network.destination || is_multicast(network.destination)) {
    return std::unexpected(Reason::quote);
  }
  // Anybody on the way may complain; a stack only of what came to it.
  if (sent && about->destination.address != network.source) return std::unexpected(Reason::quote);
  return Packet{.source = about->destination, .destination = about->source, .network = network, .is_error = true};
}

}  // namespace model
