// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/umem.hpp"

#include <linux/capability.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <optional>
#include <utility>

#include "checks/machine.hpp"
#include "daemon/log.hpp"

namespace mstack::daemon {
namespace {

// Of the child: an errno of setsockopt(), 0, or this.
constexpr int cannot_stand_in = 255;

struct Registration {
  int xsk;
  const xdp_umem_reg* memory;
  std::uint32_t uid;
  rlim_t limit;
};

bool give_up_ipc_lock() {
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, 2> sets = {};
  if (::syscall(SYS_capget, &header, sets.data()) < 0) return false;
  constexpr std::uint32_t bit = 1u << CAP_IPC_LOCK;
  sets[0].effective &= ~bit;
  sets[0].permitted &= ~bit;
  sets[0].inheritable &= ~bit;
  return ::syscall(SYS_capset, &header, sets.data()) == 0;
}

// In a process of its own that shares our memory and descriptors, while we wait: system calls and nothing else. The raw
// ones, since those of the C library want all threads to change.
int register_as_stand_in(void* argument) {
  const auto& registration = *static_cast<const Registration*>(argument);
  const rlimit limit = {.rlim_cur = registration.limit, .rlim_max = registration.limit};
  if (::setrlimit(RLIMIT_MEMLOCK, &limit) < 0 || !give_up_ipc_lock() ||
      ::syscall(SYS_setresuid, registration.uid, -1, -1) < 0)
    return cannot_stand_in;
  if (::setsockopt(registration.xsk, SOL_XDP, XDP_UMEM_REG, registration.memory, sizeof(*registration.memory)) == 0)
    return 0;
  return errno;
}

// nullopt: it could not be done this way.
std::optional<int> run_as_stand_in(Registration registration) {
  alignas(16) std::array<std::byte, 64 * 1024> stack;
  // Its descriptors are ours, and so not closed at its end: among them may be files whose close() waits for ever.
  const int child = ::clone(register_as_stand_in, stack.data() + stack.size(),
                            CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, &registration);
  if (child < 0) return std::nullopt;
  int status = 0;
  pid_t waited;
  do waited = ::waitpid(child, &status, __WALL);
  while (waited < 0 && errno == EINTR);
  if (waited != child || !WIFEXITED(status)) return EINTR;
  if (WEXITSTATUS(status) == cannot_stand_in) return std::nullopt;
  return WEXITSTATUS(status);
}

}  // namespace

Expected<void> register_umem(int xsk, const xdp_umem_reg& memory, const UmemAccount& account) {
  const auto result = run_as_stand_in({.xsk = xsk,
                                       .memory = &memory,
                                       .uid = stand_in(account.uid, account.netns_cookie),
                                       .limit = account.limit ? account.limit : RLIM_INFINITY});
  if (!result) {
    static bool told = false;
    if (!std::exchange(told, true)) log::warn("{}", checks::uncounted_memory);
    if (::setsockopt(xsk, SOL_XDP, XDP_UMEM_REG, &memory, sizeof(memory)) == 0) return {};
    return system_failure(errno, "cannot register packet memory");
  }
  if (*result == 0) return {};
  if (*result == ENOBUFS)
    return failure(EDQUOT,
                   "packet memory of this user's earlier vports is still in use, up to the limit "
                   "(--max-umem-mb): end what shares it, or try again in a moment");
  return system_failure(*result, "cannot register packet memory");
}

}  // namespace mstack::daemon
