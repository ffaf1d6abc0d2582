// SPDX-License-Identifier: BSD-2-Clause
#include "traffic.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <net/if.h>

#include <algorithm>
#include <numeric>

#include "traffic.skel.h"

namespace mstack::bench {
namespace {

using test::check;

constexpr std::size_t headers = 14 + 20 + 8;
constexpr std::size_t checksum_at = 14 + 20 + 6;

unsigned index_in(const test::Namespace& netns, const std::string& interface) {
  return netns.run([&] { return ::if_nametoindex(interface.c_str()); });
}

}  // namespace

Traffic::Traffic() : skeleton_(traffic_bpf__open_and_load(), traffic_bpf__destroy) {
  if (!skeleton_) check(-1, "load the traffic programs");
}

Traffic::~Traffic() = default;

void Traffic::count_at(const test::World& world) const {
  // The neighbour's answers are dropped with all the rest.
  test::World::in(world.host(), "ip neigh replace " + test::wire4 + " lladdr " + test::text(world.wire_mac()) +
                                    " dev " + test::uplink + " nud permanent");
  world.wire().run([&] {
    check(::bpf_xdp_attach(static_cast<int>(::if_nametoindex(test::wire_end.c_str())),
                           bpf_program__fd(skeleton_->progs.count_and_drop), 0, nullptr),
          "attach the sink");
  });
}

std::uint64_t Traffic::arrived() const {
  std::vector<std::uint64_t> each(static_cast<std::size_t>(::libbpf_num_possible_cpus()));
  const std::uint32_t key = 0;
  check(::bpf_map_lookup_elem(bpf_map__fd(skeleton_->maps.arrived), &key, each.data()), "read the sink");
  return std::accumulate(each.begin(), each.end(), std::uint64_t{0});
}

void Traffic::receive_by(const test::World& world, int xsk) const {
  const std::uint32_t queue = 0;
  check(::bpf_map_update_elem(bpf_map__fd(skeleton_->maps.sockets), &queue, &xsk, BPF_ANY), "XSKMAP");
  world.host().run([&] {
    check(::bpf_xdp_attach(static_cast<int>(world.uplink_index()), bpf_program__fd(skeleton_->progs.to_socket), 0,
                           nullptr),
          "attach to_socket");
  });
}

test::Fd Traffic::ready(const test::World& world, bpf_map* out, bpf_program* program) {
  const std::uint32_t key = 0;
  const std::uint32_t ifindex = index_in(world.wire(), test::wire_end);
  world.wire().run([&] {  // a devmap takes devices of the caller's namespace
    check(::bpf_map_update_elem(bpf_map__fd(out), &key, &ifindex, BPF_ANY), "devmap");
  });
  return test::Fd{check(::fcntl(bpf_program__fd(program), F_DUPFD_CLOEXEC, 0), "duplicate a program")};
}

test::Fd Traffic::to_uplink(const test::World& world) const {
  return ready(world, skeleton_->maps.out, skeleton_->progs.generate);
}

test::Fd Traffic::flows_to_uplink(const test::World& world) const {
  return ready(world, skeleton_->maps.out, skeleton_->progs.generate_flows);
}

test::Bytes udp_frame(const test::World& world, const test::Endpoint& from, const test::Endpoint& to, std::size_t size,
                      bool from_host) {
  test::Segment segment = test::World::udp(from, to, std::string(size - headers, 'x'));
  segment.source_mac = from_host ? world.host_mac() : world.wire_mac();
  segment.destination_mac = from_host ? world.wire_mac() : world.host_mac();
  test::Bytes frame = test::build(segment);
  std::fill_n(frame.begin() + checksum_at, 2, std::uint8_t{0});
  return frame;
}

}  // namespace mstack::bench
