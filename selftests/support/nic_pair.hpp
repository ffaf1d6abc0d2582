// SPDX-License-Identifier: BSD-2-Clause
//
// Two NICs at the ends of one wire, for a world whose uplink is a real driver. MSTACK_TEST_UPLINK names those that
// tests may have, "nic0:nic1 nic2:nic3": interfaces of the machine's own namespace, the host's first. They are meant to
// be of a virtual machine made for this (selftests/vm). With MSTACK_TEST_NATIVE it is an error if they have no native
// XDP.
#pragma once

#include <optional>
#include <string>

#include "support/fd.hpp"
#include "support/netns.hpp"

namespace mstack::test {

class NicPair {
 public:
  // nullopt: no pair was given, and the world makes a veth. Waits for one that other tests have.
  static std::optional<NicPair> borrow();

  NicPair(NicPair&&) = default;
  NicPair& operator=(NicPair&&) = default;

  // Into the namespaces, under the names; they are down.
  void move_to(const Namespace& host, const std::string& uplink, const Namespace& wire,
               const std::string& wire_end) const;
  // To where they were. A test that is killed gives them back too, by its namespaces' end, only later.
  void move_back(const Namespace& host, const std::string& uplink, const Namespace& wire,
                 const std::string& wire_end) const;

 private:
  NicPair(Fd lock, std::string host, std::string wire)
      : lock_(std::move(lock)), host_(std::move(host)), wire_(std::move(wire)) {}
  Fd lock_;
  std::string host_, wire_;
};

}  // namespace mstack::test
