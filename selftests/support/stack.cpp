// SPDX-License-Identifier: BSD-2-Clause
#include "support/stack.hpp"

#include <algorithm>
#include <sstream>
#include <stdexcept>

namespace mstack::test {

namespace {

template <typename T>
T or_throw(Expected<T> result, const std::string& what) {
  if (!result) throw std::runtime_error(what + ": " + result.error().what);
  return std::move(*result);
}

}  // namespace

Tuple library_tuple(int protocol, const Endpoint& endpoint) {
  return {.address = or_throw(Address::parse(endpoint.address), "address"),
          .port = endpoint.port,
          .protocol = static_cast<Protocol>(protocol)};
}

Expected<Vport> Stack::try_open(const World& world, uid_t uid, VportOptions options) {
  options.run_dir = world.run_dir();
  return as({.netns = &world.host(), .uid = uid}, [&] { return Vport::open(options); });
}

Stack::Stack(const World& world, uid_t uid, VportOptions options)
    : world_(&world),
      uid_(uid),
      vport_(or_throw(try_open(world, uid, std::move(options)), "open a vport")),
      per_queue_(vport_.queues()) {}

Expected<Claim> Stack::try_claim(int protocol, const Endpoint& endpoint, const ClaimOptions& options) {
  return as_user([&] { return vport_.claim(library_tuple(protocol, endpoint), options); });
}

Expected<Claim> Stack::try_claim(const Fd& bound_socket) {
  return as_user([&] { return vport_.claim(bound_socket.get()); });
}

std::vector<Expected<Claim>> Stack::try_claim_all(std::span<const int> bound_sockets) {
  return as_user([&] { return vport_.claim_all(bound_sockets); });
}

Expected<void> Stack::try_release(Claim& claim) const {
  return as_user([&] { return claim.release(); });
}

Claim Stack::claim(int protocol, const Endpoint& endpoint, const ClaimOptions& options) {
  std::ostringstream what;
  what << "claim " << endpoint;
  return or_throw(try_claim(protocol, endpoint, options), what.str());
}

Claim Stack::claim(const Fd& bound_socket) {
  return or_throw(try_claim(bound_socket), "claim");
}

void Stack::send(Segment segment, std::size_t queue) {
  if (segment.source_mac == Mac{}) segment.source_mac = vport_.queue(queue).mac();
  if (segment.destination_mac == Mac{}) segment.destination_mac = vport_.queue(queue).gateway_mac();
  send(build(segment), queue);
}

void Stack::send(std::span<const std::uint8_t> bytes, std::size_t index) {
  Queue& queue = vport_.queue(index);
  const Deadline deadline;
  for (;;) {
    std::vector<Frame> packet;
    auto left = bytes;
    while (!left.empty()) {
      auto frame = queue.allocate();
      if (!frame) break;
      const auto part = left.first(std::min(left.size(), frame->capacity()));
      if (!frame->resize(part.size())) throw std::length_error("frame larger than the UMEM's");
      std::ranges::copy(part, frame->data());
      packet.push_back(*frame);
      left = left.subspan(part.size());
    }
    if (left.empty() && queue.transmit(packet)) break;
    for (const Frame& frame : packet) queue.give_back(frame);
    flush();
    if (deadline.passed()) throw std::runtime_error("the TX ring stays full");
  }
  flush();
}

void Stack::flush() {
  const Deadline deadline;
  for (std::size_t index = 0; index < vport_.queues(); ++index) {
    while (or_throw(vport_.queue(index).flush(), "flush") != 0) {
      if (deadline.passed()) throw std::runtime_error("the kernel takes no frame");
    }
  }
}

std::size_t Stack::poll_queues() {
  std::size_t count = 0;
  for (std::size_t index = 0; index < vport_.queues(); ++index) {
    const std::size_t here = vport_.queue(index).receive(64, [&](std::span<Frame> frames) {
      Bytes bytes;
      for (const Frame& frame : frames) bytes.insert(bytes.end(), frame.data(), frame.data() + frame.size());
      auto packet = parse(bytes);
      received_.push_back(packet ? std::move(*packet) : Packet{});
      if (const int protocol = received_.back().protocol; protocol != IPPROTO_ICMP && protocol != IPPROTO_ICMPV6)
        seen_.push_back(received_.back());
    });
    per_queue_[index] += here;
    count += here;
  }
  return count;
}

std::optional<Packet> Stack::receive(const Capture::Predicate& fits, const Deadline& deadline) {
  std::vector<pollfd> entries;
  for (std::size_t index = 0; index < vport_.queues(); ++index) {
    entries.push_back({.fd = vport_.queue(index).fd(), .events = POLLIN, .revents = 0});
  }
  for (;;) {
    while (poll_queues() != 0) {
    }
    while (delivered_ < received_.size()) {
      if (const Packet& packet = received_[delivered_++]; fits(packet)) return packet;
    }
    if (deadline.passed()) return std::nullopt;
    // Refills, so that there is room to receive.
    flush();
    ::poll(entries.data(), entries.size(), deadline.left());
  }
}

const std::vector<Packet>& Stack::seen() {
  while (poll_queues() != 0) {
  }
  return seen_;
}

}  // namespace mstack::test
