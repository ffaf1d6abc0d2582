// SPDX-License-Identifier: BSD-2-Clause
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if.h>

#include <cstring>

#include "net/addresses.hpp"
#include "net/link.hpp"

namespace {

using mstack::net::format_host_end;
using mstack::net::HostEndName;
using mstack::net::parse_host_end;

TEST(HostEndName, RoundTrip) {
  for (const HostEndName name :
       {HostEndName{1, 0}, HostEndName{0, 0}, HostEndName{42, 7}, HostEndName{4294967295, 15}}) {
    const std::string text = format_host_end(name);
    EXPECT_LT(text.size(), static_cast<std::size_t>(IFNAMSIZ));
    EXPECT_EQ(name, parse_host_end(text)) << text;
  }
  EXPECT_EQ("ms17q3", format_host_end({.vport = 17, .queue = 3}));
}

TEST(HostEndName, ForeignNames) {
  for (const char* name : {"",       "m",      "ms",     "ms1",    "ms1q",    "msq1",   "ms-1q0",
                           "ms+1q0", "ms 1q0", "ms01q0", "ms1q00", "ms1q16",  "ms1q0x", "ms4294967296q0",
                           "xms1q0", "MS1q0",  "ms1Q0",  "eth0",   "ms1q0q0", "ms1.5q0"})
    EXPECT_FALSE(parse_host_end(name)) << name;
}

TEST(ClaimableAddress, LoopbackAndLinkLocalAreNot) {
  const auto claimable = [](const char* text) {
    mstack_address address = {};
    EXPECT_EQ(1, inet_pton(AF_INET6, text, &address)) << text;
    return mstack::net::is_claimable_address(address);
  };
  for (const char* text : {"::ffff:192.0.2.1", "::ffff:126.255.255.255", "::ffff:128.0.0.1", "::ffff:169.253.0.1",
                           "2001:db8::1", "fec0::1", "fc00::1", "::2"})
    EXPECT_TRUE(claimable(text)) << text;
  for (const char* text :
       {"::ffff:127.0.0.1", "::ffff:127.255.255.255", "::ffff:169.254.0.1", "::1", "fe80::1", "febf::1"})
    EXPECT_FALSE(claimable(text)) << text;
}

}  // namespace
