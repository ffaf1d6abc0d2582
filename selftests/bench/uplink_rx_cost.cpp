// SPDX-License-Identifier: BSD-2-Clause
// What uplink_rx adds to every packet of an uplink, over an XDP program that does nothing.
//
// Both are run by BPF_PROG_TEST_RUN, in turn within each round, so that a redirect is decided and not carried out.
// A hash table of 65,536 claims is as fast as the caches that hold it, so packets come in two orders:
//   bursts   64 packets of one flow, then 64 of another, of 1,024 flows spread evenly over all claims
//   mixed    every packet is of another flow, in a random order over all claims: no locality at all, the worst case
// Traffic is between the two. Claims are of UDP: one for each of 16,384 ports of up to four addresses.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <system_error>
#include <vector>

#include "flow_cycle.skel.h"
#include "mstack.skel.h"
#include "mstack_abi.h"

namespace {

constexpr std::size_t flow_count = 65536;
constexpr std::size_t burst_length = 64;
constexpr unsigned max_laps = 62;  // what lap_ns has room for
constexpr std::uint32_t own_slot = 1;

struct Flow {  // as flow_cycle.bpf.c has it
  std::array<std::uint32_t, 4> address;
  std::uint16_t port;
  std::uint16_t zero = 0;
};
static_assert(sizeof(Flow) == 20);

using Frame = std::vector<std::uint8_t>;

void check(int result, const char* what) {
  if (result < 0) throw std::system_error(-result, std::generic_category(), what);
}

struct Destroy {
  void operator()(mstack_bpf* skeleton) const { mstack_bpf__destroy(skeleton); }
  void operator()(flow_cycle_bpf* skeleton) const { flow_cycle_bpf__destroy(skeleton); }
};

// The i-th flow: claims take the first of them, in this order.
Flow flow_of(bool ipv6, std::size_t i) {
  const auto host = static_cast<std::uint32_t>(i / 16384);
  Flow flow{.address = {0, 0, htonl(0xffff), htonl(0xc0000201 + host)},  // 192.0.2.1 ..
            .port = htons(static_cast<std::uint16_t>(1024 + i % 16384))};
  if (ipv6) flow.address = {htonl(0x20010db8), 0, 0, htonl(1 + host)};
  return flow;
}

// Of the same shape, to a port that nobody claimed.
Flow gate_shut(bool ipv6, std::size_t i) {
  Flow flow = flow_of(ipv6, i % 16384);
  flow.port = htons(static_cast<std::uint16_t>(32768 + i % 32768));
  return flow;
}

// To a claimed port, and an address of which nobody claimed it.
Flow gate_open(bool ipv6, std::size_t i) {
  Flow flow = flow_of(ipv6, i % 16384);
  flow.address[3] = htonl(ipv6 ? 99 : 0xc0000263);
  return flow;
}

Frame frame_of(bool ipv6, const Flow& flow) {
  Frame frame(14, 2);
  const auto add = [&](const auto&... bytes) { (frame.push_back(static_cast<std::uint8_t>(bytes)), ...); };
  const auto add_address = [&](std::size_t first) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(flow.address.data());
    frame.insert(frame.end(), bytes + first, bytes + sizeof flow.address);
  };
  constexpr std::uint8_t udp_length = 8 + 18;  // 60 bytes on the wire, for IPv4
  frame[12] = ipv6 ? 0x86 : 0x08;
  frame[13] = ipv6 ? 0xdd : 0x00;
  if (ipv6) {
    add(0x60, 0, 0, 0, 0, udp_length, IPPROTO_UDP, 64);
    add(0x20, 0x01, 0x0d, 0xb8, 0, 0xf, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2);
    add_address(0);
  } else {
    add(0x45, 0, 0, 20 + udp_length, 0, 0, 0x40, 0, 64, IPPROTO_UDP, 0, 0);
    add(198, 51, 100, 2);
    add_address(12);
  }
  add(0x9c, 0x40);
  const auto* port = reinterpret_cast<const std::uint8_t*>(&flow.port);
  add(port[0], port[1], 0, udp_length, 0, 0);
  frame.resize(frame.size() + 18);
  return frame;
}

