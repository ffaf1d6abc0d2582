// SPDX-License-Identifier: BSD-2-Clause
// Sockets with a claim, and counts to see what becomes of it.
#pragma once

#include <string_view>

#include "sock_fixture.hpp"

namespace bpf_test {

template <typename Hooks>
class Owners : public Hooks {
 protected:
  using Hooks::agent, Hooks::programs, Hooks::bound, Hooks::claim_for;

  static constexpr std::uint16_t owned_port = 7;

  // A bound socket that owns its tuple, and counts to see what becomes of them: 5 on its gate, 9 on its slot.
  int owner(std::uint8_t protocol, std::string_view address, std::uint16_t port = owned_port) {
    const int socket = bound(protocol, address, port);
    EXPECT_GE(socket, 0);
    const std::uint16_t real = agent.port(socket);
    claim_for(socket, tuple(address, real, protocol));
    programs.set_gate(protocol, real, 5);
    programs.set_slot_claims(1, 9);
    return socket;
  }

  testing::AssertionResult counts(std::uint8_t protocol, std::uint16_t port, std::uint32_t gate, std::uint32_t slot) {
    const std::uint32_t real_gate = programs.gate(protocol, port);
    const std::uint32_t real_slot = programs.slot_claims(1);
    if (real_gate == gate && real_slot == slot) return testing::AssertionSuccess();
    return testing::AssertionFailure() << "gate " << real_gate << ", slot_claims " << real_slot << ", expected " << gate
                                       << " and " << slot;
  }

  testing::AssertionResult alive(const mstack_tuple& tuple) {
    if (!programs.claimed(tuple)) return testing::AssertionFailure() << "the claim is gone";
    return counts(tuple.protocol, port_of(tuple), 5, 9);
  }

  testing::AssertionResult released(const mstack_tuple& tuple) {
    if (programs.claimed(tuple)) return testing::AssertionFailure() << "the claim is still there";
    return counts(tuple.protocol, port_of(tuple), 4, 8);
  }

  static std::uint16_t port_of(const mstack_tuple& tuple) {
    return static_cast<std::uint16_t>(tuple.port >> 8 | tuple.port << 8);
  }
};

}  // namespace bpf_test
