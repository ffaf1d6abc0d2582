// SPDX-License-Identifier: BSD-2-Clause
#include "tags.hpp"

#include <cstddef>

namespace model {
namespace {

constexpr std::size_t behind_addresses = 12;
constexpr std::size_t most_tags = 2;

bool is_of_tag(std::uint16_t type) {
  return type == 0x8100 || type == 0x88a8;
}

}  // namespace

std::expected<Untagged, Reason> take_tags(View frame) {
  Tags tags;
  std::size_t at = behind_addresses;
  for (;; at += size_of_tag) {
    if (frame.size() < at + 2) return std::unexpected(Reason::malformed);
    const std::uint16_t type = frame.u16(at);
    if (!is_of_tag(type)) break;
    if (tags.size() == most_tags) return std::unexpected(Reason::tagged);
    if (frame.size() < at + size_of_tag) return std::unexpected(Reason::malformed);
    // The upper four bits are for bridges: in what order to forward, and what to drop first.
    tags.push_back({.protocol = type, .id = static_cast<std::uint16_t>(frame.u16(at + 2) & 0xfffU)});
  }
  Bytes rest(frame.data(), frame.data() + behind_addresses);
  const View behind = frame.from(at);
  rest.insert(rest.end(), behind.data(), behind.data() + behind.size());
  return Untagged{.tags = std::move(tags), .frame = std::move(rest)};
}

bool is_tagged(View frame) {
  return frame.size() >= behind_addresses + 2 && is_of_tag(frame.u16(behind_addresses));
}

Bytes with_tags(const Bytes& frame, const Tags& tags) {
  Bytes tagged(frame.begin(), frame.begin() + behind_addresses);
  for (const Tag& tag : tags) {
    tagged.resize(tagged.size() + size_of_tag);
    put16(tagged, tagged.size() - 4, tag.protocol);
    put16(tagged, tagged.size() - 2, tag.id);
  }
  tagged.insert(tagged.end(), frame.begin() + behind_addresses, frame.end());
  return tagged;
}

}  // namespace model
