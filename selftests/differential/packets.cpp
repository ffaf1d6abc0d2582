// SPDX-License-Identifier: BSD-2-Clause
#include "packets.hpp"

#include <algorithm>

#include "extensions.hpp"
#include "pools.hpp"

namespace differential {
namespace {

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
  // What differs between the fragments of a datagram is rare.
  const std::size_t rare = envelope.cut ? 24 : 4;
  const model::Bytes options = random.one_in(rare) ? ip4_options(random) : model::Bytes{};
  const Headers headers =
      envelope.cut ? Headers{.first = envelope.protocol, .bytes = {}} : headers_of_ip4(random, envelope.protocol);
  draft.boundary();
  draft.length8(static_cast<unsigned>(0x40 | (20 + options.size()) / 4));
  draft.u8(random.one_in(rare) ? random.byte() : 0);
  draft.length16(static_cast<unsigned>(20 + options.size() + headers.bytes.size() + message.size()));
  draft.u16(envelope.cut ? envelope.cut->id : static_cast<unsigned>(random.below(65536)));
  static constexpr unsigned fragmented[] = {0x2000, 0x2001, 0x0001, 0x1fff, 0x6000, 0x00b9};
  if (envelope.cut) {
    draft.lengths.push_back(draft.size() + 1);
    draft.u16(static_cast<unsigned>(envelope.cut->offset / 8) | (envelope.cut->more ? 0x2000U : 0U) |
              (random.one_in(32) ? random.one_in(2) ? 0x4000U : 0x8000U : 0U));
  } else {
    draft.u16(random.one_in(20) ? random.of(fragmented) : random.one_in(2) ? 0x4000U : random.one_in(8) ? 0x8000U : 0U);
  }
  draft.u8(random.one_in(2 * rare) ? 1 : 64);
  draft.kind(headers.first);
  draft.u16(static_cast<unsigned>(random.below(65536)));
  draft.address(envelope.from);
  draft.address(envelope.to);
  if (!options.empty()) {
    draft.boundary();
    for (std::size_t i = 1; i < options.size(); i += 3) draft.lengths.push_back(draft.size() + i);
    draft.add(options);
  }
  draft.add(headers.bytes);
}

void add_ip6(Random& random, Draft& draft, const Envelope& envelope, const Draft& message) {
  const Headers headers = headers_of_ip6(random, envelope);
  draft.boundary();
  draft.u32(0x60000000 |
            (random.one_in(envelope.cut ? 24 : 4) ? static_cast<std::uint32_t>(random.below(1U << 28)) : 0));
  draft.length16(static_cast<unsigned>(headers.bytes.size() + message.size()));
  draft.kind(headers.first);
  draft.u8(envelope.protocol == model::protocol_icmp6 ? 255 : 64);
  draft.address(envelope.from);
  draft.address(envelope.to);
  draft.add(headers.bytes);
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

void add_udp_lite(Random& random, Draft& message, std::uint16_t from, std::uint16_t to) {
  const std::size_t payload = payload_size(random);
  message.u16(from);
  message.u16(to);
  message.length16(static_cast<unsigned>(random.one_in(2) ? 0 : random.one_in(2) ? 8 : 8 + payload));
  message.u16(static_cast<unsigned>(random.below(65536)));
  message.zeros(payload);
}

void add_sctp(Random& random, Draft& message, std::uint16_t from, std::uint16_t to) {
  message.u16(from);
  message.u16(to);
  message.u32(static_cast<std::uint32_t>(random.next()));
  message.u32(static_cast<std::uint32_t>(random.next()));
  message.u8(random.byte());
  message.u8(0);
  const std::size_t chunk = random.one_in(8) ? random.below(4) : 4 + payload_size(random);
  message.length16(static_cast<unsigned>(chunk));
  message.zeros(chunk < 4 ? random.below(2) : chunk - 4);
  if (random.one_in(12)) message.bytes.resize(random.between(11, 16));
}

void add_dccp(Random& random, Draft& message, std::uint16_t from, std::uint16_t to) {
  const bool has_long_sequence_numbers = !random.one_in(3);
  const std::size_t words = (has_long_sequence_numbers ? 4 : 3) + (random.one_in(3) ? random.below(4) : 0);
  message.u16(from);
  message.u16(to);
  message.length8(static_cast<unsigned>(words));
  message.u8(random.byte());
  message.u16(static_cast<unsigned>(random.below(65536)));
  message.length8(static_cast<unsigned>(random.below(16) << 1 | (has_long_sequence_numbers ? 1 : 0)));
  message.zeros(words * 4 - 9 + payload_size(random));
}

}  // namespace

void add_ip_packet(Random& random, Draft& draft, const Envelope& envelope, const Draft& message) {
  if (envelope.from.is_ip4() && envelope.to.is_ip4()) {
    add_ip4(random, draft, envelope, message);
  } else {
    add_ip6(random, draft, envelope, message);
  }
  draft.boundary();
  draft.add(message);
}

Draft message_of(Random& random, std::uint8_t protocol, std::uint16_t from, std::uint16_t to) {
  Draft message;
  switch (protocol) {
    case model::protocol_udp: add_udp(random, message, from, to); break;
    case model::protocol_tcp: add_tcp(random, message, from, to); break;
    case model::protocol_udp_lite: add_udp_lite(random, message, from, to); break;
    case model::protocol_sctp: add_sctp(random, message, from, to); break;
    case model::protocol_dccp: add_dccp(random, message, from, to); break;
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
