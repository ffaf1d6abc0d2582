// SPDX-License-Identifier: BSD-2-Clause
#include "coverage.hpp"

#include <gtest/gtest.h>

#include <array>
#include <iostream>

namespace differential {
namespace {

using model::Kind;

struct Named {
  Kind kind;
  const char* name;
};
constexpr std::array kinds{Named{Kind::udp, "UDP"},
                           Named{Kind::tcp, "TCP"},
                           Named{Kind::udp_lite, "UDP-Lite"},
                           Named{Kind::sctp, "SCTP"},
                           Named{Kind::dccp, "DCCP"},
                           Named{Kind::with_headers, "with options or extension headers"},
                           Named{Kind::authenticated, "with AH"},
                           Named{Kind::first_fragment, "first fragment"},
                           Named{Kind::later_fragment, "later fragment"},
                           Named{Kind::icmp_error, "ICMP error"},
                           Named{Kind::multicast, "to a group"},
                           Named{Kind::broadcast, "to all on a link"}};

// What must have become of each kind. Of a later fragment nothing but the first says whose it is.
struct Fate {
  Program program;
  std::optional<mstack_verdict> verdict;
};
constexpr std::array fates{Fate{Program::uplink_rx, MSTACK_RX_STEERED},
                           Fate{Program::uplink_rx, MSTACK_RX_PASS_UNCLAIMED},
                           Fate{Program::uplink_rx, MSTACK_RX_PASS_MALFORMED},
                           Fate{Program::vport_tx, MSTACK_TX_SENT},
                           Fate{Program::vport_tx, std::nullopt},
                           Fate{Program::vport_tx, MSTACK_TX_TO_STACK},
                           Fate{Program::vport_tx, MSTACK_TX_DROP_UNCLAIMED},
                           Fate{Program::vport_tx, MSTACK_TX_DROP_NOT_OWNER},
                           Fate{Program::vport_tx, MSTACK_TX_DROP_MALFORMED},
                           Fate{Program::vport_tx_slow, MSTACK_TX_SENT_SLOW},
                           Fate{Program::vport_tx_slow, MSTACK_TX_TO_HOST},
                           Fate{Program::vport_tx_slow, MSTACK_TX_TO_STACK},
                           Fate{Program::lo_tx, MSTACK_RX_STEERED},
                           Fate{Program::lo_tx, MSTACK_LO_PASS},
                           Fate{Program::lo_tx, MSTACK_GUARD_DROP_NOT_OWNER},
                           Fate{Program::uplink_tx, MSTACK_GUARD_DROP_NOT_OWNER}};
// A first one of IPv4 is refused for being a fragment only where none may be sent.
constexpr std::array fates_of_first{Fate{Program::vport_tx, MSTACK_TX_DROP_FRAGMENT},
                                    Fate{Program::vport_tx_slow, MSTACK_TX_DROP_FRAGMENT}};
// To many: a wildcard's owner is none of them, nor is a stack or the kernel of this host one that is sent to.
constexpr Fate fate_of_many{Program::uplink_rx, MSTACK_RX_PASS_NOT_LOCAL};
constexpr std::array fates_of_later{
    Fate{Program::uplink_rx, MSTACK_RX_PASS_FRAGMENT}, Fate{Program::uplink_rx, MSTACK_RX_PASS_OVERLAP},
    Fate{Program::vport_tx, MSTACK_TX_DROP_FRAGMENT}, Fate{Program::vport_tx, MSTACK_TX_DROP_OVERLAP}};

std::string text(const Fate& fate) {
  return std::string(name_of(fate.program)) + " " + (fate.verdict ? name_of(*fate.verdict) : "left to the slow path");
}

std::uint64_t count_of(const Seen& seen, const Named& kind, bool is_ip6, const Fate& fate) {
  const auto found = seen.find({fate.program, kind.kind, is_ip6, fate.verdict});
  return found != seen.end() ? found->second : 0;
}

template <typename Act>
void for_each_kind(const Act& act) {
  for (const Named& kind : kinds) {
    const auto one = [&](const Fate& fate) {
      const bool is_later = kind.kind == Kind::later_fragment, is_error = kind.kind == Kind::icmp_error;
      if (is_later && fate.verdict == MSTACK_RX_PASS_UNCLAIMED) return;
      if ((is_later || is_error) && fate.verdict == MSTACK_GUARD_DROP_NOT_OWNER) return;  // they have no ports
      const bool is_many = kind.kind == Kind::multicast || kind.kind == Kind::broadcast;
      if (is_many && (fate.verdict == MSTACK_TX_TO_STACK || fate.verdict == MSTACK_TX_TO_HOST)) return;
      act(kind, false, fate);
      if (kind.kind != Kind::broadcast) act(kind, true, fate);
    };
    for (const Fate& fate : fates) one(fate);
    if (kind.kind == Kind::first_fragment)
      for (const Fate& fate : fates_of_first) one(fate);
    if (kind.kind == Kind::multicast || kind.kind == Kind::broadcast) one(fate_of_many);
    if (kind.kind == Kind::later_fragment)
      for (const Fate& fate : fates_of_later) one(fate);
  }
}

std::string name_of(const Named& kind, bool is_ip6) {
  return std::string(is_ip6 ? "IPv6 " : "IPv4 ") + kind.name;
}

}  // namespace

void print(const Seen& seen) {
  std::map<std::pair<Program, std::optional<mstack_verdict>>, std::uint64_t> verdicts;
  for (const auto& [reading, count] : seen) verdicts[{reading.program, reading.verdict}] += count;
  for (const auto& [key, count] : verdicts) {
    std::cout << text({.program = key.first, .verdict = key.second}) << " " << count << "\n";
  }
  std::map<std::string, std::string> rows;
  for_each_kind([&](const Named& kind, bool is_ip6, const Fate& fate) {
    rows[name_of(kind, is_ip6)] += "\n  " + text(fate) + " " + std::to_string(count_of(seen, kind, is_ip6, fate));
  });
  for (const auto& [name, counts] : rows) std::cout << name << counts << "\n";
}

void expect_everything(const Seen& seen) {
  std::array<bool, MSTACK_VERDICT_COUNT> is_read{};
  for (const auto& [reading, count] : seen) {
    if (reading.verdict) is_read.at(*reading.verdict) = true;
  }
  is_read[MSTACK_TX_DROP_NO_NEIGHBOUR] = true;    // the kernel always takes it
  is_read[MSTACK_TX_DROP_NEIGHBOUR_PACE] = true;  // a matter of time, which the model has not
  for (std::size_t verdict = 0; verdict < is_read.size(); ++verdict) {
    const auto one = static_cast<mstack_verdict>(verdict);
    EXPECT_TRUE(is_read.at(verdict)) << name_of(one) << " was never read: no frame led to it";
  }
  for_each_kind([&](const Named& kind, bool is_ip6, const Fate& fate) {
    EXPECT_NE(count_of(seen, kind, is_ip6, fate), 0U)
        << name_of(kind, is_ip6) << ": " << text(fate) << " was never read";
  });
}

}  // namespace differential
