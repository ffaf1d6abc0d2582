// SPDX-License-Identifier: BSD-2-Clause
#include "queue_parts.hpp"

#include <linux/if_xdp.h>
#include <sys/socket.h>

#include <cerrno>

#include "mstack_abi.h"
#include "protocol.hpp"

namespace mstack::detail {
namespace {

static_assert(sizeof(Descriptor) == sizeof(xdp_desc) && offsetof(Descriptor, address) == offsetof(xdp_desc, addr) &&
              offsetof(Descriptor, length) == offsetof(xdp_desc, len) &&
              offsetof(Descriptor, options) == offsetof(xdp_desc, options));
static_assert(ring_need_wakeup == XDP_RING_NEED_WAKEUP);
#ifdef XDP_PKT_CONTD  // 6.6
static_assert(descriptor_continues == XDP_PKT_CONTD);
#endif
static_assert(max_packet_frames == protocol::max_packet_frames);

template <class Entry>
Expected<Mapping> map_ring(int socket, const xdp_ring_offset& offsets, off_t page_offset, std::uint32_t size,
                           RingMemory<Entry>& memory, const char* name) {
  auto mapping = Mapping::shared(socket, offsets.desc + size * sizeof(Entry), page_offset, name);
  // The kernel refuses a length that exceeds the ring: mstackd made a smaller one than it said.
  if (!mapping) return mapping;
  const auto at = [&](std::uint64_t offset) { return reinterpret_cast<std::uint32_t*>(mapping->data() + offset); };
  memory = {.producer = at(offsets.producer),
            .consumer = at(offsets.consumer),
            .flags = at(offsets.flags),
            .entries = reinterpret_cast<Entry*>(mapping->data() + offsets.desc),
            .size = size};
  return mapping;
}

Expected<void> map_rings(QueueParts& parts) {
  const int socket = parts.socket.get();
  xdp_mmap_offsets offsets = {};
  socklen_t length = sizeof(offsets);
  if (::getsockopt(socket, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &length) < 0)
    return system_failure(errno, "cannot read the layout of the AF_XDP rings");
  if (length != sizeof(offsets))
    return failure(EPROTO, "the kernel's AF_XDP rings have no flags: Linux 5.4 is too old");

  const std::uint32_t size = parts.sizes.ring_size;
  auto rx = map_ring(socket, offsets.rx, XDP_PGOFF_RX_RING, size, parts.memory.rx, "the RX ring");
  if (!rx) return std::unexpected(rx.error());
  auto tx = map_ring(socket, offsets.tx, XDP_PGOFF_TX_RING, size, parts.memory.tx, "the TX ring");
  if (!tx) return std::unexpected(tx.error());
  auto fill = map_ring(socket, offsets.fr, static_cast<off_t>(XDP_UMEM_PGOFF_FILL_RING), size, parts.memory.fill,
                       "the fill ring");
  if (!fill) return std::unexpected(fill.error());
  auto completion = map_ring(socket, offsets.cr, static_cast<off_t>(XDP_UMEM_PGOFF_COMPLETION_RING), size,
                             parts.memory.completion, "the completion ring");
  if (!completion) return std::unexpected(completion.error());
  parts.rx = std::move(*rx);
  parts.tx = std::move(*tx);
  parts.fill = std::move(*fill);
  parts.completion = std::move(*completion);
  return {};
}

Expected<void> check_socket(int socket) {
  int domain = 0;
  socklen_t length = sizeof(domain);
  if (::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &length) < 0 || domain != AF_XDP)
    return failure(EPROTO,
                   "mstackd sent a descriptor that is not an AF_XDP socket: is it another version of MultiStack?");
  return {};
}

MacAddress mac_of(std::uint8_t end, std::uint32_t slot) {
  MacAddress mac;
  mstack_mac(mac.data(), end, slot);
  return mac;
}

}  // namespace

Expected<std::unique_ptr<QueueParts>> QueueParts::make(const QueueSizes& sizes, Fd socket, int umem_fd) {
  if (auto checked = check_socket(socket.get()); !checked) return std::unexpected(checked.error());
  auto parts = std::make_unique<QueueParts>();
  parts->sizes = sizes;
  parts->mac = mac_of(MSTACK_MAC_STACK_END, sizes.slot);
  parts->gateway_mac = mac_of(MSTACK_MAC_HOST_END, sizes.slot);

  const std::size_t bytes = std::size_t{sizes.frames} * sizes.frame_size;
  auto umem = Mapping::shared(umem_fd, bytes, static_cast<off_t>(bytes * sizes.index), "the UMEM");
  if (!umem) return std::unexpected(umem.error());
  parts->umem = std::move(*umem);
  parts->socket = std::move(socket);
  parts->memory.umem = reinterpret_cast<std::uint8_t*>(parts->umem.data());
  parts->memory.frames = sizes.frames;
  parts->memory.frame_size = sizes.frame_size;
  parts->memory.multi_buffer = sizes.multi_buffer;
  if (auto mapped = map_rings(*parts); !mapped) return std::unexpected(mapped.error());
  return parts;
}

}  // namespace mstack::detail
