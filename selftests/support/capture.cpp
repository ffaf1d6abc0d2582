// SPDX-License-Identifier: BSD-2-Clause
#include "support/capture.hpp"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>
#include <tuple>

namespace mstack::test {

namespace {

constexpr int receive_buffer = 256 << 20;  // room for a burst while the collecting thread does not run
constexpr std::size_t max_frame = 65536;

Fd packet_socket(const Namespace& netns, const std::string& interface, std::uint16_t protocol) {
  return netns.run([&] {
    Fd socket{check(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), "packet socket")};
    check(::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer, sizeof(receive_buffer)), "rcvbuf");
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(protocol);
    address.sll_ifindex = static_cast<int>(::if_nametoindex(interface.c_str()));
    if (address.sll_ifindex == 0) throw std::system_error(errno, std::generic_category(), interface);
    check(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), "bind " + interface);
    return socket;
  });
}

}  // namespace

Injector::Injector(const Namespace& netns, const std::string& interface)
    : socket_(packet_socket(netns, interface, 0)) {}

void Injector::send(std::span<const std::uint8_t> frame) const {
  for (;;) {
    if (::send(socket_.get(), frame.data(), frame.size(), 0) >= 0) return;
    if (errno != ENOBUFS && errno != EINTR) check(-1, "send frame");
  }
}

struct Capture::State {
  mutable std::mutex mutex;
  mutable std::condition_variable more;
  std::vector<Bytes> frames;
  std::atomic<std::uint64_t> lost = 0;
};

Capture::Capture(const Namespace& netns, const std::string& interface)
    : socket_(packet_socket(netns, interface, ETH_P_ALL)),
      stop_(check(::eventfd(0, EFD_CLOEXEC), "eventfd")),
      state_(std::make_unique<State>()),
      thread_([this] { collect(); }) {}

Capture::~Capture() {
  const std::uint64_t one = 1;
  std::ignore = ::write(stop_.get(), &one, sizeof(one));
  thread_.join();
}

void Capture::collect() {
  std::vector<std::uint8_t> buffer(max_frame);
  for (;;) {
    std::array<pollfd, 2> entries{pollfd{.fd = socket_.get(), .events = POLLIN, .revents = 0},
                                  pollfd{.fd = stop_.get(), .events = POLLIN, .revents = 0}};
    if (::poll(entries.data(), entries.size(), -1) < 0 && errno != EINTR) return;
    if (entries[1].revents != 0) return;
    for (;;) {
      sockaddr_ll from{};
      socklen_t from_size = sizeof(from);
      const ssize_t size = ::recvfrom(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT,
                                      reinterpret_cast<sockaddr*>(&from), &from_size);
      if (size < 0) break;
      if (from.sll_pkttype == PACKET_OUTGOING) continue;
      const std::lock_guard lock(state_->mutex);
      state_->frames.emplace_back(buffer.begin(), buffer.begin() + size);
      state_->more.notify_all();
    }
    tpacket_stats statistics{};
    socklen_t statistics_size = sizeof(statistics);
    if (::getsockopt(socket_.get(), SOL_PACKET, PACKET_STATISTICS, &statistics, &statistics_size) == 0) {
      state_->lost += statistics.tp_drops;
    }
  }
}

std::optional<Packet> Capture::wait(const Predicate& fits, const Deadline& deadline) const {
  std::unique_lock lock(state_->mutex);
  for (std::size_t seen = 0;;) {
    for (; seen < state_->frames.size(); ++seen) {
      if (auto packet = parse(state_->frames[seen]); packet && fits(*packet)) return packet;
    }
    const auto more = [&] { return seen < state_->frames.size(); };
    if (!state_->more.wait_for(lock, std::chrono::milliseconds(deadline.left()), more)) return std::nullopt;
  }
}

std::vector<Bytes> Capture::frames() const {
  const std::lock_guard lock(state_->mutex);
  return state_->frames;
}

std::vector<Packet> Capture::packets() const {
  std::vector<Packet> out;
  for (const auto& frame : frames()) {
    if (auto packet = parse(frame)) out.push_back(std::move(*packet));
  }
  return out;
}

std::size_t Capture::count(const Predicate& fits) const {
  return static_cast<std::size_t>(std::ranges::count_if(packets(), fits));
}

std::uint64_t Capture::lost() const {
  return state_->lost;
}

Capture::Predicate udp_payload(std::string payload) {
  return [payload = std::move(payload)](const Packet& packet) {
    return packet.protocol == IPPROTO_UDP && packet.payload == payload;
  };
}

}  // namespace mstack::test
