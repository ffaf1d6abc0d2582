// SPDX-License-Identifier: BSD-2-Clause
// The examples' reader of frames, which anybody on the wire can write.
#include <vector>

#include "packet.hpp"
#include "target.hpp"

namespace {

using fuzz::require;

bool is_inside(std::span<const std::uint8_t> part, std::span<const std::uint8_t> whole) {
  return part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::uint8_t> frame(data, data + size);
  auto packet = packet::parse(frame);
  if (!packet) return 0;
  require(is_inside(packet->ip, frame) && is_inside(packet->segment, frame), "headers are in the frame");
  require(is_inside(packet->payload, packet->segment), "the payload is in the segment");
  require(packet->frame_size <= frame.size(), "the packet ends with the frame, or before");

  const std::uint16_t sum = packet::segment_checksum(*packet);
  const mstack::Tuple source = packet->source;
  packet::turn_round(*packet);
  require(packet->destination == source, "an answer goes where the question came from");
  const auto answer = packet::parse(frame);
  require(answer && answer->destination == source, "an answer is a packet");
  require(packet::segment_checksum(*answer) == sum, "addresses that change places leave the checksum right");

  const std::size_t headers = packet::headers_size(answer->source);
  if (answer->source.address.is_ipv4() != answer->destination.address.is_ipv4() || frame.size() < headers) return 0;
  packet::write(frame, answer->source, answer->destination);
  return 0;
}
