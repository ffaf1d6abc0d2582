// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <mstack/mstack.hpp>
#include <optional>
#include <vector>

#include "support/world.hpp"

namespace mstack::test {

// A user-level stack in the test's hands: a vport of the library, opened and claiming as an unprivileged user.
class Stack {
 public:
  explicit Stack(const World& world, uid_t uid = alice, VportOptions options = {.frames = 256});

  static Expected<Vport> try_open(const World& world, uid_t uid, VportOptions options);

  // The library's socket(), bind() and claim.
  Expected<Claim> try_claim(int protocol, const Endpoint& endpoint, const ClaimOptions& options = {});
  Expected<Claim> try_claim(const Fd& bound_socket);
  std::vector<Expected<Claim>> try_claim_all(std::span<const int> bound_sockets);
  Expected<void> try_release(Claim& claim) const;
  // The same where a refusal is the end of the test.
  Claim claim(int protocol, const Endpoint& endpoint, const ClaimOptions& options = {});
  Claim claim(const Fd& bound_socket);

  // Transmits and flushes. MACs of zeros become the stack's own and its gateway's.
  void send(Segment segment, std::size_t queue = 0);
  void send(std::span<const std::uint8_t> frame, std::size_t queue = 0);

  // The next packet that fits, of any queue. Others are passed over.
  std::optional<Packet> receive(const Capture::Predicate& fits, const Deadline& deadline = Deadline{});
  // All that was received so far, on all queues, but for ICMP errors: where no socket waits for what a test sends, the
  // wire's kernel says so to the stack that sent it.
  const std::vector<Packet>& seen();
  // All of one queue.
  std::size_t seen_on(std::size_t queue) const { return per_queue_.at(queue); }

  Vport& vport() { return vport_; }
  std::uint32_t id() const { return vport_.id(); }
  void flush();

 private:
  std::size_t poll_queues();
  template <typename Body>
  auto as_user(Body&& body) const {
    return as({.netns = &world_->host(), .uid = uid_}, std::forward<Body>(body));
  }

  const World* world_;
  uid_t uid_;
  Vport vport_;
  std::vector<Packet> received_;
  std::vector<Packet> seen_;
  std::vector<std::size_t> per_queue_;
  std::size_t delivered_ = 0;  // how many of received_ receive() has looked at
};

Tuple library_tuple(int protocol, const Endpoint& endpoint);

}  // namespace mstack::test
