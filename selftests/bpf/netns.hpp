// SPDX-License-Identifier: BSD-2-Clause
// A network namespace of the test's own, and what it puts in there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "fd.hpp"
#include "wire.hpp"

namespace bpf_test {

// The calling thread lives in a new network namespace for as long as this does.
class Netns {
 public:
  Netns();  // throws std::system_error
  ~Netns();
  Netns(const Netns&) = delete;
  Netns& operator=(const Netns&) = delete;

  std::uint64_t cookie() const { return cookie_; }

  // Lines as for `ip -batch`; throws std::runtime_error where one is refused.
  static void ip(std::string_view lines);
  // Writes /proc/sys/net/<name> of the namespace.
  static void sysctl(const std::string& name, std::string_view value);
  static std::uint32_t ifindex(const std::string& name);
  static Bytes mac(const std::string& name);
  // Redirected frames reach a veth only if its other end runs an XDP program, and BPF_PROG_TEST_RUN takes an
  // interface for ingress only if it runs one itself. So: XDP_PASS, of two instructions.
  static void pass_all(const std::string& name);

 private:
  Fd home_;
  std::uint64_t cookie_ = 0;
};

}  // namespace bpf_test
