// SPDX-License-Identifier: BSD-2-Clause
#include "support/nic_pair.hpp"

#include <sys/file.h>

#include <cstdlib>
#include <sstream>
#include <stdexcept>
#include <tuple>

#include "support/deadline.hpp"
#include "support/process.hpp"
#include "support/sandbox.hpp"

namespace mstack::test {

namespace {

bool ip(const Namespace& netns, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "ip");
  return run(arguments, {.who = {.netns = &netns}}).exit.code == 0;
}

// By a name that it keeps whatever it is called: an alternative one.
bool is_there(const std::string& name) {
  return ip(Sandbox::get().machine(), {"link", "show", "dev", name});
}

// Whether it went.
bool move(const Namespace& from, const std::string& interface, const Namespace& to, const std::string& name) {
  return ip(from, {"link", "set", "dev", interface, "down"}) &&
         ip(from, {"link", "set", "dev", interface, "netns", to.path(), "name", name});
}

}  // namespace

std::optional<NicPair> NicPair::borrow() {
  const char* given = std::getenv("MSTACK_TEST_UPLINK");
  if (given == nullptr || *given == '\0') return std::nullopt;
  for (const Deadline deadline; !deadline.passed(); ::poll(nullptr, 0, 20)) {
    std::istringstream pairs(given);
    for (std::string pair; pairs >> pair;) {
      const auto colon = pair.find(':');
      if (colon == std::string::npos) throw std::runtime_error("MSTACK_TEST_UPLINK is NIC:NIC ..., not " + pair);
      const std::string host = pair.substr(0, colon), wire = pair.substr(colon + 1);
      const std::string path = "/tmp/mstack-test-" + host + ".lock";
      Fd lock{check(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600), "open " + path)};
      if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0 || !is_there(host) || !is_there(wire)) continue;
      return NicPair(std::move(lock), host, wire);
    }
  }
  throw std::runtime_error("no pair of MSTACK_TEST_UPLINK becomes free");
}

void NicPair::move_to(const Namespace& host, const std::string& uplink, const Namespace& wire,
                      const std::string& wire_end) const {
  const Namespace& machine = Sandbox::get().machine();
  if (!move(machine, host_, host, uplink) || !move(machine, wire_, wire, wire_end))
    throw std::runtime_error("cannot move " + host_ + " and " + wire_ + " into the world's namespaces");
}

void NicPair::move_back(const Namespace& host, const std::string& uplink, const Namespace& wire,
                        const std::string& wire_end) const {
  const Namespace& machine = Sandbox::get().machine();
  // A name that is nobody's: "nic0" is an alternative name of its own.
  std::ignore = move(host, uplink, machine, host_ + "_");
  std::ignore = move(wire, wire_end, machine, wire_ + "_");
}

}  // namespace mstack::test
