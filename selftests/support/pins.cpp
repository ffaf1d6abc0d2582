// SPDX-License-Identifier: BSD-2-Clause
#include "support/pins.hpp"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <optional>
#include <span>

namespace mstack::test {

namespace {

template <typename Key, typename Value>
std::vector<std::pair<Key, Value>> entries(int map) {
  std::vector<std::pair<Key, Value>> out;
  Key key{}, next{};
  const Key* previous = nullptr;
  while (::bpf_map_get_next_key(map, previous, &next) == 0) {
    key = next;
    previous = &key;
    Value value{};
    if (::bpf_map_lookup_elem(map, &key, &value) == 0) out.emplace_back(key, value);
  }
  return out;
}

template <typename Value>
std::vector<Value> per_cpu(int map, std::uint32_t key) {
  std::vector<Value> values(static_cast<std::size_t>(check(::libbpf_num_possible_cpus(), "possible CPUs")));
  check(::bpf_map_lookup_elem(map, &key, values.data()), "read per-CPU values");
  return values;
}

// Of an array that can be mapped: read by the kernel, its 327,680 numbers take long on an emulated machine.
std::uint64_t array_sum(int map, std::uint32_t entries) {
  const std::size_t size = std::size_t{entries} * sizeof(std::uint64_t);  // an entry takes eight bytes
  void* const mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, map, 0);
  if (mapped == MAP_FAILED) check(-1, "map an array");
  const std::span values(static_cast<const std::uint64_t*>(mapped), entries);
  const std::uint64_t sum = std::reduce(values.begin(), values.end());
  ::munmap(mapped, size);
  return sum;
}

}  // namespace

mstack_tuple tuple(int protocol, const Endpoint& endpoint) {
  mstack_tuple out{};
  Bytes bytes = address_bytes(endpoint.address);
  if (bytes.size() == 4) {
    const Bytes mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    bytes.insert(bytes.begin(), mapped.begin(), mapped.end());
  }
  std::memcpy(out.addr, bytes.data(), bytes.size());
  out.port = htons(endpoint.port);
  out.protocol = static_cast<std::uint8_t>(protocol);
  return out;
}

bool same(const mstack_tuple& left, const mstack_tuple& right) {
  return std::memcmp(&left, &right, sizeof(left)) == 0;
}

bool Pins::present() const {
  std::error_code ignored;
  return std::filesystem::exists(directory_, ignored) && !std::filesystem::is_empty(directory_, ignored);
}

Fd Pins::open(const std::string& map) const {
  const std::string path = directory_ + "/" + map;
  return Fd{check(::bpf_obj_get(path.c_str()), "open " + path)};
}

std::map<std::uint32_t, mstack_vport> Pins::vports() const {
  std::map<std::uint32_t, mstack_vport> out;
  for (const auto& [id, vport] : entries<std::uint32_t, mstack_vport>(open("vports").get())) out.emplace(id, vport);
  return out;
}

std::vector<std::pair<mstack_tuple, mstack_claim>> Pins::claims() const {
  return entries<mstack_tuple, mstack_claim>(open("claims").get());
}

bool Pins::claimed(int protocol, const Endpoint& endpoint) const {
  const mstack_tuple key = tuple(protocol, endpoint);
  mstack_claim claim{};
  return ::bpf_map_lookup_elem(open("claims").get(), &key, &claim) == 0 && claim.state == MSTACK_CLAIM_ACTIVE;
}

std::uint64_t Pins::gate_sum() const {
  return array_sum(open("port_gate").get(), MSTACK_GATE_SIZE);
}
std::uint64_t Pins::slot_claims_sum() const {
  return array_sum(open("slot_claims").get(), MSTACK_MAX_SLOTS);
}

std::uint64_t Pins::counter(mstack_verdict verdict) const {
  const auto values = per_cpu<std::uint64_t>(open("counters").get(), verdict);
  return std::accumulate(values.begin(), values.end(), std::uint64_t{0});
}

std::uint64_t Pins::counter(mstack_verdict verdict, std::uint32_t slot) const {
  std::uint64_t sum = 0;
  for (const auto& stats : per_cpu<mstack_vport_stats>(open("vport_stats").get(), slot)) sum += stats.packets[verdict];
  return sum;
}

std::map<std::string, std::uint64_t> Pins::counters() const {
  std::map<std::string, std::uint64_t> out;
  for (std::uint32_t verdict = 0; verdict < MSTACK_VERDICT_COUNT; ++verdict) {
    if (const auto count = counter(static_cast<mstack_verdict>(verdict)); count != 0)
      out[verdict_name(verdict)] = count;
  }
  return out;
}

std::vector<std::uint32_t> Pins::uplinks() const {
  std::vector<std::uint32_t> out;
  for (const auto& [ifindex, info] : entries<std::uint32_t, mstack_uplink>(open("uplink_info").get())) {
    out.push_back(ifindex);
  }
  return out;
}

mstack_meta Pins::meta() const {
  mstack_meta value{};
  const std::uint32_t zero = 0;
  check(::bpf_map_lookup_elem(open("meta").get(), &zero, &value), "read meta");
  return value;
}

void Pins::set_meta(const mstack_meta& meta) const {
  const std::uint32_t zero = 0;
  check(::bpf_map_update_elem(open("meta").get(), &zero, &meta, BPF_ANY), "write meta");
}

const char* verdict_name(std::uint32_t verdict) {
  static constexpr std::array names{
#define MSTACK_VERDICT_TEXT(name, text) #name,
      MSTACK_VERDICTS(MSTACK_VERDICT_TEXT)
#undef MSTACK_VERDICT_TEXT
  };
  return names.at(verdict);
}

}  // namespace mstack::test