// uplink_rx with so many claims, and a device for the vport that has them all.
class Loaded {
 public:
  Loaded(std::size_t claims, bool ipv6) : claims_(claims), ipv6_(ipv6) {
    skeleton_.reset(mstack_bpf__open());
    if (!skeleton_) check(-errno, "open the programs");
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, skeleton_->obj) {
      bpf_program__set_autoload(program, program == skeleton_->progs.uplink_rx);
    }
    check(mstack_bpf__load(skeleton_.get()), "load the programs");
    const std::uint32_t loopback = 1;
    check(bpf_map_update_elem(bpf_map__fd(skeleton_->maps.vport_devs), &own_slot, &loopback, BPF_ANY), "vport_devs");
    for (std::size_t i = 0; i < claims; ++i) claim(flow_of(ipv6, i));
  }

  std::size_t claims() const { return claims_; }
  bool ipv6() const { return ipv6_; }
  int program() const { return bpf_program__fd(skeleton_->progs.uplink_rx); }

 private:
  void claim(const Flow& flow) {
    mstack_tuple tuple{};
    std::memcpy(tuple.addr, flow.address.data(), sizeof tuple.addr);
    tuple.port = flow.port;
    tuple.protocol = IPPROTO_UDP;
    const mstack_claim claim{
        .cookie = 1, .vport = 1, .uid = 0, .slot = own_slot, .queues = 1, .state = MSTACK_CLAIM_ACTIVE};
    check(bpf_map_update_elem(bpf_map__fd(skeleton_->maps.claims), &tuple, &claim, BPF_ANY), "claims");
    const std::uint32_t gate = mstack_gate_index(IPPROTO_UDP, ntohs(flow.port));
    const std::uint32_t one = 1;
    check(bpf_map_update_elem(bpf_map__fd(skeleton_->maps.port_gate), &gate, &one, BPF_ANY), "port_gate");
  }

  std::size_t claims_;
  bool ipv6_;
  std::unique_ptr<mstack_bpf, Destroy> skeleton_;
};

struct Kind {
  const char* name;
  Flow (*flow)(bool ipv6, std::size_t i);
  std::uint32_t action;
};

constexpr Kind kinds[] = {
    {.name = "claimed", .flow = flow_of, .action = XDP_REDIRECT},
    {.name = "unclaimed", .flow = gate_shut, .action = XDP_PASS},
    {.name = "unclaimed, port claimed", .flow = gate_open, .action = XDP_PASS},
};

enum class Order { kBursts, kMixed };

struct Nanoseconds {  // a packet
  double empty, uplink_rx;
};

class Bench {
 public:
  explicit Bench(unsigned laps) : laps_(laps) {
    cycle_.reset(flow_cycle_bpf__open_and_load());
    if (!cycle_) check(-errno, "load flow_cycle");
  }

  Nanoseconds run(const Loaded& loaded, const Kind& kind, Order order) {
    list_flows(loaded, kind, order);
    const Frame frame = frame_of(loaded.ipv6(), kind.flow(loaded.ipv6(), 0));
    const double empty = run(bpf_program__fd(cycle_->progs.empty), frame, XDP_PASS);
    return {.empty = empty, .uplink_rx = run(loaded.program(), frame, kind.action)};
  }

 private:
  double run(int program, Frame frame, std::uint32_t action) {
    const std::uint32_t first = 0;
    check(bpf_map_update_elem(bpf_map__fd(cycle_->maps.measured), &first, &program, BPF_ANY), "prog array");
    cycle_->bss->next_flow = 0;
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame.data(), .data_out = nullptr,
                .data_size_in = static_cast<__u32>(frame.size()), .data_size_out = 0, .ctx_in = nullptr,
                .ctx_out = nullptr, .ctx_size_in = 0, .ctx_size_out = 0, .retval = 0,
                .repeat = static_cast<int>((laps_ + 1) * flow_count + 1));
    check(bpf_prog_test_run_opts(bpf_program__fd(cycle_->progs.flow_cycle), &options), "BPF_PROG_TEST_RUN");
    if (options.retval != action) throw std::runtime_error(fmt::format("action {} is not {}", options.retval, action));
    // The first lap is not counted: it finds the caches as the other program left them.
    const auto spent = static_cast<double>(cycle_->bss->lap_ns[laps_ + 1] - cycle_->bss->lap_ns[1]);
    return spent / (static_cast<double>(laps_) * flow_count);
  }

  void list_flows(const Loaded& loaded, const Kind& kind, Order order) {
    const std::size_t burst = order == Order::kBursts ? burst_length : 1;
    const std::size_t bursts = flow_count / burst;
    // Flows spread evenly over all claims; where there are fewer claims than bursts, each as often as any other.
    std::vector<std::size_t> chosen(bursts);
    for (std::size_t i = 0; i < bursts; ++i) {
      chosen[i] = loaded.claims() < bursts ? i % loaded.claims() : i * (loaded.claims() / bursts);
    }
    std::ranges::shuffle(chosen, random_);
    for (std::uint32_t i = 0; i < flow_count; ++i) {
      const Flow flow = kind.flow(loaded.ipv6(), chosen[i / burst]);
      check(bpf_map_update_elem(bpf_map__fd(cycle_->maps.flows), &i, &flow, BPF_ANY), "flows");
    }
  }

  unsigned laps_;
  std::unique_ptr<flow_cycle_bpf, Destroy> cycle_;
  std::mt19937 random_{1};
};

