// SPDX-License-Identifier: BSD-2-Clause
//
// How many frames a second reach an application: through a vport, through an AF_XDP socket on the uplink itself, and
// through a UDP socket.
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <vector>

#include "benches.hpp"
#include "raw_socket.hpp"
#include "support/generator.hpp"
#include "support/stack.hpp"
#include "traffic.hpp"

namespace mstack::bench {
namespace {

using test::check;

constexpr std::uint16_t port = 7000, unclaimed_port = 7001, remote_port = 9000;
constexpr std::size_t batch = 64;

// recvmmsg with room for a burst, and a timeout so that it ends.
class KernelReceiver {
 public:
  KernelReceiver(const test::World& world, std::uint16_t local_port)
      : socket_(udp_socket(world.host(), {test::host4, local_port})) {
    const int bytes = 8 << 20;
    check(::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)), "SO_RCVBUFFORCE");
    const timeval timeout = {.tv_sec = 0, .tv_usec = 50'000};
    check(::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)), "SO_RCVTIMEO");
    for (std::size_t i = 0; i < batch; ++i) {
      parts_[i] = {.iov_base = buffers_[i].data(), .iov_len = buffers_[i].size()};
      messages_[i].msg_hdr.msg_iov = &parts_[i];
      messages_[i].msg_hdr.msg_iovlen = 1;
    }
  }

  std::size_t receive() {
    const int count = ::recvmmsg(socket_.get(), messages_.data(), batch, MSG_WAITFORONE, nullptr);
    return count > 0 ? static_cast<std::size_t>(count) : 0;
  }

 private:
  test::Fd socket_;
  std::array<std::array<std::uint8_t, 2048>, batch> buffers_;
  std::array<iovec, batch> parts_;
  std::array<mmsghdr, batch> messages_ = {};
};

// An application looks at what it receives: at the port it came from, say.
void look_at(std::uint8_t byte) {
  asm volatile("" : : "r"(byte));
}
constexpr std::size_t looked_at = 14 + 20 + 1;

struct Place {
  test::World world;
  Traffic traffic;
};

double measure(const Plan& plan, const Place& place, std::uint16_t to, std::size_t size,
               const std::function<std::size_t()>& receive) {
  const test::Bytes frame = udp_frame(place.world, {test::wire4, remote_port}, {test::host4, to}, size, false);
  const Worker receiver(plan.cpus.application, receive);
  const test::Generator generator(place.world, frame, place.traffic.to_uplink(place.world), plan.cpus.kernel);
  return rate_of(plan, [&] { return receiver.count(); });
}

}  // namespace

void bench_receive(const Plan& plan, Report& report) {
  Place kernel_place, raw_place, vport_place;
  KernelReceiver kernel(kernel_place.world, port);
  RawSocket raw(raw_place.world.host(), test::uplink);
  raw_place.traffic.receive_by(raw_place.world, raw.fd());
  const test::Daemon daemon(vport_place.world);
  test::Stack stack(vport_place.world, test::alice, {.frames = 4096});
  const Claim claim = stack.claim(IPPROTO_UDP, {test::host4, port});
  Queue& queue = stack.vport().queue(0);
  KernelReceiver beside(vport_place.world, unclaimed_port);

  for (const std::size_t size : {64, 1400}) {
    const auto series = [](const char* name) { return Series{.name = name, .unit = "Mpps"}; };
    Lane vport_lane = {series("vport"), [&] {
                         return measure(plan, vport_place, port, size, [&] {
                           return queue.receive(batch, [](Frame frame) { look_at(frame.data()[looked_at]); });
                         });
                       }};
    Lane raw_lane = {series("AF_XDP on the uplink"), [&] {
                       return measure(plan, raw_place, port, size, [&] {
                         return raw.receive(batch, [](std::span<std::uint8_t> frame) { look_at(frame[looked_at]); });
                       });
                     }};
    Lane kernel_lane = {series("recvmmsg"),
                        [&] { return measure(plan, kernel_place, port, size, [&] { return kernel.receive(); }); }};
    Lane beside_lane = {series("recvmmsg beside vports"), [&] {
                          return measure(plan, vport_place, unclaimed_port, size, [&] { return beside.receive(); });
                        }};
    const std::string what = "receive, " + std::to_string(size) + " bytes";
    run_rounds(plan, what, {&vport_lane, &raw_lane, &kernel_lane, &beside_lane});
    report.add({.what = what, .measured = vport_lane.series, .against = raw_lane.series, .aim = "0.85 or more"});
    report.add({.what = what, .measured = vport_lane.series, .against = kernel_lane.series, .aim = "3.5 or more"});
    report.add({.what = what + ", of the kernel's own sockets",
                .measured = beside_lane.series,
                .against = kernel_lane.series,
                .aim = "1"});
  }
  report.note(
      "receive: one CPU runs the generator and, in its softirq, all that the kernel does for a frame; another runs the "
      "application, which never sleeps. The generator's share is the same in each, and what a NIC's driver would "
      "take.");
}

}  // namespace mstack::bench
