// SPDX-License-Identifier: BSD-2-Clause
#include "checks/machine.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <optional>
#include <utility>

#include "checks/trials.hpp"
#include "fd.hpp"

namespace mstack::checks {
namespace {

constexpr unsigned oldest_major = 6, oldest_minor = 1;

constexpr std::uint64_t bit(unsigned capability) {
  return std::uint64_t{1} << capability;
}

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::optional<std::uint64_t> effective_capabilities() {
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, 2> data = {};
  if (::syscall(SYS_capget, &header, data.data()) < 0) return std::nullopt;
  return std::uint64_t{data[1].effective} << 32 | data[0].effective;
}

std::string release_of_kernel() {
  utsname name = {};
  return ::uname(&name) < 0 ? "" : name.release;
}

// The first line, or nothing.
std::string read_line(const char* path) {
  std::string line;
  std::ifstream file(path);
  std::getline(file, line);
  return line;
}

// Only opens one.
Expected<void> can_write_sysctls() {
  constexpr const char* any = "/proc/sys/net/ipv4/conf/default/forwarding";
  if (const Fd fd(::open(any, O_WRONLY | O_CLOEXEC)); !fd)
    return system_failure(errno, std::string("cannot write to ") + any);
  return {};
}

// For the tries, and for mstackd after them: each vport's packet memory is locked. As far as this user may.
void lift_memlock() {
  rlimit limit = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
  if (::setrlimit(RLIMIT_MEMLOCK, &limit) == 0 || ::getrlimit(RLIMIT_MEMLOCK, &limit) < 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_MEMLOCK, &limit);
}

// Whether it could not be lifted.
bool memory_is_limited() {
  rlimit limit = {};
  return ::getrlimit(RLIMIT_MEMLOCK, &limit) < 0 || limit.rlim_max != RLIM_INFINITY;
}

}  // namespace

Check kernel_check(std::string_view release) {
  const char *at = release.data(), *const end = at + release.size();
  unsigned major = 0, minor = 0;
  const auto dot = std::from_chars(at, end, major);
  const bool parsed = dot.ec == std::errc() && dot.ptr != end && *dot.ptr == '.' &&
                      std::from_chars(dot.ptr + 1, end, minor).ec == std::errc();
  if (parsed && std::pair(major, minor) >= std::pair(oldest_major, oldest_minor))
    return good("kernel", fmt::format("Linux {}", release));
  return failed("kernel", {.code = EOPNOTSUPP, .what = fmt::format("Linux {}", release)},
                "too old: MultiStack needs 6.1 or later");
}

Check capabilities_check(std::uint64_t effective) {
  constexpr std::pair<unsigned, const char*> all[] = {
      {CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}, {CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {CAP_NET_RAW, "CAP_NET_RAW"}};
  std::vector<std::string> missing;
  for (const auto& [capability, name] : all)
    if ((effective & bit(capability)) == 0) missing.emplace_back(name);
  if (missing.empty()) return good("capabilities", "what mstackd needs is permitted");
  return failed("capabilities", {.code = EPERM, .what = "without " + join(missing)}, "run this as root");
}

Check accounting_check(std::uint64_t effective, bool memory_is_limited) {
  if ((effective & bit(CAP_SETUID)) != 0 && (!memory_is_limited || (effective & bit(CAP_SYS_RESOURCE)) != 0))
    return good("accounting", "packet memory is counted by user, in the kernel");
  return warning("accounting", uncounted_memory);
}

Check memlock_check(std::uint64_t effective, bool is_limited) {
  if (!is_limited) return good("memlock", "no limit of locked memory");
  if ((effective & (bit(CAP_SYS_RESOURCE) | bit(CAP_IPC_LOCK))) != 0)
    return good("memlock", "locked memory is limited, but not for this user");
  return warning("memlock",
                 std::string("the limit of locked memory holds for all packet memory together: ") + raise_memlock);
}

Check jit_check(bool interprets, std::string_view enabled, std::string_view harden) {
  if (interprets || enabled == "0")
    return warning("jit",
                   "BPF programs are interpreted, many times slower: sysctl -w net.core.bpf_jit_enable=1, in the first "
                   "network namespace, or use a kernel with CONFIG_BPF_JIT");
  if (harden == "2")
    return warning("jit",
                   "BPF programs of root are hardened too, which makes them slower: sysctl -w "
                   "net.core.bpf_jit_harden=1");
  return good("jit", "BPF programs are compiled");
}

Check sysctls_check(const Expected<void>& writable, std::string_view rp_filter) {
  if (!writable)
    return failed(
        "sysctls", writable.error(),
        writable.error().code == EROFS
            ? "mstackd sets those of the devices that it makes: let it write there (/proc/sys is read-only in "
              "many containers)"
            : advice_for(writable.error(), "mount /proc"));
  if (rp_filter == "1" || rp_filter == "2")
    return warning("sysctls", "net.ipv4.conf.all.rp_filter=" + std::string(rp_filter) +
                                  " drops what stacks send to this host's own IPv4 addresses: sysctl -w "
                                  "net.ipv4.conf.all.rp_filter=0, and set it for each interface instead");
  return good("sysctls", "those of devices can be set, and none is in the way of packets");
}

Needed needed_of_machine() {
  lift_memlock();
  Needed needed;
  needed.checks.push_back(kernel_check(release_of_kernel()));
  const auto effective = effective_capabilities();
  needed.checks.push_back(capabilities_check(effective.value_or(0)));
  needed.checks.push_back(sysctls_check(can_write_sysctls(), read_line("/proc/sys/net/ipv4/conf/all/rp_filter")));
  try_kernel(needed);
  return needed;
}

std::vector<Check> advice_for_machine(const Needed& needed) {
  const std::uint64_t effective = effective_capabilities().value_or(0);
  const bool limited = memory_is_limited();
  return {accounting_check(effective, limited), memlock_check(effective, limited),
          jit_check(needed.interprets, read_line("/proc/sys/net/core/bpf_jit_enable"),
                    read_line("/proc/sys/net/core/bpf_jit_harden"))};
}

}  // namespace mstack::checks
