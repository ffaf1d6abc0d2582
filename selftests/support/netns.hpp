// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "support/fd.hpp"

namespace mstack::test {

// A network namespace without a name: it and all its devices go when its last descriptor, process and socket go, even
// if the test was killed.
class Namespace {
 public:
  // Puts this thread in the namespace for as long as it lives.
  class Visit {
   public:
    explicit Visit(int namespace_fd);
    Visit(Visit&&) = delete;
    ~Visit();

   private:
    Fd home_;
  };

  static Namespace create();   // empty, its loopback up
  static Namespace current();  // of this thread

  int fd() const { return fd_.get(); }
  std::string path() const;      // for ip(8), valid while this process lives
  std::uint64_t cookie() const;  // SO_NETNS_COOKIE
  Visit visit() const { return Visit{fd_.get()}; }
  template <typename Body>
  auto run(Body&& body) const {
    const Visit here = visit();
    return std::forward<Body>(body)();
  }

 private:
  explicit Namespace(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace mstack::test
