// SPDX-License-Identifier: BSD-2-Clause
//
// How long a client on the wire waits for its echo: from a vport and from a kernel UDP socket, with a server that
// spins and with one that sleeps until something comes.
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <vector>

#include "benches.hpp"
#include "support/stack.hpp"

namespace mstack::bench {
namespace {

using test::check;
using namespace std::chrono_literals;

constexpr std::uint16_t kernel_port = 7000;
constexpr std::size_t payload_size = 32;

// One client for all: a UDP socket on the wire that spins, so that only the servers differ.
class Client {
 public:
  explicit Client(const test::World& world) : socket_(udp_socket(world.wire(), {test::wire4, 0})) {}

  void connect_to(std::uint16_t port) {
    const test::SocketAddress to({test::host4, port});
    check(::connect(socket_.get(), to.get(), to.size), "connect");
  }

  // Microseconds.
  double round_trip() {
    using Clock = std::chrono::steady_clock;
    std::array<char, payload_size> payload = {};
    ++number_;
    std::memcpy(payload.data(), &number_, sizeof(number_));
    const auto start = Clock::now();
    check(::send(socket_.get(), payload.data(), payload.size(), 0), "send");
    for (;;) {
      std::array<char, payload_size> answer = {};
      const bool answered = ::recv(socket_.get(), answer.data(), answer.size(), MSG_DONTWAIT) == payload_size;
      const auto now = Clock::now();
      if (answered && answer == payload) return std::chrono::duration<double, std::micro>(now - start).count();
      if (now - start > 1s) throw std::runtime_error("an echo did not come within a second");
    }
  }

 private:
  test::Fd socket_;
  std::uint64_t number_ = 0;
};

// Ethernet, IPv4 and UDP headers change their ends; the checksums stay right.
void turn_round(std::uint8_t* frame) {
  std::swap_ranges(frame + 26, frame + 30, frame + 30);
  std::swap_ranges(frame + 34, frame + 36, frame + 36);
}

struct VportServer {
  test::Stack stack;
  Claim claim;
  VportServer(const test::World& world, bool throughput)
      : stack(world, test::alice, {.frames = 4096, .throughput = throughput}),
        claim(stack.claim(IPPROTO_UDP, {test::host4, 0})) {}

  [[nodiscard]] std::uint16_t port() const { return claim.tuple().port; }
  std::size_t serve(std::chrono::milliseconds wait) {
    Queue& queue = stack.vport().queue(0);
    if (wait != 0ms && !or_throw(queue.wait(wait))) return 0;
    const std::size_t count = queue.receive(64, [&](Frame frame) {
      turn_round(frame.data());
      queue.transmit(frame);
    });
    if (count != 0) or_throw(queue.flush());
    return count;
  }
};

class KernelServer {
 public:
  explicit KernelServer(const test::World& world) : socket_(udp_socket(world.host(), {test::host4, kernel_port})) {
    const timeval timeout = {.tv_sec = 0, .tv_usec = 20'000};
    check(::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)), "SO_RCVTIMEO");
  }
  std::size_t serve(int flags) {
    std::array<char, 2048> buffer;
    sockaddr_storage from;
    socklen_t size = sizeof(from);
    const ssize_t length =
        ::recvfrom(socket_.get(), buffer.data(), buffer.size(), flags, reinterpret_cast<sockaddr*>(&from), &size);
    if (length < 0) return 0;
    check(::sendto(socket_.get(), buffer.data(), static_cast<std::size_t>(length), 0,
                   reinterpret_cast<const sockaddr*>(&from), size),
          "sendto");
    return 1;
  }

 private:
  test::Fd socket_;
};

struct Subject {
  Series p50, p99;
  std::uint16_t port;
  std::function<std::size_t()> serve;
};

Subject subject(const std::string& name, std::uint16_t port, std::function<std::size_t()> serve) {
  return {.p50 = {.name = name, .unit = "us"},
          .p99 = {.name = name, .unit = "us"},
          .port = port,
          .serve = std::move(serve)};
}

void measure(const Plan& plan, Client& client, Subject& subject) {
  const Worker server(plan.cpus.application, subject.serve);
  client.connect_to(subject.port);
  for (unsigned i = 0; i < 200; ++i) client.round_trip();  // neighbours, caches
  std::vector<double> trips(plan.round_trips);
  for (double& trip : trips) trip = client.round_trip();
  std::ranges::sort(trips);
  subject.p50.rounds.push_back(trips[trips.size() / 2]);
  subject.p99.rounds.push_back(trips[trips.size() * 99 / 100]);
}

}  // namespace

void bench_echo(const Plan& plan, Report& report) {
  const test::World world;
  const test::Daemon daemon(world);
  KernelServer kernel(world);
  VportServer latency(world, false), throughput(world, true);
  Subject subjects[] = {
      subject("vport, spinning", latency.port(), [&] { return latency.serve(0ms); }),
      subject("kernel, spinning", kernel_port, [&] { return kernel.serve(MSG_DONTWAIT); }),
      subject("vport, sleeping", latency.port(), [&] { return latency.serve(20ms); }),
      subject("kernel, sleeping", kernel_port, [&] { return kernel.serve(0); }),
      subject("vport with the throughput option, sleeping", throughput.port(), [&] { return throughput.serve(20ms); }),
  };
  // On a thread of its own, since it stays on its CPU.
  test::as({}, [&] {
    pin_to(plan.cpus.kernel);
    Client client(world);
    for (unsigned round = 0; round < plan.rounds; ++round)
      for (Subject& one : subjects) measure(plan, client, one);
  });
  const auto add = [&](std::size_t measured, std::size_t against) {
    report.add({.what = "echo, p50", .measured = subjects[measured].p50, .against = subjects[against].p50});
    report.add({.what = "echo, p99", .measured = subjects[measured].p99, .against = subjects[against].p99});
  };
  add(0, 1);
  add(2, 3);
  add(4, 3);
  report.note(
      "echo: 32 bytes of payload, one at a time, from a UDP socket on the wire that spins on one CPU, to the server on "
      "another. Below 1 the vport is faster.");
}

}  // namespace mstack::bench
