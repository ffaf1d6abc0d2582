// SPDX-License-Identifier: BSD-2-Clause
// An AF_XDP socket with the least there is to it: three rings, all to receive with, and a UMEM of a few frames.
#pragma once

#include <linux/if_xdp.h>

#include <cstdint>
#include <optional>
#include <string>

#include "fd.hpp"
#include "wire.hpp"

namespace bpf_test {

class Xsk {
 public:
  // Bound to a queue of the interface; throws std::system_error.
  explicit Xsk(const std::string& interface, std::uint32_t queue = 0, std::uint16_t mode = XDP_COPY);
  ~Xsk() { close(); }
  Xsk(const Xsk&) = delete;
  Xsk& operator=(const Xsk&) = delete;

  int fd() const { return socket_.get(); }
  bool zero_copy() const;
  // The next frame received, if one comes within ten seconds.
  std::optional<Bytes> receive();
  // The descriptor, and the mapped ring: each holds the socket.
  void close();
  void close_descriptor() { socket_.reset(); }

 private:
  static constexpr std::uint32_t frame_count = 16;
  static constexpr std::uint32_t frame_size = 2048;

  std::uint8_t* map_ring(std::size_t size, std::uint64_t offset);

  std::uint8_t* umem_ = nullptr;
  std::uint8_t* receive_ring_ = nullptr;
  std::size_t receive_ring_size_ = 0;
  std::uint64_t producer_ = 0;  // offsets into the ring
  std::uint64_t consumer_ = 0;
  std::uint64_t descriptors_ = 0;
  Fd socket_;
};

}  // namespace bpf_test
