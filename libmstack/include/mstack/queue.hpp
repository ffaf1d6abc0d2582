// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "mstack/detail/data_path.hpp"
#include "mstack/error.hpp"
#include "mstack/export.hpp"
#include "mstack/frame.hpp"
#include "mstack/tuple.hpp"

namespace mstack {

namespace detail {
struct QueueParts;
}

using MacAddress = std::array<std::uint8_t, 6>;

/// Since the queue was made. The last six are the kernel's own, struct xdp_statistics.
struct QueueStatistics {
  std::uint64_t rx_frames = 0, rx_bytes = 0;
  std::uint64_t tx_frames = 0, tx_bytes = 0;  ///< put into the TX ring
  std::uint64_t tx_completed = 0;             ///< frames of these that the kernel gave back
  std::uint64_t tx_ring_full = 0;             ///< times that transmit() found no room
  std::uint64_t misused = 0;      ///< frames passed to transmit(), keep() or give_back() that were not the caller's
  std::uint64_t bad_entries = 0;  ///< ring entries from the kernel that were refused: always 0
  std::uint64_t kicks = 0;        ///< system calls made to send
  std::uint64_t kernel_rx_dropped = 0;
  std::uint64_t kernel_rx_invalid = 0;
  std::uint64_t kernel_tx_invalid = 0;
  std::uint64_t kernel_rx_ring_full = 0;
  std::uint64_t kernel_fill_ring_empty = 0;
  std::uint64_t kernel_tx_ring_empty = 0;
};

/// The queue, of a vport's `queues` (1 to 16), on which the packets of a flow arrive: those from `remote` to `local`,
/// whatever CPU received them. A stack of one thread a queue sends a flow's packets by the same queue, and so has both
/// directions of it in one thread; a client can choose its local port so that the flow is its own thread's. Any thread.
/// The two protocols are not looked at. With wildcards as `local` it means nothing: take the address of the packet.
[[nodiscard]] MSTACK_API std::size_t queue_of(const Tuple& local, const Tuple& remote, std::size_t queues);

/// One queue of a vport: an AF_XDP socket with its four rings and its own part of the UMEM. Packets of one flow always
/// come on the same queue, queue_of(); any queue may send from any tuple of the vport.
///
/// Thread-safety: none, on purpose. One thread uses a queue; different queues need no synchronisation at all.
/// Cost: receive(), allocate(), transmit(), keep() and give_back() allocate nothing and make no system call (but see
/// receive()); flush() makes one for every 32 frames, the kernel's own batch for a copying AF_XDP socket.
///
/// The calls follow the rings of the kernel's AF_XDP; the callback over frames in place follows DPDK's and netmap's
/// habit of handling a batch before anything is published.
class MSTACK_API alignas(64) Queue {
 public:
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  /// Calls `callback(Frame)` for each of at most `max` received frames, and returns their number, 0 if none is there:
  /// it does not wait. The callback may change the frame in place, transmit() it or keep() it; else it is free again
  /// when the callback returns. Callbacks may call everything of this queue but receive(), flush(), wait()
  /// and drain().
  /// A system call is made only for a driver that asks for it to refill (XDP_RING_NEED_WAKEUP on the fill ring).
  ///
  /// With VportOptions::multi_buffer a packet may be several frames. `callback(std::span<Frame>)` is given all of one
  /// packet at once; `callback(Frame)` each in turn, and has to look at Frame::continues(). No packet is left half
  /// received: the last one may bring up to max_packet_frames - 1 frames more than `max`.
  template <class Callback>
  requires detail::FrameCallback<Callback> || detail::PacketCallback<Callback> std::size_t receive(
      std::size_t max, Callback&& callback) {
    const std::size_t count = path_.receive(max, callback);
    if (count != 0 && path_.fill_needs_wakeup()) [[unlikely]]
      wake_fill();
    return count;
  }

