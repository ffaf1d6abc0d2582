// SPDX-License-Identifier: BSD-2-Clause
#include "support/scapy.hpp"

#include <stdexcept>

namespace mstack::test {

// The distribution's, for which it has scapy, whatever is before it in the path.
static constexpr const char* python = "/usr/bin/python3";

std::string Scapy::why_not() {
  const auto looked = run({python, "-c", "import importlib.util; exit(importlib.util.find_spec('scapy') is None)"});
  return looked.exit == Exit{.code = 0, .signal = 0} ? "" : "there is no scapy (Debian: python3-scapy)";
}

Scapy::Scapy(const World& world) : Scapy(world, Channel::pair()) {}

Scapy::Scapy(const World& world, std::pair<Channel, Channel> ends)
    : channel_(std::move(ends.first)),
      process_(
          Process::command({python, SCAPY_PEER, std::to_string(ends.second.fd()), wire_end, text(world.host_mac())},
                           {.who = {.netns = &world.wire()}, .environment = {}, .keep = {ends.second.fd()}})) {
  ends.second.close();  // so that its end is the channel's end
  if (const std::string said = answer(); said != "ready") throw std::runtime_error("scapy: " + said);
}

nlohmann::json Scapy::ask(const std::string& expression) {
  if (!channel_.send(expression)) throw std::runtime_error("scapy is gone: " + process_.err());
  return nlohmann::json::parse(answer());
}

std::string Scapy::answer() {
  const auto message = channel_.receive();
  if (!message) throw std::runtime_error("scapy says nothing: " + process_.err());
  return message->text;
}

}  // namespace mstack::test
