// SPDX-License-Identifier: BSD-2-Clause
//
// Frames that a stack sends and that must never be on the wire, each with the verdict it must get.
#pragma once

#include <optional>
#include <random>
#include <string>
#include <vector>

#include "mstack_abi.h"
#include "support/frame.hpp"

namespace mstack::test {

struct Attack {
  std::string name;
  Bytes frame;
  // What it is counted as. Nothing: some drop, whose reason is left open.
  std::optional<mstack_verdict> verdict;
};

// What the attacker may send from, and what it would like to.
struct Tuples {
  Endpoint udp4, udp6;  // its own claims
  Endpoint tcp4;        // and of TCP
  Endpoint any4, any6;  // the ports of its UDP claims on 0.0.0.0 and on [::] (v6only), with an address of the host
  Endpoint second4, second6;  // the same ports as udp4 and udp6 on another address of the host: nobody's
  Endpoint another;           // UDP, claimed by another vport
  Endpoint released;          // UDP, whose claim was released
  Endpoint rebound;           // UDP, released, and bound by another user's socket
  Endpoint peer4, peer6;      // on the wire
};

// All of them, thousands; `random` fills what may be anything. None is shorter than an Ethernet header: those do not
// come as far as a program that counts.
std::vector<Attack> attack_frames(const Tuples& tuples, std::mt19937_64& random);

}  // namespace mstack::test