  /// A free frame, of size() 0, for the caller to resize(), write and transmit(). Nothing if all frames are in use:
  /// then flush(), and try again later. At least a quarter of the frames is never used to receive.
  [[nodiscard]] std::optional<Frame> allocate() { return path_.allocate(); }

  /// Puts a frame into the TX ring, after which it is not the caller's any more; flush() sends it. The source must be a
  /// tuple that this vport has claimed. Both MACs are overwritten on the way; checksums are the caller's.
  /// False, and the frame stays what it was, if the ring is full, or the frame is empty or not the caller's.
  bool transmit(const Frame& frame) { return path_.transmit(frame); }
  /// The same with another size, at most Frame::capacity().
  bool transmit(Frame frame, std::size_t size) { return frame.resize(size) && path_.transmit(frame); }
  /// The same with frames that are one packet, in their order: all of them, or none. More than one, and up to
  /// max_packet_frames, on a vport with VportOptions::multi_buffer alone. Only the first begins with the headers.
  bool transmit(std::span<const Frame> packet) { return path_.transmit(packet); }

  /// Within a receive() callback: the frame stays the caller's after it. Each frame that is kept is one that cannot
  /// receive: a queue whose frames are all kept loses packets. False if it is not a frame of a running callback.
  bool keep(const Frame& frame) { return path_.keep(frame); }
  /// Frees a frame from keep() or allocate(). False if it is not the caller's, for example given back already.
  bool give_back(const Frame& frame) { return path_.give_back(frame); }

  /// Sends what was transmitted, as far as the kernel takes it, takes back the frames that were sent, and refills.
  /// Returns how many frames still wait in the ring: not 0 if the kernel's queues are full; then call it again.
  /// ENETDOWN, ENXIO: the vport is gone. Other errors are the kernel's, of sendto().
  Expected<std::size_t> flush();

  /// flush(), again and again, until the kernel has given back all that this process transmitted, and mstackd's check
  /// has seen it. Returns how many frames the kernel still has after `timeout`, which is for ever if it is negative; no
  /// signal ends it. For the end of a claim: what is on its way then is dropped as unclaimed, though flush() returned
  /// 0. Takes some milliseconds more, a grace period of RCU, and receives nothing. What was lost on its way comes back
  /// too. Errors as of flush().
  Expected<std::size_t> drain(std::chrono::milliseconds timeout);

  /// Waits until there is something to receive: true; false at the timeout or if a signal came. Sends meanwhile
  /// what flush() left. A negative timeout waits for ever. ENETDOWN: the vport is gone.
  [[nodiscard]] Expected<bool> wait(std::chrono::milliseconds timeout);

  /// For epoll and poll, readable when there is something to receive. Call flush() until it returns 0 before you sleep.
  /// Not to be closed, read or written.
  [[nodiscard]] int fd() const;

  /// EBADF and the like are bugs; otherwise it does not fail.
  [[nodiscard]] Expected<QueueStatistics> statistics() const;

  [[nodiscard]] std::size_t index() const;              ///< within the vport
  [[nodiscard]] std::size_t frames() const;             ///< of the UMEM
  [[nodiscard]] std::size_t frame_size() const;         ///< bytes of one, headroom included
  [[nodiscard]] std::size_t mtu() const;                ///< bytes of a packet after the Ethernet header
  [[nodiscard]] const MacAddress& mac() const;          ///< the stack's own: destination of all that is received
  [[nodiscard]] const MacAddress& gateway_mac() const;  ///< its only neighbour: source of all that is received

  /// Queues are made by Vport::open() alone.
  explicit Queue(std::unique_ptr<detail::QueueParts> parts);

 private:
  void wake_fill();
  Expected<void> kick();
  Expected<void> check_alive() const;

  std::unique_ptr<detail::QueueParts> parts_;  // first, so last to go: the rings below point into it
  detail::DataPath path_;
  std::uint64_t kicks_ = 0;
};

}  // namespace mstack
