// SPDX-License-Identifier: BSD-2-Clause
//
// The kernel, and what this process may do with it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "checks/check.hpp"

namespace mstack::checks {

// What is needed. Each feature is tried rather than guessed from the kernel's version: programs, devices and sockets
// are made in a network namespace that goes when this returns. Lifts this process's limit of locked memory.
struct Needed {
  std::vector<Check> checks;
  bool maps_bound_rings = false;    // whether the rings of an AF_XDP socket can be mapped once it is bound: Linux 6.4
  bool takes_multi_buffer = false;  // whether an AF_XDP packet may take several frames: Linux 6.6
  bool sees_bound_tcp = false;      // whether sock_diag shows TCP sockets that are only bound: Linux 6.8
  bool interprets = false;          // whether a BPF program that was loaded has not been compiled
};
Needed needed_of_machine();

// What makes it faster, or safer, or easier to look at. None of them fails.
std::vector<Check> advice_for_machine(const Needed& needed);

// A limit is raised by who starts this: without CAP_SYS_RESOURCE it can only be lowered.
inline constexpr const char* raise_memlock =
    "raise the limit of locked memory where this is started: LimitMEMLOCK=infinity in a service, memlock in "
    "/etc/security/limits.conf, --ulimit memlock=-1 of a container";

// What mstackd says too when the kernel refuses it.
inline constexpr const char* uncounted_memory =
    "the kernel does not count packet memory by user, and who may make user namespaces can keep more than "
    "--max-umem-mb: give mstackd CAP_SETUID in the first user namespace, and CAP_SYS_RESOURCE or no limit of locked "
    "memory";

// Pure.
Check kernel_check(std::string_view release);  // uname -r
Check capabilities_check(std::uint64_t effective);
Check accounting_check(std::uint64_t effective, bool memory_is_limited);
Check memlock_check(std::uint64_t effective, bool is_limited);
// The sysctls; empty: they are not shown here.
Check jit_check(bool interprets, std::string_view enabled, std::string_view harden);
Check sysctls_check(const Expected<void>& writable, std::string_view rp_filter);  // the latter of all interfaces

}  // namespace mstack::checks
