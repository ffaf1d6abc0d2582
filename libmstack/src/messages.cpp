// SPDX-License-Identifier: BSD-2-Clause
#include "messages.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace mstack::protocol {
namespace {

constexpr int max_errno = 4095;

bool is_error(std::int32_t error) {
  return error >= 0 && error <= max_errno;
}

bool is_protocol(std::uint8_t number) {
  constexpr std::array known = {Protocol::tcp, Protocol::udp, Protocol::dccp, Protocol::udplite};
  return std::ranges::find(known, static_cast<Protocol>(number)) != known.end();
}

std::unexpected<Error> malformed(const std::string& how) {
  return failure(EPROTO, "mstackd sent a malformed answer (" + how + "): is it another version of MultiStack?");
}

}  // namespace

std::string_view text_of(const Reply& reply) {
  return {reply.text.data(), ::strnlen(reply.text.data(), reply.text.size())};
}

Expected<void> check_reply(std::span<const std::byte> received, const Header& request, std::size_t response_size) {
  if (received.size() < sizeof(Header)) return malformed(std::to_string(received.size()) + " bytes");
  Header header = {};
  std::memcpy(&header, received.data(), sizeof(header));
  if (header.version != request.version)
    return failure(EPROTONOSUPPORT, "mstackd speaks version " + std::to_string(header.version) +
                                        " of the protocol, this library version " + std::to_string(request.version) +
                                        ": install both from the same release");
  if (received.size() < sizeof(Reply)) return malformed(std::to_string(received.size()) + " bytes");
  Reply reply = {};
  std::memcpy(&reply, received.data(), sizeof(reply));
  if (header.type != request.type) return malformed("not of the request's type");
  if (header.sequence != request.sequence) return malformed("not of the request's sequence number");
  if (!is_error(reply.error)) return malformed("an error that is no errno");
  if (std::ranges::find(reply.text, '\0') == reply.text.end()) return malformed("a text without an end");
  const bool bare_refusal = reply.error != 0 && received.size() == sizeof(Reply);
  if (received.size() != response_size && !bare_refusal) return malformed(std::to_string(received.size()) + " bytes");
  return {};
}

Expected<void> check_open(const OpenVportReply& reply, const OpenVport& request) {
  // mstackd may not hand out other sizes than were asked for: they decide what is mapped and how it is indexed.
  if (reply.queues != request.queues || reply.frames != request.frames || reply.frame_size != request.frame_size ||
      reply.ring_size != request.ring_size)
    return malformed("other sizes than were asked for");
  if (reply.slot == 0 || reply.slot >= MSTACK_MAX_SLOTS || reply.queues > MSTACK_MAX_SLOTS - reply.slot)
    return malformed("slot " + std::to_string(reply.slot));
  if ((reply.flags & ~open_reply_unbound) != 0) return malformed("an unknown flag");
  const bool multi_buffer = (request.flags & MSTACK_VPORT_MULTI_BUFFER) != 0;
  if (reply.mtu == 0 || reply.mtu >= reply.frame_size * (multi_buffer ? max_packet_frames : 1))
    return malformed("MTU " + std::to_string(reply.mtu));
  return {};
}

Expected<void> check_tuples(const TuplesReply& reply, std::size_t asked) {
  if (reply.count != asked || asked > reply.results.size())
    return malformed(std::to_string(reply.count) + " results for " + std::to_string(asked));
  bool failed = false;
  for (const TupleResult& result : std::span(reply.results).first(asked)) {
    if (!is_error(result.error)) return malformed("an error that is no errno");
    failed |= result.error != 0;
    if (result.error == 0 && !is_protocol(result.tuple.protocol))
      return malformed("a tuple of protocol " + std::to_string(result.tuple.protocol));
  }
  if (failed != (reply.reply.error != 0)) return malformed("an error without a failure, or the reverse");
  return {};
}

mstack_tuple to_wire(const Tuple& tuple) {
  mstack_tuple wire = {};
  std::memcpy(wire.addr, tuple.address.bytes.data(), sizeof(wire.addr));
  wire.port = htons(tuple.port);
  wire.protocol = static_cast<__u8>(tuple.protocol);
  return wire;
}

Tuple from_wire(const mstack_tuple& wire) {
  Tuple tuple = {.protocol = static_cast<Protocol>(wire.protocol)};
  std::memcpy(tuple.address.bytes.data(), wire.addr, sizeof(wire.addr));
  tuple.port = ntohs(wire.port);
  return tuple;
}

}  // namespace mstack::protocol
