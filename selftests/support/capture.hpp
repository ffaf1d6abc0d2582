// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "support/deadline.hpp"
#include "support/fd.hpp"
#include "support/frame.hpp"
#include "support/netns.hpp"

namespace mstack::test {

// Sends frames out of one end of a link as they are.
class Injector {
 public:
  Injector(const Namespace& netns, const std::string& interface);
  void send(std::span<const std::uint8_t> frame) const;

 private:
  Fd socket_;
};

// Collects every frame that arrives at one end of a link (what that end itself sends is left out) from its
// construction on. Loses nothing unseen: frames the kernel had no room for are counted, and stop() reports them.
class Capture {
 public:
  using Predicate = std::function<bool(const Packet&)>;

  Capture(const Namespace& netns, const std::string& interface);
  Capture(Capture&&) = delete;
  ~Capture();

  // The first packet, that fits; waits for it.
  std::optional<Packet> wait(const Predicate& fits, const Deadline& deadline = Deadline{}) const;
  std::vector<Bytes> frames() const;  // so far
  std::vector<Packet> packets() const;
  std::size_t count(const Predicate& fits) const;
  std::uint64_t lost() const;  // frames that the socket had no room for

 private:
  void collect();

  Fd socket_;
  Fd stop_;  // eventfd
  struct State;
  std::unique_ptr<State> state_;
  std::thread thread_;
};

Capture::Predicate udp_payload(std::string payload);

}  // namespace mstack::test
