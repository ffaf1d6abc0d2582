// SPDX-License-Identifier: BSD-2-Clause
// RFC 826 and RFC 4861.
#include "neighbours.hpp"

#include <algorithm>

#include "decision.hpp"

namespace model {
namespace {

constexpr std::uint8_t neighbour_solicitation = 135;
constexpr std::uint8_t neighbour_advertisement = 136;
constexpr std::uint8_t target_link_layer_address = 2;
constexpr unsigned options_walked = 4;

// Each option says its length in units of 8 bytes, and the last one ends with the message.
bool are_whole_options(View options) {
  for (unsigned walked = 0; !options.empty(); ++walked) {
    if (walked == options_walked || options.size() < 8) return false;
    const std::size_t length = std::size_t{options.u8(1)} * 8;
    if (length == 0 || length > options.size()) return false;
    options = options.from(length);
  }
  return true;
}

void append(Bytes& to, std::span<const std::uint8_t> bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

// RFC 1071, over the pseudo header of IPv6 and the message.
std::uint16_t icmp6_checksum(const Address& from, const Address& to, const Bytes& message) {
  Bytes all;
  append(all, from.bytes());
  append(all, to.bytes());
  append(all, Bytes{0, 0, static_cast<std::uint8_t>(message.size() >> 8), static_cast<std::uint8_t>(message.size())});
  append(all, Bytes{0, 0, 0, protocol_icmp6});
  append(all, message);
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i + 1 < all.size(); i += 2) sum += static_cast<std::uint32_t>(all[i] << 8 | all[i + 1]);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

Bytes advertisement(const Address& target, const Address& asker, std::uint32_t slot) {
  Bytes message{neighbour_advertisement, 0, 0, 0, 0x60, 0, 0, 0};  // solicited, override
  append(message, target.bytes());
  append(message, Bytes{target_link_layer_address, 1});
  append(message, gateway_mac(slot));
  put16(message, 2, icmp6_checksum(target, asker, message));

  Bytes frame;
  append(frame, stack_mac(slot));
  append(frame, gateway_mac(slot));
  append(frame, Bytes{0x86, 0xdd, 0x60, 0, 0, 0, 0, static_cast<std::uint8_t>(message.size()), protocol_icmp6, 255});
  append(frame, target.bytes());
  append(frame, asker.bytes());
  append(frame, message);
  return frame;
}

}  // namespace

std::expected<Bytes, Reason> answer_arp(View frame, std::uint32_t slot) {
  if (frame.size() < 14 + 28) return std::unexpected(Reason::malformed);
  const View arp = frame.part(14, 28);
  const bool ethernet_and_ip4 = arp.u16(0) == 1 && arp.u16(2) == type_ip4 && arp.u8(4) == 6 && arp.u8(5) == 4;
  if (!ethernet_and_ip4) return std::unexpected(Reason::malformed);
  const bool is_request = arp.u16(6) == 1;
  const Address sender = Address::ip4(arp.from(14));
  const Address target = Address::ip4(arp.from(24));
  // Without a sender it is a probe, about oneself an announcement: to answer these would be a conflict.
  if (!is_request || sender.is_any() || sender == target) return std::unexpected(Reason::protocol);

  Bytes answer = with_macs(frame, stack_mac(slot), gateway_mac(slot));
  const Bytes asker(arp.from(8).data(), arp.from(18).data());  // MAC and address
  put16(answer, 14 + 6, 2);
  put(answer, 14 + 8, gateway_mac(slot));
  std::copy_n(arp.from(24).data(), 4, answer.begin() + 14 + 14);
  put(answer, 14 + 18, asker);
  return answer;
}

std::expected<Bytes, Reason> answer_icmp6(const Network& network, std::uint32_t slot) {
  const View message = network.message;
  // Behind another header it would have to be answered with one.
  if (message.u8(0) != neighbour_solicitation || network.has_extensions) return std::unexpected(Reason::protocol);
  if (!message.shows(24) || network.hop_limit != 255 || message.u8(1) != 0 || message.u8(8) == 0xff ||
      !are_whole_options(message.from(24))) {
    return std::unexpected(Reason::malformed);
  }
  const Address target = Address::ip6(message.from(8));
  const bool detects_duplicates = network.source.is_any();
  if (detects_duplicates || network.source == target) return std::unexpected(Reason::protocol);
  return advertisement(target, network.source, slot);
}

}  // namespace model
