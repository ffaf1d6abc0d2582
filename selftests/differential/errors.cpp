// SPDX-License-Identifier: BSD-2-Clause
#include "errors.hpp"

#include <algorithm>

#include "pools.hpp"

namespace differential {
namespace {

using model::Direction;

// A packet as a router saw it, mostly cut off behind the first 8 bytes of its message or a little later.
Draft quote_of(Random& random, const Ends& ends, Direction direction) {
  Draft quote;
  add_ip_packet(random, quote, envelope_of(ends, direction), message_of(random, ends, direction));
  const std::size_t message_at = quote.boundaries.back();
  const std::size_t limit = random.one_in(8) ? quote.size() : message_at + 8 + random.below(40);
  std::size_t size = std::min(quote.size(), random.one_in(3) ? message_at + 8 : limit);
  if (random.one_in(8)) size = std::min(quote.size(), message_at + random.below(10));
  if (random.one_in(24)) size = random.below(quote.size());
  quote.bytes.resize(size);
  return quote;
}

}  // namespace

Error error_about(Random& random, const Ends& ends, Direction direction) {
  const bool received = direction == Direction::received;
  const bool is_ip6 = !ends.are_ip4();
  Ends about = ends;
  // An error about an error, or about what has no ports, is nobody's.
  if (random.one_in(24)) about.own.protocol = random.one_in(2) ? 1 : 58;
  if (random.one_in(24)) about.own.address = random.of(is_ip6 ? pools().six : pools().four);
  if (random.one_in(24)) about.other = random.of(is_ip6 ? pools().six : pools().four);

  Error error{.envelope = envelope_of(ends, direction), .message = {}};
  error.envelope.protocol = is_ip6 ? model::protocol_icmp6 : std::uint8_t{1};
  // On the way to this host it is mostly a router that complains.
  if (received && !random.one_in(4)) error.envelope.from = other_end(random, ends.own.address);

  static constexpr std::uint8_t types4[] = {3, 3, 3, 11, 12, 3, 3, 3, 11, 12, 0, 4, 5, 8, 13};
  static constexpr std::uint8_t types6[] = {1, 1, 1, 3, 4, 1, 1, 2, 3, 4, 0, 5, 100, 127, 128, 137};
  Draft& message = error.message;
  message.kind(is_ip6 ? random.of(types6) : random.of(types4));
  message.kind(static_cast<unsigned>(random.below(is_ip6 ? 8 : 16)));
  message.u16(static_cast<unsigned>(random.below(65536)));
  message.u32(random.one_in(2) ? 0 : 1280);
  message.add(quote_of(random, about, received ? Direction::transmitted : Direction::received));
  return error;
}

}  // namespace differential
