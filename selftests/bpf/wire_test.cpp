// SPDX-License-Identifier: BSD-2-Clause
// The frames that the other tests build, against frames written down by hand.
#include "wire.hpp"

#include <gtest/gtest.h>

namespace bpf_test {
namespace {

TEST(Wire, Udp4) {
  EXPECT_EQ(Packet().bytes(), hex("02 00 00 00 00 01  02 00 00 00 00 02  08 00"
                                  "45 00 00 20 12 34 40 00 40 11 3c 62  c6 33 64 02  c0 00 02 01"
                                  "9c 40 00 07 00 0c d9 b9  de ad be ef"));
}

TEST(Wire, Tcp6WithAnExtensionHeader) {
  Packet packet;
  packet.from = "2001:db8:f::2";
  packet.to = "2001:db8::1";
  packet.protocol = proto_tcp;
  packet.payload = {};
  packet.extensions = {{60, hex("00 00 01 04 00 00 00 00")}};
  EXPECT_EQ(packet.bytes(), hex("02 00 00 00 00 01  02 00 00 00 00 02  86 dd"
                                "60 00 00 00 00 1c 3c 40"
                                "20 01 0d b8 00 0f 00 00 00 00 00 00 00 00 00 02"
                                "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01"
                                "06 00 01 04 00 00 00 00"
                                "9c 40 00 07 01 02 03 04 05 06 07 08 50 18 ff ff a7 ed 00 00"));
}

// RFC 1071, section 3.
TEST(Wire, Checksum) {
  EXPECT_EQ(internet_checksum(hex("00 01 f2 03 f4 f5 f6 f7")), 0x220d);
}

}  // namespace
}  // namespace bpf_test
