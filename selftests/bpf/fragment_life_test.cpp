// SPDX-License-Identifier: BSD-2-Clause
// The first fragment of a datagram is remembered for so long, and then forgotten. As it is on the wire, with no help.
#include <chrono>
#include <thread>

#include "tx_fixture.hpp"

namespace bpf_test {
namespace {

constexpr std::chrono::milliseconds life{50};
constexpr Settings short_life{.fragment_lifetime_ns = std::chrono::nanoseconds(life).count()};

void outlive() {
  std::this_thread::sleep_for(life + std::chrono::milliseconds(10));
}

// The first, and another behind it: together as often as the machine makes a pause between them that is a life long.
template <typename Goes>
bool follows(const Goes& goes, const Bytes& first, const Bytes& later) {
  for (int tries = 0; tries < 100; ++tries) {
    EXPECT_TRUE(goes(first));
    if (goes(later)) return true;
  }
  return false;
}

class ReceivedFragmentLife : public testing::Test {
 protected:
  ReceivedFragmentLife() {
    programs.add_slots(1, 1);
    for (const char* address : {"192.0.2.1", "2001:db8::1"}) {
      programs.local(address);
      programs.claim(tuple(address, 7, proto_udp));
    }
  }

  testing::AssertionResult steered(std::string_view program, const Bytes& frame) {
    return did(programs.run(program, frame), program == "lo_tx" ? TC_ACT_REDIRECT : std::uint32_t{XDP_REDIRECT},
               MSTACK_RX_STEERED);
  }
  testing::AssertionResult is_the_kernels(std::string_view program, const Bytes& frame) {
    const Outcome outcome = programs.run(program, frame);
    if (outcome.frame != frame) return testing::AssertionFailure() << "the frame was changed";
    return program == "lo_tx" ? did(outcome, static_cast<std::uint32_t>(TC_ACT_UNSPEC), MSTACK_LO_PASS)
                              : did(outcome, XDP_PASS, MSTACK_RX_PASS_FRAGMENT);
  }
  void ends(std::string_view program, const Bytes& first, const Bytes& later) {
    const auto goes = [&](const Bytes& frame) { return steered(program, frame); };
    for (int again = 0; again < 2; ++again) {
      EXPECT_TRUE(follows(goes, first, later));
      outlive();
      EXPECT_TRUE(is_the_kernels(program, later));
    }
  }

  Netns netns;
  Programs programs{netns.cookie(), {"uplink_rx", "lo_tx"}, short_life};
};

// 3,000 bytes of UDP from 198.51.100.2:40000 to 192.0.2.1:7.
const Bytes received_first4 =
    hex("02 00 00 00 00 01 02 00 00 00 00 02 08 00"
        "45 00 00 2c be ef 20 00 40 11 af 9a c6 33 64 02 c0 00 02 01"
        "9c 40 00 07 0b b8 12 34 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f");
const Bytes received_later4 =
    hex("02 00 00 00 00 01 02 00 00 00 00 02 08 00"
        "45 00 00 1c be ef 20 03 40 11 af a7 c6 33 64 02 c0 00 02 01"
        "10 11 12 13 14 15 16 17");
// The same from 2001:db8:f::2 to 2001:db8::1.
const Bytes received_first6 =
    hex("02 00 00 00 00 01 02 00 00 00 00 02 86 dd"
        "60 00 00 00 00 20 2c 40 20 01 0d b8 00 0f 00 00 00 00 00 00 00 00 00 02"
        "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01"
        "11 00 00 01 de ad be ef"
        "9c 40 00 07 0b b8 12 34 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f");
const Bytes received_later6 =
    hex("02 00 00 00 00 01 02 00 00 00 00 02 86 dd"
        "60 00 00 00 00 0b 2c 40 20 01 0d b8 00 0f 00 00 00 00 00 00 00 00 00 02"
        "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01"
        "11 00 00 18 de ad be ef 10 11 12");

TEST_F(ReceivedFragmentLife, FromTheWire) {
  ends("uplink_rx", received_first4, received_later4);
  ends("uplink_rx", received_first6, received_later6);
}

TEST_F(ReceivedFragmentLife, FromThisHost) {
  ends("lo_tx", received_first4, received_later4);
  ends("lo_tx", received_first6, received_later6);
}

class SentFragmentLife : public VportTx {
 protected:
  SentFragmentLife() : VportTx(short_life) {}
  void ends(const Bytes& first, const Bytes& later) {
    const auto goes = [&](const Bytes& frame) { return sent(transmit(frame), frame); };
    for (int again = 0; again < 2; ++again) {
      EXPECT_TRUE(follows(goes, first, later));
      outlive();
      EXPECT_TRUE(dropped(later, MSTACK_TX_DROP_FRAGMENT));
      const Outcome slow = programs.run("vport_tx_slow", later, host_end);
      EXPECT_TRUE(did(slow, TC_ACT_SHOT, MSTACK_TX_DROP_FRAGMENT, own_slot));
    }
  }
};

// 3,000 bytes of UDP from 192.0.2.1:7 to 192.0.2.99:40000.
TEST_F(SentFragmentLife, Ipv4) {
  ends(hex("02 4d 53 01 00 01 02 4d 53 00 00 01 08 00"
           "45 00 00 2c be ef 20 00 40 11 17 6d c0 00 02 01 c0 00 02 63"
           "00 07 9c 40 0b b8 12 34 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f"),
       hex("02 4d 53 01 00 01 02 4d 53 00 00 01 08 00"
           "45 00 00 17 be ef 00 03 40 11 37 7f c0 00 02 01 c0 00 02 63"
           "10 11 12"));
}

TEST_F(SentFragmentLife, Ipv6) {
  ends(hex("02 4d 53 01 00 01 02 4d 53 00 00 01 86 dd"
           "60 00 00 00 00 20 2c 40 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01"
           "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 99"
           "11 00 00 01 de ad be ef"
           "00 07 9c 40 0b b8 12 34 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f"),
       hex("02 4d 53 01 00 01 02 4d 53 00 00 01 86 dd"
           "60 00 00 00 00 0b 2c 40 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01"
           "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 99"
           "11 00 00 18 de ad be ef 10 11 12"));
}

}  // namespace
}  // namespace bpf_test
