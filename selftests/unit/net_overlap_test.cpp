// SPDX-License-Identifier: BSD-2-Clause
// Who overlaps whom: every pair of ways to be bound, against a table written by hand.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <cstring>

#include "net/sock_diag.hpp"

namespace {

using mstack::net::Holder;
using mstack::net::overlaps;

struct Binding {
  const char* text;
  const char* address;
  bool v6only;
};

// The index in this table is the one in `meets` below.
constexpr Binding bindings[] = {
    {"0.0.0.0", "::ffff:0.0.0.0", false},
    {"192.0.2.1", "::ffff:192.0.2.1", false},
    {"192.0.2.2", "::ffff:192.0.2.2", false},
    {":: dual-stack", "::", false},
    {":: v6only", "::", true},
    {"2001:db8::1", "2001:db8::1", false},
    {"2001:db8::1 v6only", "2001:db8::1", true},
    {"2001:db8::2", "2001:db8::2", false},
};

constexpr bool meets[8][8] = {
    // 0.0.0.0  .1  .2  ::  ::6  db8::1  db8::1/6  db8::2
    {true, true, true, true, false, false, false, false},   // 0.0.0.0
    {true, true, false, true, false, false, false, false},  // 192.0.2.1
    {true, false, true, true, false, false, false, false},  // 192.0.2.2
    {true, true, true, true, true, true, true, true},       // :: dual-stack
    {false, false, false, true, true, true, true, true},    // :: v6only
    {false, false, false, true, true, true, true, false},   // 2001:db8::1
    {false, false, false, true, true, true, true, false},   // 2001:db8::1 v6only
    {false, false, false, true, true, false, false, true},  // 2001:db8::2
};

mstack_tuple tuple_of(const Binding& binding, std::uint16_t port, std::uint8_t protocol) {
  mstack_tuple tuple = {};
  EXPECT_EQ(1, inet_pton(AF_INET6, binding.address, tuple.addr));
  tuple.port = htons(port);
  tuple.protocol = protocol;
  return tuple;
}

TEST(Overlap, EveryPairOfBindings) {
  for (std::size_t ours = 0; ours < std::size(bindings); ++ours) {
    for (std::size_t theirs = 0; theirs < std::size(bindings); ++theirs) {
      SCOPED_TRACE(std::string(bindings[ours].text) + " against " + bindings[theirs].text);
      const auto tuple = tuple_of(bindings[ours], 7, IPPROTO_UDP);
      Holder holder;
      holder.tuple = tuple_of(bindings[theirs], 7, IPPROTO_UDP);
      holder.v6only = bindings[theirs].v6only;
      EXPECT_EQ(meets[ours][theirs], overlaps(tuple, bindings[ours].v6only, holder));
      EXPECT_EQ(meets[theirs][ours], meets[ours][theirs]) << "the table itself";

      holder.tuple = tuple_of(bindings[theirs], 8, IPPROTO_UDP);
      EXPECT_FALSE(overlaps(tuple, bindings[ours].v6only, holder)) << "another port";
      holder.tuple = tuple_of(bindings[theirs], 7, IPPROTO_TCP);
      EXPECT_FALSE(overlaps(tuple, bindings[ours].v6only, holder)) << "another protocol";
    }
  }
}

TEST(Overlap, AddressesThatOnlyLookMapped) {
  // Not IPv4: one bit off ::ffff:0:0/96, and the deprecated IPv4-compatible form.
  for (const char* address : {"::fffe:192.0.2.1", "::192.0.2.1", "1::ffff:192.0.2.1", "0:0:0:1:0:ffff:192.0.2.1"}) {
    SCOPED_TRACE(address);
    Holder holder;
    holder.tuple = tuple_of({"", address, false}, 7, IPPROTO_UDP);
    EXPECT_FALSE(overlaps(tuple_of(bindings[0], 7, IPPROTO_UDP), false, holder));
    EXPECT_FALSE(overlaps(tuple_of(bindings[1], 7, IPPROTO_UDP), false, holder));
    EXPECT_TRUE(overlaps(tuple_of(bindings[4], 7, IPPROTO_UDP), true, holder));
  }
}

}  // namespace
