// SPDX-License-Identifier: BSD-2-Clause
// Nobody but its owner sends from a claimed tuple by an uplink. Here frames are of no socket; the owner's own is in
// selftests/net.
#include <linux/pkt_cls.h>

#include "netns.hpp"
#include "programs.hpp"

namespace bpf_test {
namespace {

const Bytes macs = hex("02 00 00 00 00 01 02 00 00 00 00 02");

class UplinkTx : public testing::Test {
 protected:
  UplinkTx() {
    for (const char* address : {"192.0.2.1", "2001:db8::1"}) {
      programs.local(address);
      for (const std::uint8_t protocol : every_protocol) programs.claim(tuple(address, 7, protocol));
    }
    Netns::ip("link add host0 type veth peer name stack0\nlink set host0 up\nlink set stack0 up");
    host_end = Netns::ifindex("host0");
  }

  // A whole frame behind its MACs.
  Outcome send(const Bytes& rest, std::uint32_t from = 0) { return programs.run("uplink_tx", macs + rest, from); }
  testing::AssertionResult passes(const Bytes& rest, std::uint32_t from = 0) {
    const Outcome outcome = send(rest, from);
    if (outcome.action != static_cast<std::uint32_t>(TC_ACT_UNSPEC))
      return testing::AssertionFailure() << "action " << outcome.action;
    if (!outcome.counted.empty()) return testing::AssertionFailure() << outcome.counted.begin()->first;
    if (outcome.frame != macs + rest) return testing::AssertionFailure() << "the frame was changed";
    return testing::AssertionSuccess();
  }
  testing::AssertionResult refused(const Bytes& rest, std::uint32_t from = 0) {
    return did(send(rest, from), TC_ACT_SHOT, MSTACK_GUARD_DROP_NOT_OWNER);
  }
  testing::AssertionResult unreadable(const Bytes& rest) {
    return did(send(rest), TC_ACT_SHOT, MSTACK_GUARD_DROP_HEADERS);
  }

