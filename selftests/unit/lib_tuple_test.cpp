// SPDX-License-Identifier: BSD-2-Clause
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>

#include "messages.hpp"
#include "mstack/tuple.hpp"

namespace mstack {
namespace {

TEST(Address, ParsesAndPrintsIpv4AsMapped) {
  const auto address = Address::parse("192.0.2.1");
  ASSERT_TRUE(address);
  const std::array<std::uint8_t, 16> mapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1};
  EXPECT_EQ(address->bytes, mapped);
  EXPECT_TRUE(address->is_ipv4());
  EXPECT_EQ(address->ipv4(), 0xc0000201u);
  EXPECT_EQ(Address::ipv4(0xc0000201), *address);
  EXPECT_EQ(address->to_string(), "192.0.2.1");
  EXPECT_EQ(Address::parse("::ffff:192.0.2.1"), *address);
}

TEST(Address, ParsesAndPrintsIpv6) {
  const auto address = Address::parse("2001:DB8:0:0::0001");
  ASSERT_TRUE(address);
  EXPECT_FALSE(address->is_ipv4());
  EXPECT_EQ(address->to_string(), "2001:db8::1");
  EXPECT_EQ(address->bytes[0], 0x20);
  EXPECT_EQ(address->bytes[15], 1);
}

TEST(Address, KnowsTheTwoWildcardsApart) {
  EXPECT_TRUE(Address::parse("0.0.0.0")->is_wildcard());
  EXPECT_TRUE(Address::parse("::")->is_wildcard());
  EXPECT_NE(*Address::parse("0.0.0.0"), *Address::parse("::"));
  EXPECT_FALSE(Address::parse("0.0.0.1")->is_wildcard());
  EXPECT_FALSE(Address::parse("::1")->is_wildcard());
}

TEST(Address, RefusesWhatIsNone) {
  const std::string_view refused[] = {"",
                                      " ",
                                      "localhost",
                                      "192.0.2",
                                      "192.0.2.1.",
                                      "192.0.2.256",
                                      "192.0.2.01",
                                      "0xc0.0.2.1",
                                      "3221225985",
                                      " 192.0.2.1",
                                      "192.0.2.1 ",
                                      "192.0.2.1\n",
                                      "-1.0.2.1",
                                      ":",
                                      ":::",
                                      "2001:db8::1::2",
                                      "2001:db8:::",
                                      "12345::",
                                      "g::",
                                      "[::1]",
                                      "::1%lo",
                                      "fe80::1%1",
                                      "::ffff:1.2.3",
                                      "1:2:3:4:5:6:7:8:9",
                                      "192.0.2.1/24",
                                      "::/0"};
  for (const auto text : refused) {
    const auto address = Address::parse(text);
    ASSERT_FALSE(address) << text;
    EXPECT_EQ(address.error().code, EINVAL);
  }
  EXPECT_FALSE(Address::parse(std::string_view("192.0.2.1\0", 10)));
  EXPECT_FALSE(Address::parse(std::string_view("192.0.2.1\0junk", 14)));
  EXPECT_FALSE(Address::parse(std::string(1 << 20, '1')));
}

TEST(Address, PutsNothingUnprintableIntoAMessage) {
  const auto address = Address::parse("\x1b[2J\r\n192.0.2.1");
  ASSERT_FALSE(address);
  for (const char c : address.error().what) EXPECT_TRUE(c >= ' ' && c <= '~');
  EXPECT_LT(Address::parse(std::string(1 << 20, 'a')).error().what.size(), 200u);
}

TEST(Tuple, ParsesAndPrintsBothFamilies) {
  const auto ipv4 = udp("192.0.2.1:7");
  ASSERT_TRUE(ipv4);
  EXPECT_EQ(ipv4->port, 7);
  EXPECT_EQ(ipv4->protocol, Protocol::udp);
  EXPECT_EQ(ipv4->to_string(), "192.0.2.1:7");
  EXPECT_EQ(ipv4, udp("192.0.2.1", 7));
  const auto ipv6 = tcp("[2001:db8::1]:65535");
  ASSERT_TRUE(ipv6);
  EXPECT_EQ(ipv6->port, 65535);
  EXPECT_EQ(ipv6->protocol, Protocol::tcp);
  EXPECT_EQ(ipv6->to_string(), "[2001:db8::1]:65535");
  EXPECT_EQ(tcp("[::]:0")->to_string(), "[::]:0");
  EXPECT_EQ(udplite("192.0.2.1", 7)->protocol, Protocol::udplite);
  EXPECT_EQ(to_string(Protocol::udplite), "udplite");
  EXPECT_EQ(dccp("192.0.2.1", 7)->protocol, Protocol::dccp);
  EXPECT_EQ(to_string(Protocol::dccp), "dccp");
}

TEST(Tuple, RefusesWhatIsNone) {
  const std::string_view refused[] = {"",
                                      ":",
                                      "192.0.2.1",
                                      "192.0.2.1:",
                                      ":7",
                                      "192.0.2.1:65536",
                                      "192.0.2.1:-1",
                                      "192.0.2.1:+7",
                                      "192.0.2.1: 7",
                                      "192.0.2.1:7 ",
                                      "192.0.2.1:0x7",
                                      "192.0.2.1:7:7",
                                      "192.0.2.1:99999999999999999999",
                                      "2001:db8::1:7",
                                      "[2001:db8::1]",
                                      "[2001:db8::1]7",
                                      "[2001:db8::1:7",
                                      "2001:db8::1]:7",
                                      "[192.0.2.1]:7",
                                      "[]:7",
                                      "[[::1]]:7",
                                      "[::1]:",
                                      "192.0.2.1:http"};
  for (const auto text : refused) {
    EXPECT_FALSE(udp(text)) << text;
    EXPECT_FALSE(tcp(text)) << text;
  }
  EXPECT_FALSE(udp("nowhere", 7));
}

TEST(Tuple, ParsingSurvivesRandomText) {
  std::mt19937 random(1);
  const std::string_view letters("0123456789abcdef:.[]%\0 \n/-", 26);
  for (int i = 0; i < 100000; ++i) {
    std::string text(random() % 48, '\0');
    for (char& c : text) c = letters[random() % letters.size()];
    const auto tuple = udp(text);
    // What is taken has one printed form, and that is taken as the same.
    if (tuple) {
      EXPECT_EQ(udp(tuple->to_string()), tuple) << text;
    }
  }
}

TEST(Tuple, HasOneWireForm) {
  const mstack_tuple wire = protocol::to_wire(*tcp("192.0.2.1:258"));
  const std::uint8_t expected[20] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1, 1, 2, 6, 0};
  EXPECT_EQ(std::memcmp(&wire, expected, sizeof(wire)), 0);
  for (const char* text : {"192.0.2.1:258", "[2001:db8::1]:1", "[::]:65535", "0.0.0.0:0"}) {
    EXPECT_EQ(protocol::from_wire(protocol::to_wire(*udp(text))), *udp(text));
    EXPECT_EQ(protocol::from_wire(protocol::to_wire(*tcp(text))), *tcp(text));
  }
}

}  // namespace
}  // namespace mstack
