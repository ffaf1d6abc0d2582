// SPDX-License-Identifier: BSD-2-Clause
#include "mstack/claim.hpp"

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "control.hpp"

namespace mstack {

Claim::Claim(std::weak_ptr<detail::Control> control, const Tuple& tuple, int fd, bool owned)
    : control_(std::move(control)), tuple_(tuple), fd_(fd), owned_(owned) {}

Claim::Claim(Claim&& other) noexcept
    : control_(std::move(other.control_)),
      tuple_(other.tuple_),
      fd_(std::exchange(other.fd_, -1)),
      owned_(std::exchange(other.owned_, false)) {}

Claim& Claim::operator=(Claim&& other) noexcept {
  std::swap(control_, other.control_);
  std::swap(tuple_, other.tuple_);
  std::swap(fd_, other.fd_);
  std::swap(owned_, other.owned_);
  return *this;
}

Claim::~Claim() {
  if (owned_) ::close(fd_);
}

Expected<void> Claim::release() {
  const auto control = control_.lock();
  if (!control) return failure(ENOTCONN, "the vport is closed, and the claim of " + tuple_.to_string() + " with it");
  auto released = control->release(tuple_);
  if (!released) released.error().what = "cannot release " + tuple_.to_string() + ": " + released.error().what;
  return released;
}

}  // namespace mstack
