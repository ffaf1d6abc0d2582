// SPDX-License-Identifier: BSD-2-Clause
// What an attacker, a broken sender or a broken link makes of a frame.
#include <netinet/in.h>

#include <algorithm>

#include "frames.hpp"

namespace differential {
namespace {

constexpr std::size_t shortest = 14;   // of what BPF_PROG_TEST_RUN takes
constexpr std::size_t longest = 9100;  // a jumbo frame and a little: three pages, of which a program sees the first

std::size_t offset_near_headers(Random& random, const Draft& draft) {
  return random.below(std::min<std::size_t>(draft.size(), 128));
}

void truncate(Random& random, Draft& draft) {
  std::size_t length = random.below(std::min<std::size_t>(draft.size(), 160) + 1);
  if (!draft.boundaries.empty() && random.one_in(2)) length = random.of(draft.boundaries) + random.below(9);
  if (random.one_in(4) && draft.size() > shortest) length = draft.size() - 1;
  draft.bytes.resize(std::clamp(length, shortest, draft.size()));
}

void change_length(Random& random, Draft& draft) {
  if (draft.lengths.empty()) return;
  const std::size_t at = random.of(draft.lengths);
  if (at >= draft.size()) return;
  static constexpr std::uint8_t extremes[] = {0, 1, 0xff, 0x7f, 0x80, 0x40, 0x4f, 0x44, 0x45, 0x50, 0xf0};
  std::uint8_t& byte = draft.bytes[at];
  if (random.one_in(3)) {
    byte = random.of(extremes);
  } else {
    byte = static_cast<std::uint8_t>(byte + random.between(0, 16) - 8);
  }
}

void change_kind(Random& random, Draft& draft) {
  if (draft.kinds.empty()) return;
  const std::size_t at = random.of(draft.kinds);
  static constexpr std::uint8_t known[] = {0,  1,  4,  6,  17,  33,  41,  43,  44,  50,
                                           51, 58, 59, 60, 132, 135, 136, 139, 140, 255};
  if (at < draft.size()) draft.bytes[at] = random.of(known);
}

void change_byte(Random& random, Draft& draft) {
  std::uint8_t& byte = draft.bytes[offset_near_headers(random, draft)];
  switch (random.below(3)) {
    case 0: byte = static_cast<std::uint8_t>(byte ^ 1U << random.below(8)); break;
    case 1: byte = random.byte(); break;
    default: byte = random.one_in(2) ? 0 : 0xff;
  }
}

void swap_bytes(Random& random, Draft& draft) {
  const std::size_t at = offset_near_headers(random, draft);
  if (at + 1 < draft.size()) std::swap(draft.bytes[at], draft.bytes[at + 1]);
}

void copy_part(Random& random, Draft& draft) {
  const std::size_t count = std::size_t{1} << random.below(6);
  const std::size_t from = offset_near_headers(random, draft);
  const std::size_t to = offset_near_headers(random, draft);
  for (std::size_t i = 0; i < count && from + i < draft.size() && to + i < draft.size(); ++i) {
    draft.bytes[to + i] = draft.bytes[from + i];
  }
}

void insert_or_remove(Random& random, Draft& draft) {
  const std::size_t at =
      !draft.boundaries.empty() && random.one_in(2) ? random.of(draft.boundaries) : offset_near_headers(random, draft);
  const std::size_t count = random.one_in(2) ? random.between(1, 3) : std::size_t{4} << random.below(3);
  if (at > draft.size()) return;
  const auto place = draft.bytes.begin() + static_cast<std::ptrdiff_t>(at);
  if (random.one_in(2)) {
    draft.bytes.insert(place, count, random.byte());
  } else if (draft.size() >= at + count + shortest) {
    draft.bytes.erase(place, place + static_cast<std::ptrdiff_t>(count));
  }
}

// An IP packet where the Ethernet header should be, of its own length or of nearly that.
void start_with_ip(Random& random, Draft& draft) {
  const bool is_ip6 = random.one_in(2);
  const std::size_t header = is_ip6 ? 40 : 0, at = is_ip6 ? 4 : 2;
  if (draft.size() < 54) return;
  const std::size_t length = draft.size() - header + (random.one_in(4) ? random.below(3) : 0);
  draft.bytes[0] = static_cast<std::uint8_t>((is_ip6 ? 0x60U : 0x40U) | random.below(16));
  draft.set16(at, length);
}

// A jumbo frame, of which all lengths are right but what tags and extension headers may hide.
void grow(Random& random, Draft& draft) {
  const bool is_ip4 = draft.size() >= 42 && draft.bytes[12] == 0x08 && draft.bytes[13] == 0x00;
  const bool is_ip6 = draft.size() >= 62 && draft.bytes[12] == 0x86 && draft.bytes[13] == 0xdd;
  if (!is_ip4 && !is_ip6) return;
  // Often it reads like extension headers that go on behind the first buffer.
  static constexpr std::uint8_t headers[] = {IPPROTO_DSTOPTS, IPPROTO_AH, IPPROTO_ROUTING, IPPROTO_FRAGMENT};
  const std::uint8_t filler = random.one_in(2) ? random.of(headers) : random.byte();
  draft.bytes.resize(random.one_in(2) ? random.between(3400, longest) : 9014 + random.below(3), filler);
  const std::size_t packet = draft.size() - 14;
  const std::size_t header = is_ip4 ? std::size_t{draft.bytes[14] & 0xfU} * 4 : 40;
  draft.set16(is_ip4 ? 16 : 18, is_ip4 ? packet : packet - header);
  if (draft.bytes[is_ip4 ? 23 : 20] == IPPROTO_UDP) draft.set16(14 + header + 4, packet - header);
}

}  // namespace

void correct_checksum(Draft& draft) {
  if (draft.size() < 34 || draft.bytes[12] != 0x08 || draft.bytes[13] != 0x00) return;
  const std::size_t end = std::min<std::size_t>(draft.size() / 2 * 2, std::size_t{14} + (draft.bytes[14] & 0xfU) * 4);
  model::put16(draft.bytes, 24, 0);
  std::uint32_t sum = 0;
  for (std::size_t at = 14; at < end; at += 2) sum += model::View(draft.bytes).u16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  model::put16(draft.bytes, 24, static_cast<std::uint16_t>(~sum));
}

void mutate(Random& random, Draft& draft) {
  if (random.one_in(16)) grow(random, draft);
  for (std::size_t count = random.one_in(2) ? 0 : random.between(1, 4); count != 0; --count) {
    switch (random.below(10)) {
      case 0: truncate(random, draft); break;
      case 1:
      case 2:
      case 3: change_length(random, draft); break;
      case 4:
      case 5: change_kind(random, draft); break;
      case 6:
      case 7: change_byte(random, draft); break;
      case 8: random.one_in(2) ? swap_bytes(random, draft) : copy_part(random, draft); break;
      default: insert_or_remove(random, draft);
    }
  }
  draft.bytes.resize(std::clamp(draft.size(), shortest, longest));
  if (random.one_in(64)) start_with_ip(random, draft);
  // Else a change of the header would be the only one that is seen where the checksum is looked at.
  if (!random.one_in(8)) correct_checksum(draft);
}

}  // namespace differential
