// SPDX-License-Identifier: BSD-2-Clause
// IEEE 802.1Q: tags between the addresses of a frame and its type.
#pragma once

#include <compare>
#include <cstdint>
#include <expected>
#include <vector>

#include "packet.hpp"

namespace model {

struct Tag {
  std::uint16_t protocol = 0;  // 0x8100; 0x88a8 is 802.1ad's
  std::uint16_t id = 0;
  friend auto operator<=>(const Tag&, const Tag&) = default;
};
using Tags = std::vector<Tag>;  // the outer first

inline constexpr std::size_t size_of_tag = 4;

// A frame without its tags, and what they said of VLANs.
struct Untagged {
  Tags tags;
  Bytes frame;
};
// Reason::tagged: there are more of them than a VLAN of an uplink can have.
std::expected<Untagged, Reason> take_tags(View frame);
bool is_tagged(View frame);
Bytes with_tags(const Bytes& frame, const Tags& tags);

}  // namespace model
