// SPDX-License-Identifier: BSD-2-Clause
//
// Datagrams cut up and put together again, as RFC 791 and RFC 8200 have it.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "support/frame.hpp"

namespace mstack::test {

// The fragments of a packet that build() made, each with at most `mtu` bytes behind its Ethernet header.
std::vector<Bytes> cut_up(const Bytes& frame, std::size_t mtu, std::uint32_t id);

// What is left of frames when the fragments among them are put together. Of one datagram; whole frames are ignored.
class Reassembly {
 public:
  void add(std::span<const std::uint8_t> frame);
  // The packet, once it is whole: as a frame without fragments.
  [[nodiscard]] std::optional<Packet> whole() const;
  [[nodiscard]] std::size_t fragments() const { return parts_.size(); }

 private:
  Bytes headers_;  // Ethernet's and IP's, of the first fragment
  std::uint8_t protocol_ = 0;
  std::map<std::size_t, Bytes> parts_;  // by offset
  std::optional<std::size_t> size_;
};

}  // namespace mstack::test
