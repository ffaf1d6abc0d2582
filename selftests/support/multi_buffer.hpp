// SPDX-License-Identifier: BSD-2-Clause
//
// AF_XDP with packets of several frames, by hand: what a client of its own making can say to the kernel.
#pragma once

#include <cstdint>
#include <span>

#include "support/raw_client.hpp"

namespace mstack::test {

inline constexpr std::uint32_t goes_on = 1;  // XDP_PKT_CONTD

struct TxDescriptor {
  std::uint64_t address;
  std::uint32_t length;
  std::uint32_t options;
};

// Whether the kernel knows XDP_USE_SG. Asked of a socket that cannot be bound anyway.
bool kernel_has_multi_buffer();

// Queue 0 of a vport of 64 frames and as many ring entries: its memory and its TX ring.
class RawTx {
 public:
  explicit RawTx(const RawClient::Answer& opened);
  RawTx(const RawTx&) = delete;
  RawTx& operator=(const RawTx&) = delete;
  ~RawTx();

  [[nodiscard]] std::span<std::uint8_t> memory() const { return memory_; }
  // Puts them into the ring and asks the kernel to send until it has taken all.
  void send(std::span<const TxDescriptor> descriptors);

 private:
  int socket_;
  std::span<std::uint8_t> memory_, ring_, completions_;
  std::uint32_t *producer_, *consumer_;
  std::uint32_t *completed_, *taken_;  // producer and consumer of the completion ring
  TxDescriptor* entries_;
};

}  // namespace mstack::test
