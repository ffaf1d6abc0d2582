// SPDX-License-Identifier: BSD-2-Clause
//
// The wire's side of a measurement: frames out of nowhere at 20 million a second, and a sink that counts them.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "support/world.hpp"

struct bpf_map;
struct bpf_program;
struct traffic_bpf;  // NOLINT(readability-identifier-naming): bpftool names it

namespace mstack::bench {

// The BPF programs of traffic.bpf.c, of one world.
class Traffic {
 public:
  Traffic();
  ~Traffic();
  Traffic(Traffic&&) = delete;

  // The wire's end of the veth drops what arrives there, and counts it.
  void count_at(const test::World& world) const;
  [[nodiscard]] std::uint64_t arrived() const;

  // What a test::Generator runs: by a devmap, which costs less a frame than by the device's number.
  [[nodiscard]] test::Fd to_uplink(const test::World& world) const;
  // The same, and each frame is of the next of 64 flows, by its UDP source port.
  [[nodiscard]] test::Fd flows_to_uplink(const test::World& world) const;

  // Frames that reach the uplink go to the socket.
  void receive_by(const test::World& world, int xsk) const;

 private:
  [[nodiscard]] static test::Fd ready(const test::World& world, bpf_map* out, bpf_program* program);
  std::unique_ptr<traffic_bpf, void (*)(traffic_bpf*)> skeleton_;
};

// A UDP frame of `size` bytes without a checksum, as IPv4 allows: it is the NIC that computes and checks those.
test::Bytes udp_frame(const test::World& world, const test::Endpoint& from, const test::Endpoint& to, std::size_t size,
                      bool from_host);

}  // namespace mstack::bench
