// SPDX-License-Identifier: BSD-2-Clause
//
// What a queue owns: descriptors and mappings. Declared so that destruction is teardown: rings, socket, UMEM.
#pragma once

#include <cstdint>
#include <memory>

#include "fd.hpp"
#include "mapping.hpp"
#include "mstack/detail/data_path.hpp"
#include "mstack/queue.hpp"

namespace mstack::detail {

struct QueueSizes {
  std::uint32_t index;
  std::uint32_t frames, frame_size, ring_size;
  std::uint32_t mtu;
  bool multi_buffer;
  std::uint32_t slot;
};

struct QueueParts {
  QueueSizes sizes = {};
  MacAddress mac = {}, gateway_mac = {};
  Mapping umem;
  Fd socket;
  Mapping rx, tx, fill, completion;
  DataPathMemory memory;

  // From an AF_XDP socket that mstackd has bound, and the UMEM of the whole vport. EPROTO if they are not what was
  // agreed.
  static Expected<std::unique_ptr<QueueParts>> make(const QueueSizes& sizes, Fd socket, int umem_fd);
};

}  // namespace mstack::detail
