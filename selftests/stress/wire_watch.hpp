// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support/deadline.hpp"
#include "support/fd.hpp"
#include "support/frame.hpp"
#include "support/world.hpp"

namespace mstack::test {

// Judges every frame that arrives at the wire's end, as it arrives, and keeps only those that should not be there: so a
// test can send millions. From its construction on.
class WireWatch {
 public:
  enum class Judgement { good, bad, none };
  // Called by one thread, the watch's own, and not for what the host's own kernel says of its neighbours.
  using Judge = std::function<Judgement(std::span<const std::uint8_t>)>;

  WireWatch(const World& world, Judge judge);
  WireWatch(WireWatch&&) = delete;
  ~WireWatch();

  std::uint64_t good() const;
  std::uint64_t bad() const;
  std::uint64_t lost() const;                  // frames that there was no room for: nobody judged them
  std::vector<std::string> first_bad() const;  // as hexadecimal digits, a few
  // Until so many good ones have come; false at the deadline.
  bool wait_for_good(std::uint64_t count, const Deadline& deadline = Deadline{}) const;

 private:
  void watch();
  void judge(std::span<const std::uint8_t> frame);

  Judge judge_;
  Mac host_mac_;
  Fd socket_;
  Fd stop_;  // eventfd
  struct State;
  std::unique_ptr<State> state_;
  std::thread thread_;
};

// What the host's own kernel may say: it asks for and tells the addresses of its own uplink, with its own MAC, and
// reports the groups that go with them.
bool is_kernel_neighbour_talk(std::span<const std::uint8_t> frame, const Mac& host_mac);

}  // namespace mstack::test
