// SPDX-License-Identifier: BSD-2-Clause
//
// What lwIP's core calls: the clock, randomness, checksums. See port/arch/cc.h and port/hooks.h.
#include <lwip/def.h>
#include <lwip/sys.h>
#include <sys/random.h>
#include <time.h>

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>

#include "hooks.h"

namespace {

template <class T>
T random_value() {
  T value = {};
  // Up to 256 bytes come whole or not at all, and without a wait once the system is up.
  if (::getrandom(&value, sizeof(value), 0) != sizeof(value)) std::abort();
  return value;
}

// SipHash-2-4 (Aumasson and Bernstein, 2012) of whole 64-bit words.
class SipHash {
 public:
  explicit SipHash(const std::array<std::uint64_t, 2>& key)
      : v0_(key[0] ^ 0x736f6d6570736575),
        v1_(key[1] ^ 0x646f72616e646f6d),
        v2_(key[0] ^ 0x6c7967656e657261),
        v3_(key[1] ^ 0x7465646279746573) {}

  std::uint64_t operator()(std::span<const std::uint64_t> words) {
    for (const std::uint64_t word : words) add(word);
    add(std::uint64_t{words.size_bytes()} << 56);
    v2_ ^= 0xff;
    for (int i = 0; i < 4; ++i) round();
    return v0_ ^ v1_ ^ v2_ ^ v3_;
  }

 private:
  void add(std::uint64_t word) {
    v3_ ^= word;
    round();
    round();
    v0_ ^= word;
  }
  void round() {
    v0_ += v1_;
    v1_ = std::rotl(v1_, 13) ^ v0_;
    v0_ = std::rotl(v0_, 32);
    v2_ += v3_;
    v3_ = std::rotl(v3_, 16) ^ v2_;
    v0_ += v3_;
    v3_ = std::rotl(v3_, 21) ^ v0_;
    v2_ += v1_;
    v1_ = std::rotl(v1_, 17) ^ v2_;
    v2_ = std::rotl(v2_, 32);
  }
  std::uint64_t v0_, v1_, v2_, v3_;
};

std::uint64_t nanoseconds() {
  timespec now = {};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

// Ones' complement addition: the carry comes back in.
std::uint64_t add_with_carry(std::uint64_t sum, std::uint64_t word) {
  sum += word;
  return sum + (sum < word);
}

std::uint64_t word_at(const std::uint8_t* bytes) {
  std::uint64_t word;
  std::memcpy(&word, bytes, sizeof(word));
  return word;
}

}  // namespace

extern "C" {

u32_t sys_now() {
  return static_cast<u32_t>(nanoseconds() / 1'000'000);
}

u32_t sys_jiffies() {
  return sys_now();
}

uint32_t mstack_lwip_random() {
  return random_value<std::uint32_t>();
}

u32_t mstack_lwip_initial_sequence(const ip_addr_t* local, u16_t local_port, const ip_addr_t* remote,
                                   u16_t remote_port) {
  static const auto key = random_value<std::array<std::uint64_t, 2>>();
  std::array<std::uint64_t, 5> words = {};
  const auto put = [&](std::size_t at, const ip_addr_t* address) {
    if (IP_IS_V6(address))
      std::memcpy(&words[at], ip_2_ip6(address)->addr, 16);
    else
      words[at] = ip4_addr_get_u32(ip_2_ip4(address));
  };
  put(0, local);
  put(2, remote);
  words[4] = std::uint64_t{local_port} << 16 | remote_port;
  // RFC 6528: the clock of RFC 9293, which goes on by one every 4 us, and the hash.
  return static_cast<u32_t>(nanoseconds() / 4096) + static_cast<u32_t>(SipHash(key)(words));
}

// The sum of 16-bit words in memory order, folded, not yet complemented. Four chains of additions, since one alone
// would wait for its own carry; lwIP's own routine adds 32 bits at a time.
uint16_t mstack_lwip_checksum(const void* data, int length) {
  const auto* bytes = static_cast<const std::uint8_t*>(data);
  auto left = static_cast<std::size_t>(length);
  std::array<std::uint64_t, 4> sums = {};
  for (; left >= 32; left -= 32, bytes += 32)
    for (std::size_t i = 0; i < 4; ++i) sums[i] = add_with_carry(sums[i], word_at(bytes + 8 * i));
  std::uint64_t sum = add_with_carry(add_with_carry(sums[0], sums[1]), add_with_carry(sums[2], sums[3]));
  for (; left >= 8; left -= 8, bytes += 8) sum = add_with_carry(sum, word_at(bytes));
  std::uint64_t rest = 0;
  std::memcpy(&rest, bytes, left);
  sum = add_with_carry(sum, rest);
  for (int i = 0; i < 3; ++i) sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + ((sum >> 32) & 0xffff) + (sum >> 48);
  return static_cast<std::uint16_t>(sum);
}

}  // extern "C"
