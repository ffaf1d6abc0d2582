// SPDX-License-Identifier: BSD-2-Clause
// What the library takes from whoever answers at mstackd's socket: any bytes in place of the answer to a known request.
#include <algorithm>
#include <vector>

#include "messages.hpp"
#include "target.hpp"

namespace {

namespace protocol = mstack::protocol;
using fuzz::require;
using protocol::Type;

template <class Message>
Message read(std::span<const std::byte> received) {
  Message message{};  // a bare refusal leaves the rest zero
  std::memcpy(&message, received.data(), std::min(received.size(), sizeof message));
  return message;
}

void take_open(std::span<const std::byte> received, const protocol::Header& header) {
  const protocol::OpenVport request{
      .header = header, .queues = 2, .frames = 64, .frame_size = 2048, .ring_size = 64, .flags = 0, .zero = 0};
  const auto reply = read<protocol::OpenVportReply>(received);
  if (reply.reply.error != 0 || !protocol::check_open(reply, request)) return;
  require(reply.queues == request.queues && reply.frames == request.frames, "what is mapped is what was asked for");
  require(reply.slot >= 1 && reply.slot + reply.queues <= MSTACK_MAX_SLOTS, "every queue has a slot");
  require(reply.mtu > 0 && reply.mtu < reply.frame_size, "a frame fits");
}

void take_tuples(std::span<const std::byte> received, std::size_t asked) {
  const auto reply = read<protocol::TuplesReply>(received);
  if (!protocol::check_tuples(reply, asked)) return;
  require(reply.count == asked && asked <= reply.results.size(), "results of what was asked");
  for (std::size_t i = 0; i < asked; ++i) {
    if (reply.results[i].error == 0) (void)protocol::from_wire(reply.results[i].tuple).to_string();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const auto asked = input.take<std::uint8_t>();
  static constexpr Type types[] = {Type::open_vport, Type::resume_vport, Type::claim, Type::release};
  static constexpr std::size_t sizes[] = {sizeof(protocol::OpenVportReply), sizeof(protocol::Reply),
                                          sizeof(protocol::TuplesReply), sizeof(protocol::TuplesReply)};
  const Type type = types[asked % 4];
  const protocol::Header header{.version = protocol::version, .type = type, .sequence = 1, .zero = 0};
  // On the heap, and no longer than it is: to read on is an error.
  const auto rest = std::as_bytes(input.rest());
  const std::vector<std::byte> received(rest.begin(), rest.end());

  const auto checked = protocol::check_reply(received, header, sizes[asked % 4]);
  if (!checked) {
    require(fuzz::is_printable(checked.error().what), "an error can be shown");
    return 0;
  }
  require(protocol::text_of(read<protocol::Reply>(received)).size() < protocol::max_text, "the text has an end");
  if (type == Type::open_vport) take_open(received, header);
  if (type == Type::claim || type == Type::release) take_tuples(received, asked / 4 + 1U);
  return 0;
}
