// SPDX-License-Identifier: BSD-2-Clause
#include "mstack/queue.hpp"

#include <linux/if_xdp.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>

#include "messages.hpp"
#include "queue_parts.hpp"

namespace mstack {

std::size_t queue_of(const Tuple& local, const Tuple& remote, std::size_t queues) {
  const mstack_tuple from = protocol::to_wire(local), to = protocol::to_wire(remote);
  return mstack_queue_of(&from, &to, static_cast<std::uint32_t>(queues));
}
namespace {

// No room right now in the kernel's queues: the frames stay in the ring, or, with EBUSY, were counted as dropped.
bool is_backpressure(int code) {
  return code == EAGAIN || code == EBUSY || code == ENOBUFS || code == EINTR;
}

// Until all that were running on any CPU have ended: they are readers of RCU, whose grace period this system call waits
// for. Where it is refused, with nohz_full= or by seccomp, a moment has to do.
void wait_for_softirqs() {
  if (::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) < 0)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

}  // namespace

Queue::Queue(std::unique_ptr<detail::QueueParts> parts) : parts_(std::move(parts)), path_(parts_->memory) {
  path_.refill();
  if (path_.fill_needs_wakeup()) wake_fill();
}

Queue::~Queue() = default;

void Queue::wake_fill() {
  // Only wakes the driver. What is wrong with the socket, if anything, is told by wait() and flush().
  static_cast<void>(::recvfrom(parts_->socket.get(), nullptr, 0, MSG_DONTWAIT, nullptr, nullptr));
}

Expected<void> Queue::kick() {
  ++kicks_;
  if (::sendto(parts_->socket.get(), nullptr, 0, MSG_DONTWAIT, nullptr, 0) < 0 && !is_backpressure(errno))
    return system_failure(errno, "cannot send on queue " + std::to_string(index()));
  return {};
}

Expected<std::size_t> Queue::flush() {
  path_.submit();
  std::uint32_t unsent = path_.unsent();
  // A call sends a batch, and stops early for want of buffers or of room in the completion ring, which reap() makes. As
  // long as it gets on it is called again, and no longer: who cannot send must not spin here.
  while (unsent != 0 && path_.tx_needs_wakeup()) {
    if (auto kicked = kick(); !kicked) return std::unexpected(kicked.error());
    path_.reap();
    const std::uint32_t left = path_.unsent();
    if (left >= unsent) break;
    unsent = left;
  }
  path_.reap();
  path_.refill();
  return unsent;
}

Expected<std::size_t> Queue::drain(std::chrono::milliseconds timeout) {
  using Clock = std::chrono::steady_clock;
  for (const auto start = Clock::now();;) {
    if (const auto unsent = flush(); !unsent) return unsent;
    if (path_.in_flight() == 0) break;
    if (timeout.count() >= 0 && Clock::now() - start >= timeout) return path_.in_flight();
    // The kernel wakes nobody when a frame comes back.
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  // A veth gives a frame back when it has copied it, a moment before the same softirq gives the copy to the check.
  if (path_.counters().tx_frames != 0) wait_for_softirqs();
  return 0;
}

Expected<void> Queue::check_alive() const {
  // poll() tells nothing of a device that went away; an empty read does.
  if (::recvfrom(parts_->socket.get(), nullptr, 0, MSG_DONTWAIT, nullptr, nullptr) < 0 &&
      (errno == ENXIO || errno == ENETDOWN))
    return failure(errno, "queue " + std::to_string(index()) + " is down: mstackd removed its vport; see its log");
  return {};
}

Expected<bool> Queue::wait(std::chrono::milliseconds timeout) {
  using Clock = std::chrono::steady_clock;
  const bool forever = timeout.count() < 0;
  const auto start = Clock::now();
  for (;;) {
    if (path_.has_received()) return true;
    const auto unsent = flush();
    if (!unsent) return std::unexpected(unsent.error());
    const auto passed = Clock::now() - start;
    if (!forever && passed >= timeout) {
      // A timeout of 0 asks what is there; it is the busy loop's call, and not worth another system call.
      if (timeout.count() != 0)
        if (auto alive = check_alive(); !alive) return std::unexpected(alive.error());
      return false;
    }
    // In slices: the kernel wakes nobody when a copying socket can send again, nor when the vport goes.
    std::chrono::milliseconds slice(*unsent != 0 ? 1 : 1000);
    if (!forever) slice = std::min(slice, std::chrono::ceil<std::chrono::milliseconds>(timeout - passed));
    pollfd poll = {.fd = parts_->socket.get(), .events = POLLIN, .revents = 0};
    const int ready = ::poll(&poll, 1, static_cast<int>(slice.count()));
    if (ready < 0 && errno == EINTR) return path_.has_received();
    if (ready < 0) return system_failure(errno, "cannot wait for queue " + std::to_string(index()));
    if (ready == 0 && slice.count() > 1)
      if (auto alive = check_alive(); !alive) return std::unexpected(alive.error());
  }
}

int Queue::fd() const {
  return parts_->socket.get();
}

Expected<QueueStatistics> Queue::statistics() const {
  xdp_statistics kernel = {};
  socklen_t length = sizeof(kernel);
  if (::getsockopt(parts_->socket.get(), SOL_XDP, XDP_STATISTICS, &kernel, &length) < 0)
    return system_failure(errno, "cannot read the statistics of queue " + std::to_string(index()));
  const detail::DataPathCounters& own = path_.counters();
  return QueueStatistics{.rx_frames = own.rx_frames,
                         .rx_bytes = own.rx_bytes,
                         .tx_frames = own.tx_frames,
                         .tx_bytes = own.tx_bytes,
                         .tx_completed = own.tx_completed,
                         .tx_ring_full = own.tx_ring_full,
                         .misused = own.misused,
                         .bad_entries = own.bad_entries,
                         .kicks = kicks_,
                         .kernel_rx_dropped = kernel.rx_dropped,
                         .kernel_rx_invalid = kernel.rx_invalid_descs,
                         .kernel_tx_invalid = kernel.tx_invalid_descs,
                         .kernel_rx_ring_full = kernel.rx_ring_full,
                         .kernel_fill_ring_empty = kernel.rx_fill_ring_empty_descs,
                         .kernel_tx_ring_empty = kernel.tx_ring_empty_descs};
}

std::size_t Queue::index() const {
  return parts_->sizes.index;
}
std::size_t Queue::frames() const {
  return parts_->sizes.frames;
}
std::size_t Queue::frame_size() const {
  return parts_->sizes.frame_size;
}
std::size_t Queue::mtu() const {
  return parts_->sizes.mtu;
}
const MacAddress& Queue::mac() const {
  return parts_->mac;
}
const MacAddress& Queue::gateway_mac() const {
  return parts_->gateway_mac;
}

}  // namespace mstack
