// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <memory>

#include "mstack/error.hpp"
#include "mstack/export.hpp"
#include "mstack/tuple.hpp"

namespace mstack {

namespace detail {
class Control;
}

/// A tuple that belongs to a vport: its packets come to the vport's queues, and the vport may send from it.
///
/// A claim lives as long as the socket that owns the tuple, which it does not survive being connected, bound to a
/// device or given SO_REUSEADDR or SO_REUSEPORT either; release() ends it before that, and so does the end of the
/// vport. This object's end is the claim's only if it owns the socket. It may outlive its Vport, and is then worth
/// nothing. What was sent from the tuple must have been looked at before the claim ends: see Queue::drain().
///
/// Move-only. Thread-safety: different claims may be used by different threads at once; one claim by one at a time.
class MSTACK_API Claim {
 public:
  Claim(Claim&& other) noexcept;
  Claim& operator=(Claim&& other) noexcept;
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;
  /// Closes the socket if the library made it: the kernel releases the claim then, with no word to mstackd. A socket
  /// that the caller passed stays open, and claimed.
  ~Claim();

  /// What the socket is bound to; the port is the real one where the kernel picked it. A dual-stack [::] claims the
  /// port on 0.0.0.0 too.
  [[nodiscard]] const Tuple& tuple() const { return tuple_; }

  /// The socket that owns the tuple. Reading it is in vain: its packets go to the vport. connect(), listen() and
  /// closing it are no way to use it either. -1 after a move.
  [[nodiscard]] int fd() const { return fd_; }

  /// Gives the tuple back to the kernel's stack: its packets go to the socket again, which stays open and bound.
  /// ENOTCONN: the vport is gone, and the claim with it. Otherwise the errors of a control call, see Vport.
  Expected<void> release();

 private:
  friend class Vport;
  Claim(std::weak_ptr<detail::Control> control, const Tuple& tuple, int fd, bool owned);

  std::weak_ptr<detail::Control> control_;
  Tuple tuple_;
  int fd_ = -1;
  bool owned_ = false;
};

}  // namespace mstack
