// SPDX-License-Identifier: BSD-2-Clause
//
// How many frames a second one thread gets to the far end of the wire.
#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <vector>

#include "benches.hpp"
#include "raw_socket.hpp"
#include "support/sandbox.hpp"
#include "support/stack.hpp"
#include "traffic.hpp"

namespace mstack::bench {
namespace {

using test::check;

constexpr std::uint16_t port = 7000, remote_port = 9000;
constexpr std::size_t batch = 64;
constexpr std::size_t headers = 42;

struct Place {
  test::World world;
  Traffic traffic;
  Place() { traffic.count_at(world); }
};

class KernelSender {
 public:
  KernelSender(const test::World& world, std::size_t size)
      : socket_(udp_socket(world.host(), {test::host4, port})), payload_(size - headers, 'x') {
    const test::SocketAddress to({test::wire4, remote_port});
    check(::connect(socket_.get(), to.get(), to.size), "connect");
    const int yes = 1, bytes = 8 << 20;
    check(::setsockopt(socket_.get(), SOL_SOCKET, SO_NO_CHECK, &yes, sizeof(yes)), "SO_NO_CHECK");
    check(::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)), "SO_SNDBUFFORCE");
    for (std::size_t i = 0; i < batch; ++i) {
      parts_[i] = {.iov_base = payload_.data(), .iov_len = payload_.size()};
      messages_[i].msg_hdr.msg_iov = &parts_[i];
      messages_[i].msg_hdr.msg_iovlen = 1;
    }
  }

  std::size_t send() {
    const int count = ::sendmmsg(socket_.get(), messages_.data(), batch, 0);
    return count > 0 ? static_cast<std::size_t>(count) : 0;
  }

 private:
  test::Fd socket_;
  std::vector<char> payload_;
  std::array<iovec, batch> parts_;
  std::array<mmsghdr, batch> messages_ = {};
};

// A sender writes what it sends: the headers here. The payload, which no path looks at, is what is there.
void write_headers(std::uint8_t* to, const test::Bytes& frame) {
  std::memcpy(to, frame.data(), headers);
}

// A stack with the claim that it sends from.
struct Sender {
  test::Stack stack;
  Claim claim;
  Sender(const test::World& world, bool throughput)
      : stack(world, test::alice, {.frames = 4096, .throughput = throughput}), claim(claim_in(world)) {}

  // Of the worlds that there are, the one whose mstackd is to see the bind().
  Claim claim_in(const test::World& world) {
    test::Sandbox::get().enter_cgroup(world.cgroup());
    return stack.claim(IPPROTO_UDP, {test::host4, port});
  }

  std::size_t send(const test::Bytes& frame) {
    Queue& queue = stack.vport().queue(0);
    std::size_t count = 0;
    for (; count < batch; ++count) {
      auto room = queue.allocate();
      if (!room) break;
      write_headers(room->data(), frame);
      if (!queue.transmit(*room, frame.size())) {
        queue.give_back(*room);
        break;
      }
    }
    or_throw(queue.flush());
    return count;
  }
};

class Senders {
 public:
  explicit Senders(const Plan& plan)
      : plan_(plan),
        latency_daemon_(latency_.world),
        throughput_daemon_(throughput_.world),
        latency_sender_(latency_.world, false),
        throughput_sender_(throughput_.world, true),
        raw_socket_(raw_.world.host(), test::uplink) {}

  // What was handed to the kernel and did not arrive. What is on its way at the ends of the window counts too.
  [[nodiscard]] double most_lost() const { return most_lost_; }

  void measure(std::size_t size, Report& report) {
    const auto series = [](const char* name) { return Series{.name = name, .unit = "Mpps"}; };
    KernelSender kernel_sender(kernel_.world, size);
    const auto of_vport = [&](const Place& place, Sender& sender) {
      const test::Bytes frame = frame_on(place, size);
      return rate(place, [&] { return sender.send(frame); });
    };
    Lane latency = {series("vport"), [&] { return of_vport(latency_, latency_sender_); }};
    Lane throughput = {series("vport, throughput option"), [&] { return of_vport(throughput_, throughput_sender_); }};
    Lane raw = {series("AF_XDP on the uplink, unchecked"), [&] {
                  const test::Bytes frame = frame_on(raw_, size);
                  return rate(raw_, [&] {
                    return raw_socket_.transmit(batch, static_cast<std::uint32_t>(size),
                                                [&](std::uint8_t* to) { write_headers(to, frame); });
                  });
                }};
    Lane kernel = {series("sendmmsg"), [&] { return rate(kernel_, [&] { return kernel_sender.send(); }); }};

    const std::string what = "transmit, " + std::to_string(size) + " bytes";
    run_rounds(plan_, what, {&latency, &throughput, &raw, &kernel});
    report.add({.what = what, .measured = latency.series, .against = raw.series, .aim = "0.7 or more"});
    report.add({.what = what, .measured = throughput.series, .against = raw.series, .aim = "0.86 or more"});
    report.add({.what = what, .measured = latency.series, .against = kernel.series});
    report.add({.what = what, .measured = throughput.series, .against = kernel.series});
  }

 private:
  static test::Bytes frame_on(const Place& place, std::size_t size) {
    return udp_frame(place.world, {test::host4, port}, {test::wire4, remote_port}, size, true);
  }
  // What arrives, in millions a second.
  double rate(const Place& place, const std::function<std::size_t()>& send) {
    const Worker sender(plan_.cpus.kernel, send);
    std::vector<std::uint64_t> handed_over;
    const double arrived = rate_of(plan_, [&] {
      handed_over.push_back(sender.count());
      return place.traffic.arrived();
    });
    const double sent = static_cast<double>(handed_over.back() - handed_over.front());
    const double window = std::chrono::duration<double, std::micro>(plan_.window).count();
    most_lost_ = std::max(most_lost_, 100 * (1 - arrived * window / sent));
    return arrived;
  }

  const Plan& plan_;
  Place latency_, throughput_, raw_, kernel_;
  test::Daemon latency_daemon_, throughput_daemon_;
  Sender latency_sender_, throughput_sender_;
  RawSocket raw_socket_;
  double most_lost_ = 0;  // percent, of all measurements
};

}  // namespace

void bench_transmit(const Plan& plan, Report& report) {
  Senders senders(plan);
  for (const std::size_t size : {64, 1400}) senders.measure(size, report);
  report.note(
      "transmit: counted by XDP at the far end of the wire. One CPU runs the application and, in its softirq, all that "
      "follows: the stack end, the check, the route, the uplink and the far end. The application writes headers only.");
  report.note(fmt::format("transmit: at most {:.1f} % of what a sender handed over in a window did not arrive in it.",
                          senders.most_lost()));
}

}  // namespace mstack::bench
