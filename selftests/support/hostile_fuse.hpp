// SPDX-License-Identifier: BSD-2-Clause
//
// A file on a FUSE mount whose server is the attacker: it answers just enough for the file to be opened, and then
// leaves everybody waiting. Any user can have one, in a user namespace of their own or by fusermount.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support/fd.hpp"

namespace mstack::test {

class HostileFuse {
 public:
  // Whether this kernel has FUSE and lets us mount it.
  static bool available();

  // Mounted in the sandbox's private mount namespace. At its end all who wait are let go, with an error.
  HostileFuse();
  HostileFuse(HostileFuse&&) = delete;
  ~HostileFuse();

  // A descriptor of the file. To close it asks the server, who answers the test's own threads alone.
  Fd open() const;
  // Memory of the file: to read it asks the server, who answers nobody.
  std::uint8_t* memory() const;
  static constexpr std::size_t memory_size = 4096;

  // How many requests of others than the test's threads were left without an answer.
  std::uint64_t unanswered() const { return unanswered_; }
  // How many of them, or of the test's own, wait for memory.
  std::uint64_t reads() const { return reads_; }

 private:
  void serve();
  void answer(std::uint64_t unique, const void* body, std::size_t size, int error = 0) const;

  std::string directory_;
  Fd device_;
  Fd stop_;
  std::atomic<std::uint64_t> unanswered_ = 0, reads_ = 0;
  std::uint8_t* memory_ = nullptr;
  std::thread thread_;
};

}  // namespace mstack::test
