// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/residue.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/memfd.h>
#include <signal.h>
#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <system_error>
#include <thread>

#include "daemon/log.hpp"

namespace mstack::daemon {
namespace {

enum class State : std::uint8_t { unknown, looking, held, free };

// The kernel seals memory against writing only when no one has it mapped to write to, or pinned: just what we want to
// know. To be sure of the latter it may wait 150 ms. EPERM: its client has sealed it against sealing, and so we never
// know; what is in it is given back, but it goes on counting.
State look(int memory) {
  const bool sealed = ::fcntl(memory, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) == 0 && ::fcntl(memory, F_ADD_SEALS, F_SEAL_WRITE) == 0;
  return sealed ? State::free : State::held;
}

}  // namespace

struct Residue::Memory {
  explicit Memory(Fd opened) : fd(std::move(opened)) {}
  Fd fd;
  std::atomic<State> state = State::unknown;
};
