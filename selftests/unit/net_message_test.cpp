// SPDX-License-Identifier: BSD-2-Clause
#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "net/message.hpp"

namespace mstack::net {
namespace {

// A datagram of 32-bit words, as the kernel aligns it.
class Datagram {
 public:
  Datagram(std::initializer_list<std::uint32_t> words) : words_(words) {}
  [[nodiscard]] std::span<const std::byte> bytes() const { return std::as_bytes(std::span(words_)); }
  [[nodiscard]] const nlmsghdr& message() const { return *reinterpret_cast<const nlmsghdr*>(words_.data()); }

 private:
  std::vector<std::uint32_t> words_;
};

int count(std::span<const std::byte> datagram) {
  Messages messages(datagram);
  int found = 0;
  while (messages.next()) ++found;
  return found;
}

TEST(NetlinkMessages, OneThatIsNotWholeIsTheEnd) {
  EXPECT_EQ(count(Datagram{16, 0, 0, 0, 20, 0, 0, 0, 7}.bytes()), 2);
  EXPECT_EQ(count(Datagram{16, 0, 0, 0, 24, 0, 0, 0, 7}.bytes()), 1);
  // libmnl 1.0.4 takes lengths from 2^31 on for negative, and so for short enough.
  for (const std::uint32_t length : {0u, 15u, 17u, 0x7fffffffu, 0x80000000u, 0xffffffffu})
    EXPECT_EQ(count(Datagram{length, 0, 0, 0}.bytes()), 0) << length;
  EXPECT_EQ(count(Datagram{16, 0, 0}.bytes()), 0);
  EXPECT_EQ(count({}), 0);
}

TEST(NetlinkMessages, AHeaderThatIsNotWholeIsNone) {
  EXPECT_EQ(header_of<std::uint32_t>(Datagram{20, 0, 0, 0, 7}.message()), 7u);
  EXPECT_FALSE(header_of<std::uint32_t>(Datagram{19, 0, 0, 0, 7}.message()));
  EXPECT_FALSE(header_of<std::uint32_t>(Datagram{16, 0, 0, 0, 7}.message()));
}

TEST(NetlinkMessages, AttributesEndWithTheMessage) {
  const auto visited = [](const Datagram& datagram, std::size_t header) {
    int found = 0;
    for_each_attribute(datagram.message(), header, [&found](const nlattr*) { ++found; });
    return found;
  };
  EXPECT_EQ(visited({24, 0, 0, 0, 0x00010008, 7}, 0), 1);
  EXPECT_EQ(visited({24, 0, 0, 0, 0x00010009, 7}, 0), 0) << "longer than the message";
  EXPECT_EQ(visited({24, 0, 0, 0, 0x00010003, 7}, 0), 0) << "shorter than itself";
  EXPECT_EQ(visited({20, 0, 0, 0, 0x00010008, 7}, 0), 0) << "behind the message's end";
  EXPECT_EQ(visited({24, 0, 0, 0, 0x00010008, 7}, 64), 0) << "the header is longer than the message";
}

TEST(NetlinkMessages, ValuesHaveTheirSize) {
  const Datagram datagram{28, 0, 0, 0, 0x0001000a, 0x64636261, 0x6665};
  for_each_attribute(datagram.message(), 0, [](const nlattr* attribute) {
    EXPECT_EQ(text_of(attribute), "abcdef") << "without a NUL it ends with the attribute";
    EXPECT_FALSE(value_as<std::uint32_t>(attribute));
    EXPECT_FALSE(value_as<std::uint64_t>(attribute));
    EXPECT_TRUE((value_as<std::array<char, 6>>(attribute)));
  });
}

}  // namespace
}  // namespace mstack::net
