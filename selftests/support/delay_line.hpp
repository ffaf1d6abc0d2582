// SPDX-License-Identifier: BSD-2-Clause
//
// A device that gives back each frame that is sent by it, in their order, a while later: a tap with a thread behind it.
#pragma once

#include <chrono>
#include <string>
#include <thread>

#include "support/fd.hpp"
#include "support/netns.hpp"

namespace mstack::test {

class DelayLine {
 public:
  // For as long as it lives, up, and the kernel itself sends nothing by it.
  DelayLine(const Namespace& netns, const std::string& name, std::chrono::milliseconds delay);
  ~DelayLine();
  DelayLine(DelayLine&&) = delete;

 private:
  void carry(std::chrono::milliseconds delay) const;

  Fd tap_, end_;
  std::thread thread_;
};

}  // namespace mstack::test