  Netns netns;
  Programs programs{netns.cookie(), {"uplink_tx"}};
  std::uint32_t host_end = 0;
};

// As it is on the wire, with no help: from 192.0.2.1:7, and from port 8, which nobody claimed, to 198.51.100.2:40000.
const Bytes udp4 =
    hex("08 00 45 00 00 20 be ef 40 00 40 11 8f a6 c0 00 02 01 c6 33 64 02"
        "00 07 9c 40 00 0c 00 00 de ad be ef");
const Bytes udp4_unclaimed =
    hex("08 00 45 00 00 20 be ef 40 00 40 11 8f a6 c0 00 02 01 c6 33 64 02"
        "00 08 9c 40 00 0c 00 00 de ad be ef");
const Bytes tcp4 =
    hex("08 00 45 00 00 28 be ef 40 00 40 06 8f a9 c0 00 02 01 c6 33 64 02"
        "00 07 9c 40 00 00 00 01 00 00 00 00 50 02 ff ff 00 00 00 00");
const Bytes udp6 =
    hex("86 dd 60 00 00 00 00 0c 11 40 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01"
        "20 01 0d b8 00 0f 00 00 00 00 00 00 00 00 00 02"
        "00 07 9c 40 00 0c 00 00 de ad be ef");

TEST_F(UplinkTx, ANonOwnerSendsNothingFromAClaimedTuple) {
  for (const Bytes& frame : {udp4, tcp4, udp6}) EXPECT_TRUE(refused(frame));
  programs.unclaim(tuple("192.0.2.1", 7, proto_udp));
  EXPECT_TRUE(passes(udp4)) << "nobody's any more";
  EXPECT_TRUE(refused(tcp4)) << "of the same port, by another protocol";
}

TEST_F(UplinkTx, WhatNobodyClaimedPasses) {
  EXPECT_TRUE(passes(udp4_unclaimed));
  EXPECT_TRUE(passes(patch(udp4, 2 + 15, hex("09")))) << "192.0.2.9:7";
  EXPECT_TRUE(passes(patch(tcp4, 2 + 20, hex("00 08"))));
  EXPECT_TRUE(passes(patch(udp6, 2 + 40, hex("00 08"))));
  EXPECT_TRUE(passes(patch(udp4, 2 + 9, hex("01")))) << "ICMP has no ports";
  EXPECT_TRUE(passes(patch(udp4, 0, hex("88 b5")))) << "not IP";
}

TEST_F(UplinkTx, OfAWildcardIsWhatThisHostHas) {
  programs.claim(tuple("0.0.0.0", 9, proto_udp));
  const Bytes from_9 = patch(udp4, 2 + 20, hex("00 09"));
  EXPECT_TRUE(refused(from_9));
  EXPECT_TRUE(passes(patch(from_9, 2 + 15, hex("09")))) << "of 192.0.2.9, which is forwarded";
}

// What vport_tx_slow validated comes by a host end of the owner.
TEST_F(UplinkTx, TheOwnersStackPasses) {
  EXPECT_TRUE(refused(udp4, host_end)) << "no host end yet";
  programs.add_host_end(host_end, 1, 1);
  for (const Bytes& frame : {udp4, tcp4, udp6}) EXPECT_TRUE(passes(frame, host_end));
  EXPECT_TRUE(refused(udp4)) << "and nobody else";
  programs.add_host_end(host_end, 2, 2);
  EXPECT_TRUE(refused(udp4, host_end)) << "another's";
}

// A receiver takes off all tags that there are.
TEST_F(UplinkTx, SixTagsAreRead) {
  Bytes tags;
  for (int count = 1; count <= 8; ++count) {
    tags = tags + (count % 2 != 0 ? hex("81 00 00 05") : hex("88 a8 e0 00"));
    if (count <= 6) {
      EXPECT_TRUE(refused(tags + udp4)) << count;
      EXPECT_TRUE(passes(tags + udp4_unclaimed)) << count;
    } else {
      EXPECT_TRUE(unreadable(tags + udp4)) << count;
      EXPECT_TRUE(unreadable(tags + udp4_unclaimed)) << count;
    }
  }
}

// What is behind the end of a first fragment is no part of it: its ports are in the next one, whatever is read there.
TEST_F(UplinkTx, AnIpv4FirstFragmentThatEndsBeforeItsPorts) {
  const Bytes empty =
      hex("08 00 45 00 00 14 be ef 20 00 40 11 af b2 c0 00 02 01 c6 33 64 02"
          "00 08 9c 40 00 08 00 00");
  EXPECT_TRUE(unreadable(empty));
  EXPECT_TRUE(unreadable(patch(empty, 2 + 20, hex("00 07")))) << "not even ports that are claimed";
  for (const char* length : {"00 15", "00 16", "00 17"}) EXPECT_TRUE(unreadable(patch(empty, 2 + 2, hex(length))));
  EXPECT_TRUE(unreadable(cut(empty, 2 + 20)));
  EXPECT_TRUE(passes(patch(empty, 2 + 15, hex("09")))) << "not in this host's name";
  // And of one that has them they are what is looked at.
  const Bytes whole =
      hex("08 00 45 00 00 1c be ef 20 00 40 11 af aa c0 00 02 01 c6 33 64 02"
          "00 08 9c 40 00 08 00 00");
  EXPECT_TRUE(passes(whole));
  EXPECT_TRUE(refused(patch(whole, 2 + 20, hex("00 07"))));
  EXPECT_TRUE(passes(patch(patch(whole, 2 + 20, hex("00 07")), 2 + 6, hex("00 03")))) << "a later one has no ports";
}

TEST_F(UplinkTx, AnIpv6FirstFragmentThatEndsBeforeItsPorts) {
  const Bytes empty =
      hex("86 dd 60 00 00 00 00 08 2c 40 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01"
          "20 01 0d b8 00 0f 00 00 00 00 00 00 00 00 00 02"
          "11 00 00 01 de ad be ef"
          "00 08 9c 40 00 08 00 00");
  EXPECT_TRUE(unreadable(empty));
  EXPECT_TRUE(unreadable(patch(empty, 2 + 48, hex("00 07"))));
  EXPECT_TRUE(unreadable(cut(empty, 2 + 48)));
  EXPECT_TRUE(passes(patch(empty, 2 + 23, hex("09")))) << "not in this host's name";
  const Bytes whole = patch(empty, 2 + 5, hex("10"));
  EXPECT_TRUE(passes(whole));
  EXPECT_TRUE(refused(patch(whole, 2 + 48, hex("00 07"))));
  EXPECT_TRUE(passes(patch(patch(whole, 2 + 48, hex("00 07")), 2 + 43, hex("09")))) << "a later one has no ports";
}

// Six headers are walked; who hides behind more is refused if it is in this host's name.
TEST_F(UplinkTx, BehindIpv6HeadersThereArePortsToo) {
  const Bytes rest = slice(udp6, 2 + 40, 12);
  Bytes headers;
  for (int count = 1; count <= 7; ++count) {
    headers = hex(count == 1 ? "11 00 01 04 00 00 00 00" : "3c 00 01 04 00 00 00 00") + headers;
    const Bytes frame = patch(patch(slice(udp6, 0, 2 + 40), 2 + 6, hex("3c")), 2 + 5,
                              Bytes{static_cast<std::uint8_t>(headers.size() + 12)}) +
                        headers + rest;
    if (count <= 6)
      EXPECT_TRUE(refused(frame)) << count;
    else
      EXPECT_TRUE(unreadable(frame)) << count;
  }
}

}  // namespace
}  // namespace bpf_test
