// SPDX-License-Identifier: BSD-2-Clause
//
// What a client gets of its vport: packet memory, and one AF_XDP socket a queue, bound and so not to be bound again.
#pragma once

#include <cstddef>
#include <cstdint>

#include "daemon/umem.hpp"
#include "fd.hpp"
#include "mstack/error.hpp"

namespace mstack::daemon {

// Memory of a fixed size: sealed, since a client that shrank it could not be told from one whose packets are lost.
Expected<Fd> create_packet_memory(std::uint64_t size);

struct XskOptions {
  int memory;            // all queues' packet memory
  std::uint64_t offset;  // of this queue's part
  std::uint32_t frames, frame_size, ring_size;
  UmemAccount account;
};
// In the calling thread's network namespace, which must be the stack ends'. Its rings are made, but it is not bound.
Expected<Fd> create_xsk(const XskOptions& options);
// To queue 0 of a stack end, which is up.
Expected<void> bind_xsk(int xsk, std::uint32_t ifindex, bool multi_buffer);

Expected<std::uint64_t> socket_cookie(int socket);
// Whether a descriptor that came from a client is an AF_XDP socket. Asks nothing that could block.
bool is_xsk(int descriptor);

}  // namespace mstack::daemon
