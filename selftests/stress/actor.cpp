// SPDX-License-Identifier: BSD-2-Clause
#include "actor.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <mstack/mstack.hpp>
#include <optional>
#include <random>
#include <tuple>
#include <vector>

#include "support/sockets.hpp"
#include "support/stack.hpp"
#include "support/world.hpp"

namespace mstack::test {

namespace {

class Actor {
 public:
  explicit Actor(const ActorOptions& options) : options_(options), random_(options.seed) {}

  int run(const Channel& channel) {
    for (;;) {
      if (const auto message = channel.receive(Deadline{0ms}); message || is_closed(channel)) return 0;
      while (::waitpid(-1, nullptr, WNOHANG) > 0) {
      }
      if (!vport_) {
        open();
        continue;
      }
      switch (below(40)) {
        case 0: vport_.reset(); break;  // and all claims with it
        case 1: ::_exit(0);             // nothing is put in order
        case 2: return 0;
        case 3: fork_and_hold(); break;
        case 4: claims_.clear(); break;
        case 5:
        case 6:
        case 7:
        case 8: claim_some(); break;
        case 9:
          if (!claims_.empty()) drop(below(claims_.size()));
          break;
        case 10:
          if (!claims_.empty()) release(below(claims_.size()));
          break;
        case 11:
          if (!claims_.empty()) connect(below(claims_.size()));
          break;
        default: send_some(); break;
      }
    }
  }

 private:
  struct Owned {
    Fd socket;
    Claim claim;
  };

  std::size_t below(std::size_t end) { return random_() % end; }
  static bool is_closed(const Channel& channel) {
    pollfd entry{.fd = channel.fd(), .events = POLLIN, .revents = 0};
    return ::poll(&entry, 1, 0) > 0 && (entry.revents & (POLLHUP | POLLERR)) != 0;
  }
  std::uint16_t port_of(unsigned actor) {
    return static_cast<std::uint16_t>(first_port_of_actors + actor * ports_of_actor + below(ports_of_actor));
  }

  // mstackd may be down, or the quota used up by what has not yet ended.
  void open() {
    claims_.clear();
    auto opened = Vport::open({.queues = static_cast<std::uint32_t>(1 + below(3)),
                               .frames = 256,
                               .ring_size = 64,
                               .throughput = below(2) == 0,
                               .run_dir = options_.run_dir});
    if (opened)
      vport_.emplace(std::move(*opened));
    else
      ::poll(nullptr, 0, 5);
  }

  void claim_some() {
    std::vector<Fd> sockets;
    std::vector<int> fds;
    const std::size_t count = 1 + (below(4) == 0 ? below(60) : below(4));
    const std::array<std::string, 6> addresses{host4, host4_second, host6, host6_second, "0.0.0.0", "::"};
    while (fds.size() < count && claims_.size() + fds.size() < 200) {
      auto bound =
          try_bind(below(3) == 0 ? IPPROTO_TCP : IPPROTO_UDP,
                   {addresses[below(addresses.size())], port_of(options_.index)}, {.reuse_address = below(2) == 0});
      if (!bound) break;
      fds.push_back(sockets.emplace_back(std::move(*bound)).get());
    }
    if (fds.empty()) return;
    auto results = vport_->claim_all(fds);
    for (std::size_t i = 0; i < results.size(); ++i) {
      if (results[i]) claims_.push_back({.socket = std::move(sockets[i]), .claim = std::move(*results[i])});
    }
    // mstackd was restarted, and the vport did not outlive it: make another.
    if (!results.empty() && !results[0] && results[0].error().code == ENOENT) vport_.reset();
  }

  void drop(std::size_t index) { claims_.erase(claims_.begin() + static_cast<std::ptrdiff_t>(index)); }
  void release(std::size_t index) {
    std::ignore = claims_[index].claim.release();
    drop(index);
  }
  // An owner that connects has its claim no more.
  void connect(std::size_t index) {
    const SocketAddress to{claims_[index].claim.tuple().address.is_ipv4() ? Endpoint{wire4, 4000}
                                                                          : Endpoint{wire6, 4000}};
    const Fd socket = std::move(claims_[index].socket);
    drop(index);
    if (below(2) == 0) std::ignore = ::connect(socket.get(), to.get(), to.size);
  }

  // A child has all that we have, for a while, or until it is killed.
  void fork_and_hold() {
    const pid_t child = ::fork();
    if (child == 0) {
      ::poll(nullptr, 0, static_cast<int>(below(200)));
      if (below(2) == 0) ::raise(SIGKILL);
      ::_exit(0);
    }
  }

  Segment valid() {
    const Tuple& tuple = claims_[below(claims_.size())].claim.tuple();
    std::string address = tuple.address.to_string();
    if (address == "0.0.0.0") address = host4;
    if (address == "::") address = host6;
    return segment({address, tuple.port}, tuple.protocol == Protocol::tcp ? IPPROTO_TCP : IPPROTO_UDP, valid_mark);
  }
  Segment spoof() {
    const std::array<std::string, 8> addresses{host4,         host4_second, host6, host6_second,
                                               "203.0.113.1", wire4,        wire6, "::1"};
    auto other = static_cast<unsigned>(below(32));
    if (other == options_.index) ++other;
    return segment({addresses[below(addresses.size())], port_of(other)}, below(2) == 0 ? IPPROTO_TCP : IPPROTO_UDP,
                   spoof_mark);
  }
  static Segment segment(const Endpoint& from, int protocol, std::string_view mark) {
    return {.from = from,
            .to = {from.ipv6() ? wire6 : wire4, 4000},
            .protocol = static_cast<std::uint8_t>(protocol),
            .payload = std::string(mark) + std::to_string(from.port),
            .tcp_flags = tcp_rst};
  }

  void send_some() {
    for (std::size_t index = 0; index < vport_->queues(); ++index) {
      Queue& queue = vport_->queue(index);
      for (int i = 0; i < 32; ++i) {
        const Bytes bytes = build(claims_.empty() || below(2) == 0 ? spoof() : valid());
        auto frame = queue.allocate();
        if (!frame) break;
        std::ranges::copy(bytes, frame->data());
        if (!queue.transmit(*frame, bytes.size())) {
          queue.give_back(*frame);
          break;
        }
      }
      if (!queue.flush()) return vport_.reset();  // ENETDOWN: the vport is gone
      queue.receive(64, [](Frame) {});
    }
  }

  ActorOptions options_;
  std::mt19937_64 random_;
  std::optional<Vport> vport_;
  std::vector<Owned> claims_;
};

}  // namespace

int act(const ActorOptions& options, Channel& channel) {
  return Actor(options).run(channel);
}

}  // namespace mstack::test
