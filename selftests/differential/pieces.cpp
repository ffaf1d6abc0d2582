// SPDX-License-Identifier: BSD-2-Clause
// Datagrams in fragments, and what an attacker makes of one.
#include <algorithm>

#include "extensions.hpp"
#include "frames.hpp"

namespace differential {
namespace {

using model::Direction;

// What is cut up: the message, now and then behind headers that go with it.
struct Data {
  std::uint8_t protocol = 0;
  Draft bytes;
};

Data data_of(Random& random, const Ends& ends, Direction direction) {
  Headers headers{.first = ends.own.protocol, .bytes = {}};
  if (random.one_in(8)) headers = headers_behind_fragment(random, envelope_of(ends, direction));
  Data data{.protocol = headers.first, .bytes = std::move(headers.bytes)};
  data.bytes.boundary();
  data.bytes.add(message_of(random, ends, direction));
  if (data.bytes.size() < 40) data.bytes.zeros(random.below(120));
  return data;
}

Draft piece(Random& random, const Ends& ends, Direction direction, const Data& data, const Cut& cut,
            std::size_t length) {
  Draft part;
  if (cut.offset == 0) {
    part = data.bytes;
    part.bytes.resize(std::min(length, part.size()));
  } else {
    part.add(std::span(data.bytes.bytes).subspan(cut.offset, length));
  }
  Envelope envelope = envelope_of(ends, direction);
  envelope.protocol = data.protocol;
  envelope.cut = cut;
  Draft frame;
  begin_frame(random, frame, ends);
  add_ip_packet(random, frame, envelope, part);
  correct_checksum(frame);
  add_padding(random, frame);
  return frame;
}

void cut_up(Random& random, const Ends& ends, Direction direction, std::uint32_t id, std::vector<Draft>& frames) {
  const Data data = data_of(random, ends, direction);
  // Most headers are whole in the first; some are 8 bytes long.
  std::size_t length = random.one_in(4) ? 8 * random.between(1, 2) : 8 * random.between(3, 6);
  for (std::size_t offset = 0; offset < data.bytes.size() && frames.size() < 8; offset += length) {
    if (offset != 0) length = 8 * random.between(1, random.one_in(4) ? 60 : 12);
    const std::size_t here = std::min(length, data.bytes.size() - offset);
    const Cut cut{.id = id, .offset = offset, .more = offset + here < data.bytes.size()};
    frames.push_back(piece(random, ends, direction, data, cut, here));
    if (random.one_in(6) && offset + here < data.bytes.size() && here % 8 == 0 && here > 8) offset -= 8;  // overlap
  }
}

}  // namespace

Pieces pieces_of_datagram(Random& random, const model::State& state, Direction direction) {
  Pieces pieces{.ends = any_ends(random, state), .frames = {}};
  std::vector<Draft>& frames = pieces.frames;
  // Numbers come back, so that one of before is met again.
  const auto id = static_cast<std::uint32_t>(random.one_in(2) ? random.next() & 0xffff : random.below(8));
  cut_up(random, pieces.ends, direction, id, frames);
  if (random.one_in(4)) {  // another datagram of the same number, from another port or of another size
    Ends ends = pieces.ends;
    if (random.one_in(2)) ends.own.port = any_ends(random, state).own.port;
    if (random.one_in(2)) std::swap(frames.front(), frames.back());
    cut_up(random, ends, direction, id, frames);
  }
  if (direction == Direction::received && random.one_in(3)) {
    const model::Bytes tags = any_tags(random, state);
    for (Draft& frame : frames) add_tags(frame, tags);
  }
  if (random.one_in(8)) std::swap(frames[random.below(frames.size())], frames[random.below(frames.size())]);
  if (random.one_in(8)) frames.erase(frames.begin() + static_cast<std::ptrdiff_t>(random.below(frames.size())));
  return pieces;
}

}  // namespace differential
