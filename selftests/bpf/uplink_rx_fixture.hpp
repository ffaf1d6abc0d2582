// SPDX-License-Identifier: BSD-2-Clause
// A host with the addresses 192.0.2.1 and 2001:db8::1 and a vport 1 of one queue, slot 1, that holds port 7.
#pragma once

#include <gtest/gtest.h>
#include <linux/bpf.h>

#include <string_view>
#include <vector>

#include "netns.hpp"
#include "programs.hpp"

namespace bpf_test {

class UplinkRx : public testing::Test {
 protected:
  UplinkRx() {
    programs.local("192.0.2.1");
    programs.local("2001:db8::1");
    programs.add_slots(1, 4);
  }

  Outcome receive(const Bytes& frame) { return programs.run("uplink_rx", frame); }

  // Every transport on both addresses, so that a test of headers need not care.
  void claim_everything() {
    for (const std::uint8_t protocol : every_protocol) {
      for (const char* address : {"192.0.2.1", "2001:db8::1"}) programs.claim(tuple(address, 7, protocol));
    }
  }

  Netns netns;
  Programs programs{netns.cookie(), {"uplink_rx"}};
};

inline Packet ip4(std::uint8_t protocol) {
  Packet packet;
  packet.protocol = protocol;
  return packet;
}

inline Packet ip6(std::uint8_t protocol) {
  Packet packet;
  packet.from = "2001:db8:f::2";
  packet.to = "2001:db8::1";
  packet.protocol = protocol;
  return packet;
}

inline std::vector<Packet> every_kind() {
  return {ip4(proto_udp), ip4(proto_tcp), ip6(proto_udp), ip6(proto_tcp)};
}

// As on the wire, but for the two MACs: those of the slot.
inline Bytes steered_to(std::uint16_t slot, const Bytes& frame) {
  return hex("02 4d 53 00") + be16(slot) + hex("02 4d 53 01") + be16(slot) + slice(frame, 12, frame.size() - 12);
}

// Left to the kernel: counted once by the reason, and not a byte of it changed.
inline testing::AssertionResult passed(const Outcome& outcome, const Bytes& frame, mstack_verdict reason) {
  if (outcome.frame != frame) return testing::AssertionFailure() << "the frame was changed";
  return did(outcome, XDP_PASS, reason);
}

inline testing::AssertionResult steered(const Outcome& outcome, const Bytes& frame, std::uint16_t slot) {
  const auto counted = did(outcome, XDP_REDIRECT, MSTACK_RX_STEERED);
  if (!counted) return counted;
  if (outcome.frame != steered_to(slot, frame)) {
    return testing::AssertionFailure() << "the frame is not the one received, with the MACs of slot " << slot;
  }
  return testing::AssertionSuccess();
}

}  // namespace bpf_test
