// SPDX-License-Identifier: BSD-2-Clause
// RFC 768, 9293, 3828, 9260 and 4340. Checksums are the receiver's to check: a wrong one changes nothing about whose
// the packet is.
#include "packet.hpp"

namespace model {
namespace {

// A datagram may end before its packet does, not after.
bool is_whole_udp(View message, bool is_cut) {
  if (!message.shows(8) || message.u16(4) < 8) return false;
  return is_cut || message.u16(4) <= message.size();
}

// Coverage of the checksum: of all, or of so many bytes, the header always among them.
bool is_whole_udp_lite(View message, bool is_cut) {
  if (!message.shows(8)) return false;
  const std::size_t coverage = message.u16(4);
  return coverage == 0 || (coverage >= 8 && (is_cut || coverage <= message.size()));
}

bool is_whole_tcp(View message) {
  if (!message.shows(20)) return false;
  const std::size_t header = (std::size_t{message.u8(12)} >> 4) * 4;
  return header >= 20 && header <= message.size();
}

// The common header and that of one chunk, without which there is no packet.
bool is_whole_sctp(View message) {
  return message.size() >= 12 + 4 && message.shows(8);
}

bool is_whole_dccp(View message) {
  if (!message.shows(12)) return false;
  const bool has_long_sequence_numbers = (message.u8(8) & 1U) != 0;
  const std::size_t header = std::size_t{message.u8(4)} * 4;
  return header >= (has_long_sequence_numbers ? 16 : 12) && header <= message.size();
}

}  // namespace

std::expected<Ports, Reason> read_ports(const Network& network) {
  const View message = network.message;
  const bool is_cut = network.extent == Extent::first_fragment;
  bool whole = false;
  switch (network.protocol) {
    case protocol_udp: whole = is_whole_udp(message, is_cut); break;
    case protocol_tcp: whole = is_whole_tcp(message); break;
    case protocol_udp_lite: whole = is_whole_udp_lite(message, is_cut); break;
    case protocol_sctp: whole = is_whole_sctp(message); break;
    case protocol_dccp: whole = is_whole_dccp(message); break;
    default: return std::unexpected(Reason::protocol);
  }
  if (network.extent == Extent::quoted) whole = message.shows(8);
  if (!whole) return std::unexpected(Reason::malformed);
  return Ports{.source = message.u16(0), .destination = message.u16(2)};
}

}  // namespace model
