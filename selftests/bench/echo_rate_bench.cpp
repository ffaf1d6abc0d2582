// SPDX-License-Identifier: BSD-2-Clause
//
// How many packets a second an echo server answers when more come than it can: on a vport, as examples/udp_echo does
// it, and on kernel sockets with recvmmsg() and sendmmsg(); with one queue and with several, whose threads share
// nothing. Several sockets share their port by SO_REUSEPORT, and so the flows by their hash.
#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "benches.hpp"
#include "support/generator.hpp"
#include "support/sandbox.hpp"
#include "support/stack.hpp"
#include "traffic.hpp"

namespace mstack::bench {
namespace {

using test::check;

constexpr std::uint16_t port = 7000, remote_port = 9000;
constexpr std::size_t batch = 64;

struct Place {
  Place() { traffic.count_at(world); }
  test::World world;
  Traffic traffic;
};

// Ethernet, IPv4 and UDP headers change their ends; the checksums stay right.
void turn_round(std::uint8_t* frame) {
  std::swap_ranges(frame + 26, frame + 30, frame + 30);
  std::swap_ranges(frame + 34, frame + 36, frame + 36);
}

struct VportServer {
  VportServer(const test::World& world, std::uint32_t queues, bool throughput)
      : stack(world, test::alice, {.queues = queues, .frames = 4096, .throughput = throughput}),
        claim(stack.claim(IPPROTO_UDP, {test::host4, port})) {}

  std::size_t serve(std::size_t index) {
    Queue& queue = stack.vport().queue(index);
    const std::size_t count = queue.receive(batch, [&](Frame frame) {
      turn_round(frame.data());
      queue.transmit(frame);  // if there is no room it is lost, as in a socket
    });
    or_throw(queue.flush());
    return count;
  }

  test::Stack stack;
  Claim claim;
};

class KernelSocket {
 public:
  explicit KernelSocket(const test::World& world)
      : socket_(world.host().run([] {
          return test::bound(IPPROTO_UDP, {test::host4, port}, {.reuse_port = true});
        })) {
    const int bytes = 8 << 20;
    check(::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)), "SO_RCVBUFFORCE");
    check(::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)), "SO_SNDBUFFORCE");
    for (std::size_t i = 0; i < batch; ++i) {
      messages_[i].msg_hdr.msg_iov = &parts_[i];
      messages_[i].msg_hdr.msg_iovlen = 1;
      messages_[i].msg_hdr.msg_name = &from_[i];
    }
  }
  KernelSocket(KernelSocket&&) = delete;

  std::size_t serve() {
    for (std::size_t i = 0; i < batch; ++i) {
      parts_[i] = {.iov_base = buffers_[i].data(), .iov_len = buffers_[i].size()};
      messages_[i].msg_hdr.msg_namelen = sizeof(from_[i]);
    }
    const int received = ::recvmmsg(socket_.get(), messages_.data(), batch, MSG_DONTWAIT, nullptr);
    if (received <= 0) return 0;
    const auto count = static_cast<std::size_t>(received);
    for (std::size_t i = 0; i < count; ++i) parts_[i].iov_len = messages_[i].msg_len;
    // Of an error, such as no room, the rest is lost.
    for (std::size_t sent = 0; sent < count;) {
      const int some = ::sendmmsg(socket_.get(), &messages_[sent], static_cast<unsigned>(count - sent), MSG_DONTWAIT);
      if (some <= 0) break;
      sent += static_cast<std::size_t>(some);
    }
    return count;
  }

 private:
  test::Fd socket_;
  std::array<std::array<std::uint8_t, 2048>, batch> buffers_;
  std::array<sockaddr_storage, batch> from_;
  std::array<iovec, batch> parts_;
  std::array<mmsghdr, batch> messages_ = {};
};

// A thread for each queue, on a CPU of its own as long as there are some beside the generator's; then a thread has
// several queues. Answers that arrive on the wire, in millions a second.
double measure(const Plan& plan, const Place& place, std::size_t size, std::size_t queues,
               const std::function<std::size_t(std::size_t)>& serve) {
  const test::Bytes frame = udp_frame(place.world, {test::wire4, remote_port}, {test::host4, port}, size, false);
  std::vector<std::unique_ptr<Worker>> workers;
  const std::size_t threads = std::min(queues, plan.cpus.others.size());
  for (std::size_t thread = 0; thread < threads; ++thread)
    workers.push_back(std::make_unique<Worker>(plan.cpus.others[thread], [&serve, thread, threads, queues] {
      std::size_t count = 0;
      for (std::size_t queue = thread; queue < queues; queue += threads) count += serve(queue);
      return count;
    }));
  const test::Generator generator(place.world, frame, place.traffic.flows_to_uplink(place.world), plan.cpus.kernel);
  return rate_of(plan, [&] { return place.traffic.arrived(); });
}

void measure_queues(const Plan& plan, std::uint32_t queues, Report& report) {
  Place kernel_place, latency_place, throughput_place;
  std::vector<std::unique_ptr<KernelSocket>> sockets;
  for (std::uint32_t i = 0; i < queues; ++i) sockets.push_back(std::make_unique<KernelSocket>(kernel_place.world));
  const test::Daemon throughput_daemon(throughput_place.world);
  VportServer throughput(throughput_place.world, queues, true);
  test::Sandbox::get().enter_cgroup(latency_place.world.cgroup());
  const test::Daemon latency_daemon(latency_place.world);
  VportServer latency(latency_place.world, queues, false);

  const auto series = [](const char* name) { return Series{.name = name, .unit = "Mpps"}; };
  for (const std::size_t size : {64, 1400}) {
    const auto lane = [&](const char* name, const Place& place, std::function<std::size_t(std::size_t)> serve) {
      return Lane{series(name), [&plan, &place, size, queues, serve = std::move(serve)] {
                    return measure(plan, place, size, queues, serve);
                  }};
    };
    Lane of_latency = lane("vport", latency_place, [&](std::size_t queue) { return latency.serve(queue); });
    Lane of_throughput =
        lane("vport, throughput option", throughput_place, [&](std::size_t queue) { return throughput.serve(queue); });
    Lane of_kernel =
        lane("recvmmsg, sendmmsg", kernel_place, [&](std::size_t queue) { return sockets[queue]->serve(); });
    const std::string what = fmt::format("echo at full rate, {} bytes, {}", size,
                                         queues == 1 ? "1 queue" : fmt::format("{} queues", queues));
    run_rounds(plan, what, {&of_latency, &of_throughput, &of_kernel});
    report.add({.what = what, .measured = of_latency.series, .against = of_kernel.series});
    report.add({.what = what, .measured = of_throughput.series, .against = of_kernel.series});
  }
}

}  // namespace

void bench_echo_rate(const Plan& plan, Report& report) {
  for (const std::uint32_t queues : {1, 4}) measure_queues(plan, queues, report);
  report.note(fmt::format(
      "echo at full rate: answers that reach the wire, of 64 flows that come as fast as one CPU sends and receives "
      "them; each queue has a thread, up to one for each of the other {} CPU{}.",
      plan.cpus.others.size(), plan.cpus.others.size() == 1 ? "" : "s"));
}

}  // namespace mstack::bench
