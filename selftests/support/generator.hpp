// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <atomic>
#include <optional>
#include <thread>

#include "support/world.hpp"

namespace mstack::test {

// Sends one frame over and over from the wire's end to the uplink, as fast as a CPU can, for as long as it lives. The
// kernel runs the uplink's NAPI, and all that follows from it in softirq, on the same CPU.
class Generator {
 public:
  // The program redirects each frame to the wire's end; pinned to a CPU, if one is given.
  Generator(const World& world, const Bytes& frame, Fd program, std::optional<unsigned> cpu = {});
  Generator(const World& world, const Bytes& frame);
  Generator(Generator&&) = delete;
  ~Generator();
  // Not so on NICs: their drivers may send no frames of XDP's, or not before they have a program. A packet socket does,
  // slower.
  static bool sends_by_xdp();

 private:
  void generate(const World& world, Bytes frame);

  Fd program_;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> ended_ = false;
  std::thread thread_;
};

}  // namespace mstack::test
