// SPDX-License-Identifier: BSD-2-Clause
#include "wire_watch.hpp"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <tuple>

namespace mstack::test {

namespace {

constexpr int receive_buffer = 256 << 20;
constexpr std::size_t batch = 64, max_frame = 2048, kept = 20;

}  // namespace

struct WireWatch::State {
  std::atomic<std::uint64_t> good = 0, bad = 0, lost = 0;
  std::mutex mutex;
  std::vector<std::string> first_bad;
};

WireWatch::WireWatch(const World& world, Judge judge)
    : judge_(std::move(judge)),
      host_mac_(world.host_mac()),
      socket_(world.wire().run([] {
        Fd socket{check(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "packet socket")};
        check(::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer, sizeof(receive_buffer)),
              "rcvbuf");
        const int one = 1;
        check(::setsockopt(socket.get(), SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)), "ignore outgoing");
        sockaddr_ll address{};
        address.sll_family = AF_PACKET;
        address.sll_protocol = htons(ETH_P_ALL);
        address.sll_ifindex = static_cast<int>(::if_nametoindex(wire_end.c_str()));
        check(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), "bind to the wire");
        return socket;
      })),
      stop_(check(::eventfd(0, EFD_CLOEXEC), "eventfd")),
      state_(std::make_unique<State>()),
      thread_([this] { watch(); }) {}

WireWatch::~WireWatch() {
  const std::uint64_t one = 1;
  std::ignore = ::write(stop_.get(), &one, sizeof(one));
  thread_.join();
}

void WireWatch::judge(std::span<const std::uint8_t> frame) {
  if (is_kernel_neighbour_talk(frame, host_mac_)) return;
  const Judgement judgement = judge_(frame);
  if (judgement == Judgement::good) state_->good.fetch_add(1, std::memory_order_release);
  if (judgement != Judgement::bad) return;
  const std::lock_guard lock(state_->mutex);
  if (state_->first_bad.size() < kept) state_->first_bad.push_back(hex(frame));
  state_->bad.fetch_add(1, std::memory_order_release);
}

void WireWatch::watch() {
  std::vector<std::array<std::uint8_t, max_frame>> buffers(batch);
  std::array<iovec, batch> parts{};
  std::array<mmsghdr, batch> messages{};
  for (std::size_t i = 0; i < batch; ++i) {
    parts[i] = {.iov_base = buffers[i].data(), .iov_len = max_frame};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  for (;;) {
    std::array<pollfd, 2> entries{pollfd{.fd = socket_.get(), .events = POLLIN, .revents = 0},
                                  pollfd{.fd = stop_.get(), .events = POLLIN, .revents = 0}};
    if (::poll(entries.data(), entries.size(), -1) < 0 && errno != EINTR) return;
    for (int count = 0; (count = ::recvmmsg(socket_.get(), messages.data(), batch, MSG_DONTWAIT, nullptr)) > 0;) {
      for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
        judge(std::span(buffers[i]).first(std::min<std::size_t>(messages[i].msg_len, max_frame)));
      }
    }
    tpacket_stats statistics{};
    socklen_t size = sizeof(statistics);
    if (::getsockopt(socket_.get(), SOL_PACKET, PACKET_STATISTICS, &statistics, &size) == 0) {
      state_->lost += statistics.tp_drops;
    }
    if (entries[1].revents != 0) return;
  }
}

std::uint64_t WireWatch::good() const {
  return state_->good.load(std::memory_order_acquire);
}
std::uint64_t WireWatch::bad() const {
  return state_->bad.load(std::memory_order_acquire);
}
std::uint64_t WireWatch::lost() const {
  return state_->lost;
}

std::vector<std::string> WireWatch::first_bad() const {
  const std::lock_guard lock(state_->mutex);
  return state_->first_bad;
}

bool WireWatch::wait_for_good(std::uint64_t count, const Deadline& deadline) const {
  return eventually([&] { return good() >= count; }, deadline);
}

bool is_kernel_neighbour_talk(std::span<const std::uint8_t> frame, const Mac& host_mac) {
  constexpr std::size_t ethernet = 14, ipv6 = 40;
  const auto at = [&](std::size_t offset, std::size_t size) { return frame.subspan(offset, size); };
  if (frame.size() < ethernet + 28 || !std::ranges::equal(at(6, 6), host_mac)) return false;
  const auto is_ours = [](std::span<const std::uint8_t> address) {
    return std::ranges::any_of(std::array{host4, host4_second, host6, host6_second},
                               [&](const auto& ours) { return std::ranges::equal(address, address_bytes(ours)); });
  };
  const unsigned type = unsigned{frame[12]} << 8 | frame[13];
  // ARP: sender MAC and sender address.
  if (type == ETH_P_ARP) return std::ranges::equal(at(22, 6), host_mac) && is_ours(at(28, 4));
  if (type != ETH_P_IPV6 || frame.size() < ethernet + ipv6 + 24) return false;
  // From one of the addresses, from the link-local one that is made of the MAC, or, before that is sure, from none.
  const Mac& m = host_mac;
  const Bytes link_local{0xfe, 0x80, 0,    0,    0,    0,    0,   0, static_cast<std::uint8_t>(m[0] ^ 2),
                         m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]};
  const auto source = at(22, 16);
  if (!is_ours(source) && !std::ranges::equal(source, link_local) && !std::ranges::equal(source, Bytes(16)))
    return false;
  const std::size_t message = ethernet + ipv6;
  // Reports of multicast groups come with a router alert, hop by hop.
  if (frame[20] == IPPROTO_HOPOPTS) return frame[message] == IPPROTO_ICMPV6 && frame[message + 8] == 143;
  if (frame[20] != IPPROTO_ICMPV6) return false;
  if (frame[message] == 135) return frame.size() < message + 32 || std::ranges::equal(at(message + 26, 6), host_mac);
  return frame[message] == 136 && (is_ours(at(message + 8, 16)) || std::ranges::equal(at(message + 8, 16), link_local));
}

}  // namespace mstack::test