struct Result {
  const Loaded* loaded;
  const Kind* kind;
  Order order;
  std::vector<Nanoseconds> rounds;
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t half = values.size() / 2;
  return values.size() % 2 != 0 ? values[half] : (values[half - 1] + values[half]) / 2;
}

template <typename Of>
double median_of(const Result& result, Of of) {
  std::vector<double> values;
  for (const Nanoseconds& round : result.rounds) values.push_back(of(round));
  return median(std::move(values));
}

std::vector<double> costs(const Result& result) {
  std::vector<double> values;
  for (const Nanoseconds& round : result.rounds) values.push_back(round.uplink_rx - round.empty);
  return values;
}

double over_empty(const Result& result) {
  return median(costs(result));
}
double ratio(const Result& result) {
  return median_of(result, [](const auto& round) { return round.uplink_rx / round.empty; });
}

const char* name_of(Order order) {
  return order == Order::kBursts ? "bursts" : "mixed";
}

std::string kernel() {
  utsname name{};
  uname(&name);
  return name.release;
}

void print_json(const std::vector<Result>& results, unsigned rounds, unsigned laps) {
  nlohmann::json out{{"benchmark", "uplink_rx_cost"},
                     {"kernel", kernel()},
                     {"rounds", rounds},
                     {"packets_a_round", laps * flow_count}};
  for (const Result& result : results) {
    out["results"].push_back({{"family", result.loaded->ipv6() ? "IPv6" : "IPv4"},
                              {"traffic", result.kind->name},
                              {"claims", result.loaded->claims()},
                              {"packets", name_of(result.order)},
                              {"over_empty_ns", over_empty(result)},
                              {"over_empty_ns_of_rounds", costs(result)},
                              {"ratio", ratio(result)},
                              {"empty_ns", median_of(result, [](const auto& round) { return round.empty; })},
                              {"uplink_rx_ns", median_of(result, [](const auto& round) { return round.uplink_rx; })}});
  }
  std::cout << out.dump(2) << "\n";
}

void print_table(const std::vector<Result>& results, unsigned rounds, unsigned laps) {
  fmt::print("uplink_rx over an empty XDP program, Linux {}: medians of {} rounds of {} packets\n\n", kernel(), rounds,
             laps * flow_count);
  fmt::print("{:<6}{:<26}{:>8}  {:<8}{:>10}{:>8}\n", "", "traffic", "claims", "packets", "ns over", "ratio");
  for (const Result& result : results) {
    fmt::print("{:<6}{:<26}{:>8}  {:<8}{:>10.1f}{:>8.2f}\n", result.loaded->ipv6() ? "IPv6" : "IPv4", result.kind->name,
               result.loaded->claims(), name_of(result.order), over_empty(result), ratio(result));
  }
}

void settle() {
  const rlimit unlimited{.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
  setrlimit(RLIMIT_MEMLOCK, &unlimited);
  // Maps name devices of the current network namespace: one of our own.
  if (unshare(CLONE_NEWNET) != 0) check(-errno, "unshare(CLONE_NEWNET)");
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<std::size_t>(sched_getcpu()), &one);
  sched_setaffinity(0, sizeof one, &one);
  libbpf_set_print(nullptr);
}

void bench(unsigned rounds, unsigned laps, bool json) {
  settle();
  std::vector<std::unique_ptr<Loaded>> loaded;
  for (const bool ipv6 : {false, true}) {
    for (const std::size_t claims : {1, 1000, 65536}) loaded.push_back(std::make_unique<Loaded>(claims, ipv6));
  }
  std::vector<Result> results;
  for (const auto& one : loaded) {
    for (const Kind& kind : kinds) {
      for (const Order order : {Order::kBursts, Order::kMixed}) {
        results.push_back({.loaded = one.get(), .kind = &kind, .order = order, .rounds = {}});
      }
    }
  }
  Bench measuring(laps);
  for (unsigned round = 0; round < rounds; ++round) {
    for (Result& result : results) {
      result.rounds.push_back(measuring.run(*result.loaded, *result.kind, result.order));
    }
  }
  json ? print_json(results, rounds, laps) : print_table(results, rounds, laps);
}

}  // namespace

int main(int argc, char** argv) try {
  unsigned rounds = 5;
  unsigned laps = 16;
  bool json = false;
  CLI::App app{"What uplink_rx costs over an XDP program that does nothing. Needs root."};
  app.add_option("--rounds", rounds, "rounds, of which the median counts")->check(CLI::Range(1U, 1000U));
  app.add_option("--laps", laps, "packets a measurement, in units of 65,536")->check(CLI::Range(1U, max_laps));
  app.add_flag("--json", json, "for programs");
  CLI11_PARSE(app, argc, argv);
  bench(rounds, laps, json);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "uplink_rx_cost: %s\n", error.what());
  return 1;
}
