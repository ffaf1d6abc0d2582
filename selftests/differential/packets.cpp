// SPDX-License-Identifier: BSD-2-Clause
#include "packets.hpp"

#include <algorithm>

#include "pools.hpp"

namespace differential {
namespace {

constexpr std::uint8_t hop_by_hop = 0;
constexpr std::uint8_t routing = 43;
constexpr std::uint8_t fragment = 44;
constexpr std::uint8_t destination_options = 60;

// A multiple of 4 bytes, 40 at the most.
model::Bytes ip4_options(Random& random) {
  Draft options;
  for (std::size_t count = random.between(1, 8); count != 0 && options.size() < 36; --count) {
    switch (random.below(8)) {
      case 0:
      case 1:
      case 2: options.u8(1); break;
      case 3: options.u8(0); break;
      case 4: options.add(random.one_in(3) ? model::Bytes{131, 3, 4} : model::Bytes{137, 7, 4, 192, 0, 2, 9}); break;
      case 5: options.add(model::Bytes{148, 4, 0, 0}); break;
      case 6: options.add(model::Bytes{7, 3, 4}); break;
      default:
        const std::size_t length = random.between(2, std::min<std::size_t>(12, 40 - options.size()));
        options.u8(0xde);
        options.u8(static_cast<unsigned>(length));
        options.zeros(length - 2);
    }
  }
  options.zeros((4 - options.size() % 4) % 4);
  options.bytes.resize(std::min<std::size_t>(options.size(), 40));
  return options.bytes;
}

void add_ip4(Random& random, Draft& draft, const Envelope& envelope, const Draft& message) {
  const model::Bytes options = random.one_in(4) ? ip4_options(random) : model::Bytes{};
  draft.boundary();
  draft.length8(static_cast<unsigned>(0x40 | (20 + options.size()) / 4));
  draft.u8(random.one_in(4) ? random.byte() : 0);
  draft.length16(static_cast<unsigned>(20 + options.size() + message.size()));
  draft.u16(static_cast<unsigned>(random.below(65536)));
  static constexpr unsigned fragmented[] = {0x2000, 0x2001, 0x0001, 0x1fff, 0x6000, 0x00b9};
  draft.u16(random.one_in(20) ? random.of(fragmented) : random.one_in(2) ? 0x4000U : random.one_in(8) ? 0x8000U : 0U);
  draft.u8(random.one_in(8) ? 1 : 64);
  draft.kind(envelope.protocol);
  draft.u16(static_cast<unsigned>(random.below(65536)));
  draft.address(envelope.from);
  draft.address(envelope.to);
  if (!options.empty()) {
    draft.boundary();
    for (std::size_t i = 1; i < options.size(); i += 3) draft.lengths.push_back(draft.size() + i);
    draft.add(options);
  }
}

void add_extension(Random& random, Draft& draft, std::uint8_t type, std::uint8_t next, model::Direction direction) {
  draft.boundary();
  draft.kind(next);
  if (type == fragment) {
    static constexpr unsigned offsets[] = {0, 1, 0x05b0, 0x05b1, 8};
    draft.u8(0);
    draft.u16(random.of(offsets));
    draft.u32(static_cast<std::uint32_t>(random.next()));
    return;
  }
  const std::size_t units = random.one_in(6) ? random.between(1, 4) : 0;
  draft.length8(static_cast<unsigned>(units));
  const bool received = direction == model::Direction::received;
  if (type == routing) {
    draft.u8(static_cast<unsigned>(random.below(5)));
    draft.u8(random.one_in(received ? 4 : 2) ? 1 : 0);
    draft.zeros(4 + units * 8);
  } else {
    draft.add(model::Bytes{1, static_cast<std::uint8_t>(4 + units * 8)});
    draft.zeros(4 + units * 8);
  }
}

std::vector<std::uint8_t> extension_chain(Random& random) {
  std::vector<std::uint8_t> chain;
  if (!random.one_in(3)) return chain;
  static constexpr std::uint8_t types[] = {destination_options, destination_options, hop_by_hop, routing, fragment};
  const std::size_t count = random.one_in(4) ? random.between(5, 8) : random.between(1, 3);
  for (std::size_t i = 0; i < count; ++i) {
    // Most of a long chain is walked over, or its end would never be seen.
    chain.push_back(count > 4 && !random.one_in(12) ? destination_options : random.of(types));
  }
  return chain;
}

void add_ip6(Random& random, Draft& draft, const Envelope& envelope, const Draft& message) {
  const std::vector<std::uint8_t> chain = extension_chain(random);
  draft.boundary();
  draft.u32(0x60000000 | (random.one_in(4) ? static_cast<std::uint32_t>(random.below(1U << 28)) : 0));
  const std::size_t length_at = draft.size();
  draft.length16(0);
  draft.kind(chain.empty() ? envelope.protocol : chain.front());
  draft.u8(envelope.protocol == model::protocol_icmp6 ? 255 : 64);
  draft.address(envelope.from);
  draft.address(envelope.to);
  for (std::size_t i = 0; i < chain.size(); ++i) {
    add_extension(random, draft, chain[i], i + 1 < chain.size() ? chain[i + 1] : envelope.protocol, envelope.direction);
  }
  draft.set16(length_at, draft.size() - length_at - 36 + message.size());
}

std::size_t payload_size(Random& random) {
  switch (random.below(32)) {
    case 0: return random.between(1180, 1320);  // about the MTU of one route
    case 1: return random.between(1400, 1520);  // and that of the others
    case 2: return random.between(1500, 2500);
    default: return random.below(24);
  }
}

void add_udp(Random& random, Draft& message, std::uint16_t from, std::uint16_t to) {
  const std::size_t payload = payload_size(random);
  message.u16(from);
  message.u16(to);
  message.length16(static_cast<unsigned>(8 + payload));
  message.u16(static_cast<unsigned>(random.below(65536)));
  message.zeros(payload);
}

void add_tcp(Random& random, Draft& message, std::uint16_t from, std::uint16_t to) {
  const std::size_t options = random.one_in(3) ? random.below(11) * 4 : 0;
  message.u16(from);
  message.u16(to);
  message.u32(1);
  message.u32(static_cast<std::uint32_t>(random.next()));
  message.length8(static_cast<unsigned>((20 + options) / 4 << 4));
  message.u8(random.byte());
  message.zeros(6 + options + payload_size(random));
}

}  // namespace

void add_ip_packet(Random& random, Draft& draft, const Envelope& envelope, const Draft& message) {
  if (envelope.from.is_ip4() && envelope.to.is_ip4()) {
    add_ip4(random, draft, envelope, message);
  } else {
    add_ip6(random, draft, envelope, message);
  }
  draft.boundary();
  for (const std::size_t at : message.lengths) draft.lengths.push_back(draft.size() + at);
  for (const std::size_t at : message.kinds) draft.kinds.push_back(draft.size() + at);
  draft.add(message.bytes);
}

Draft message_of(Random& random, std::uint8_t protocol, std::uint16_t from, std::uint16_t to) {
  Draft message;
  switch (protocol) {
    case model::protocol_udp: add_udp(random, message, from, to); break;
    case model::protocol_tcp: add_tcp(random, message, from, to); break;
    default:
      message.u16(from);
      message.u16(to);
      message.zeros(random.below(40));
  }
  return message;
}

void add_arp(Random& random, Draft& draft) {
  draft.boundary();
  draft.u16(1);
  draft.u16(model::type_ip4);
  draft.length8(6);
  draft.length8(4);
  draft.u16(random.one_in(4) ? static_cast<unsigned>(random.below(10)) : 1);
  draft.add(model::Bytes{0x02, 0x4d, 0x53, 0, 0, 1});
  const auto four = [&] {
    model::Address one = random.of(pools().four);
    return one;
  };
  const model::Address sender = four();
  draft.address(sender);
  draft.zeros(6);
  draft.address(random.one_in(8) ? sender : four());
}

Draft solicitation(Random& random) {
  Draft message;
  message.kind(random.one_in(4) ? static_cast<unsigned>(random.between(128, 143)) : 135);
  message.u8(random.one_in(8) ? 1 : 0);
  message.zeros(6);
  message.address(random.of(pools().six));
  for (std::size_t options = random.below(6); options != 0; --options) {
    const std::size_t units = random.between(1, 2);
    message.u8(random.one_in(2) ? 1 : 14);
    message.length8(static_cast<unsigned>(units));
    message.zeros(units * 8 - 2);
  }
  return message;
}

}  // namespace differential
