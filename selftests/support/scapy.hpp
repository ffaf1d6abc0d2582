// SPDX-License-Identifier: BSD-2-Clause
//
// Scapy as the peer on the wire: packets made and read by somebody who knows nothing of this repository.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "support/process.hpp"
#include "support/world.hpp"

namespace mstack::test {

class Scapy {
 public:
  static std::string why_not();  // empty if there is one
  explicit Scapy(const World& world);

  // The value of a Python expression; scapy_peer.py says what there is for it.
  nlohmann::json ask(const std::string& expression);

 private:
  Scapy(const World& world, std::pair<Channel, Channel> ends);
  std::string answer();

  Channel channel_;
  Process process_;
};

}  // namespace mstack::test
