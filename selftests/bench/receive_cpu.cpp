// SPDX-License-Identifier: BSD-2-Clause
#include "receive_cpu.hpp"

#include <fmt/format.h>
#include <sched.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "support/process.hpp"

namespace mstack::bench {
namespace {

using test::check;

std::set<pid_t> tasks_called(const std::string& beginning) {
  std::set<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    std::string comm;
    if (name.find_first_not_of("0123456789") == std::string::npos && std::ifstream(entry.path() / "comm") >> comm &&
        comm.starts_with(beginning))
      found.insert(std::stoi(name));
  }
  return found;
}

void set(const test::Namespace& netns, const std::string& interface, const std::string& what,
         const std::string& value) {
  test::run_or_throw(
      {"unshare", "--mount", "sh", "-c",
       fmt::format("mount -t sysfs sysfs /sys && echo {} >/sys/class/net/{}/{}", value, interface, what)},
      {.who = {.netns = &netns}});
}

}  // namespace

pid_t receive_by_thread(const test::Namespace& netns, const std::string& interface, unsigned cpu) {
  // The threads of other namespaces may have the same name; ours is the new one.
  const std::string name = "napi/" + interface + "-";
  const std::set<pid_t> before = tasks_called(name);
  set(netns, interface, "threaded", "1");
  std::set<pid_t> threads = tasks_called(name);
  for (const pid_t other : before) threads.erase(other);
  if (threads.size() != 1)
    throw std::runtime_error(fmt::format("{} has {} new NAPI threads in place of one", interface, threads.size()));
  const pid_t thread = *threads.begin();
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  check(::sched_setaffinity(thread, sizeof(one), &one), "sched_setaffinity of a NAPI thread");
  check(::setpriority(PRIO_PROCESS, static_cast<id_t>(thread), ::getpriority(PRIO_PROCESS, 0)), "setpriority");
  return thread;
}

void receive_by_backlog(const test::Namespace& netns, const std::string& interface, unsigned cpu) {
  // Hexadecimal, a comma after each 32 CPUs.
  std::string mask = fmt::format("{:x}", 1U << cpu % 32);
  for (unsigned i = 0; i < cpu / 32; ++i) mask += ",00000000";
  set(netns, interface, "queues/rx-0/rps_cpus", mask);
}

pid_t softirq_thread(unsigned cpu) {
  const std::set<pid_t> found = tasks_called(fmt::format("ksoftirqd/{}", cpu));
  if (found.size() != 1) throw std::runtime_error(fmt::format("no ksoftirqd/{}", cpu));
  return *found.begin();
}

}  // namespace mstack::bench
