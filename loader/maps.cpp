// SPDX-License-Identifier: BSD-2-Clause
#include "maps.hpp"

#include <bpf/libbpf.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <set>
#include <span>

namespace mstack::maps {
namespace {

// What bpf(2) says of an operation that a map type lacks; not an errno that user space has a name for.
constexpr int kernel_enotsupp = 524;

std::string differs(const Definition& definition, const char* what, std::uint32_t is, std::uint32_t must_be) {
  return std::string("map ") + definition.name + " has " + what + " " + std::to_string(is) + ", not " +
         std::to_string(must_be);
}

// The array maps that BPF counts in give each element 8 bytes, also when it has only 4.
constexpr std::size_t array_stride = 8;

// One value of a per-CPU map: those of all CPUs, each padded to 8 bytes.
template <class Value>
Expected<std::vector<Value>> read_per_cpu(int map, std::uint32_t key, const char* name) {
  static_assert(sizeof(Value) % 8 == 0);
  const int cpus = libbpf_num_possible_cpus();
  if (cpus < 0) return system_failure(-cpus, "cannot count the CPUs");
  std::vector<Value> values(static_cast<std::size_t>(cpus));
  if (bpf_map_lookup_elem(map, &key, values.data()) < 0)
    return system_failure(errno, std::string("cannot read map ") + name);
  return values;
}

// For map types without batches. The kernel starts anew when the key it goes on from has gone, so each key is noted.
Expected<void> for_each_by_key(int map, std::uint32_t key_size, std::uint32_t value_size,
                               const detail::VisitEntry& visit) {
  std::vector<std::byte> key(key_size), next(key_size), value(value_size);
  std::set<std::vector<std::byte>> seen;
  bool first = true;
  // Bounded: who deletes and inserts faster than this reads must not keep it here for ever.
  for (int steps = 0; steps < (1 << 20); ++steps) {
    if (bpf_map_get_next_key(map, first ? nullptr : key.data(), next.data()) < 0) {
      if (errno == ENOENT) return {};
      return system_failure(errno, "cannot walk a map");
    }
    first = false;
    key = next;
    if (!seen.insert(key).second) continue;
    if (bpf_map_lookup_elem(map, key.data(), value.data()) == 0)
      visit(key.data(), value.data());
    else if (errno != ENOENT)
      return system_failure(errno, "cannot read a map entry");
  }
  return system_failure(EAGAIN, "cannot walk a map");
}

}  // namespace

const Definition* find_definition(std::string_view name) {
  const auto found = std::find_if(definitions.begin(), definitions.end(),
                                  [name](const Definition& definition) { return name == definition.name; });
  return found == definitions.end() ? nullptr : &*found;
}

Expected<void> check(int map, const Definition& definition) {
  bpf_map_info info = {};
  std::uint32_t size = sizeof(info);
  if (bpf_obj_get_info_by_fd(map, &info, &size) < 0)
    return system_failure(errno, std::string("cannot examine map ") + definition.name);
  if (info.type != definition.type) return failure(EPROTO, differs(definition, "type", info.type, definition.type));
  if (info.key_size != definition.key_size)
    return failure(EPROTO, differs(definition, "key size", info.key_size, definition.key_size));
  if (info.value_size != definition.value_size)
    return failure(EPROTO, differs(definition, "value size", info.value_size, definition.value_size));
  if (definition.max_entries && info.max_entries != definition.max_entries)
    return failure(EPROTO, differs(definition, "max_entries", info.max_entries, definition.max_entries));
  if ((info.map_flags & definition.flags) != definition.flags)
    return failure(EPROTO, differs(definition, "flags", info.map_flags, definition.flags));
  return {};
}

bool is_used_by(int program, int map) {
  bpf_map_info map_info = {};
  std::uint32_t size = sizeof(map_info);
  if (bpf_obj_get_info_by_fd(map, &map_info, &size) < 0) return false;
  std::array<std::uint32_t, 64> ids = {};  // the kernel's limit
  bpf_prog_info info = {};
  info.nr_map_ids = ids.size();
  info.map_ids = reinterpret_cast<std::uint64_t>(ids.data());
  size = sizeof(info);
  if (bpf_obj_get_info_by_fd(program, &info, &size) < 0) return false;
  const auto used = std::span(ids).first(std::min<std::size_t>(info.nr_map_ids, ids.size()));
  return std::ranges::find(used, map_info.id) != used.end();
}

Expected<Fd> open_pinned(const std::string& pin_dir, const Definition& definition, Access access) {
  const std::string path = pin_dir + "/" + definition.name;
  struct bpf_obj_get_opts options = {};
  options.sz = sizeof(options);
  options.file_flags = access == Access::read ? BPF_F_RDONLY : 0;
  Fd map(bpf_obj_get_opts(path.c_str(), &options));
  if (!map) return system_failure(errno, "cannot open the pinned map " + path);
  // Something else may be pinned by that name; a program answers the next question with EINVAL.
  if (auto checked = check(map.get(), definition); !checked) return std::unexpected(checked.error());
  return map;
}

Expected<mstack_meta> read_meta(int meta_map) {
  const std::uint32_t key = 0;
  mstack_meta meta = {};
  if (bpf_map_lookup_elem(meta_map, &key, &meta) < 0) return system_failure(errno, "cannot read map meta");
  if (meta.schema == 0) return failure(ENODATA, "map meta is not written yet");
  if (meta.schema != MSTACK_SCHEMA_VERSION)
    return failure(EPROTO, "the maps are of schema " + std::to_string(meta.schema) + ", not " +
                               std::to_string(MSTACK_SCHEMA_VERSION));
  return meta;
}

Expected<void> write_meta(int meta_map, const mstack_meta& meta) {
  const std::uint32_t key = 0;
  if (bpf_map_update_elem(meta_map, &key, &meta, BPF_ANY) < 0) return system_failure(errno, "cannot write map meta");
  return {};
}

// By batches: a batch is whole buckets of the hash table, and the next one goes on at a bucket, not at a key. So
// nothing that is deleted meanwhile makes it start anew, and nothing is seen twice.
Expected<void> detail::for_each(int map, std::uint32_t key_size, std::uint32_t value_size, const VisitEntry& visit) {
  std::uint32_t room = 1024;
  std::uint32_t from = 0, next = 0;
  bool first = true;
  std::vector<std::byte> keys, values;
  for (;;) {
    keys.resize(std::size_t{room} * key_size);
    values.resize(std::size_t{room} * value_size);
    std::uint32_t count = room;
    const int result =
        bpf_map_lookup_batch(map, first ? nullptr : &from, &next, keys.data(), values.data(), &count, nullptr);
    const int error = result < 0 ? errno : 0;
    if (error == kernel_enotsupp || error == EOPNOTSUPP) return for_each_by_key(map, key_size, value_size, visit);
    if (error == ENOSPC) {  // a bucket has more entries than there is room: no attacker fills one this far
      if (room >= (1u << 24)) return system_failure(ENOSPC, "cannot read a map");
      room *= 2;
      continue;
    }
    if (error && error != ENOENT) return system_failure(error, "cannot read a map");
    for (std::uint32_t i = 0; i < count; ++i)
      visit(keys.data() + std::size_t{i} * key_size, values.data() + std::size_t{i} * value_size);
    if (error == ENOENT) return {};
    from = next;
    first = false;
  }
}

Expected<Gauges> Gauges::map(int map, std::uint32_t count) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t size = (count * array_stride + page - 1) / page * page;
  auto mapping = Mapping::shared(map, size, 0, "port_gate or slot_claims");
  if (!mapping) return std::unexpected(mapping.error());
  return Gauges(std::move(*mapping), count);
}

std::uint32_t* Gauges::at(std::uint32_t index) const {
  if (index >= count_) return nullptr;
  return reinterpret_cast<std::uint32_t*>(std::assume_aligned<8>(mapping_.data() + index * array_stride));
}

std::uint32_t Gauges::load(std::uint32_t index) const {
  std::uint32_t* gauge = at(index);
  return gauge ? std::atomic_ref(*gauge).load(std::memory_order_relaxed) : 0;
}

std::uint32_t Gauges::add(std::uint32_t index, std::int32_t change) const {
  std::uint32_t* gauge = at(index);
  return gauge ? std::atomic_ref(*gauge).fetch_add(static_cast<std::uint32_t>(change)) : 0;
}

void Gauges::store(std::uint32_t index, std::uint32_t value) const {
  if (std::uint32_t* gauge = at(index)) std::atomic_ref(*gauge).store(value);
}

Expected<Epoch> Epoch::map(int map) {
  auto mapping = Mapping::shared(map, static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)), 0, "claims_epoch");
  if (!mapping) return std::unexpected(mapping.error());
  return Epoch(std::move(*mapping));
}

void Epoch::make_odd(bool odd) const {
  const std::atomic_ref number(*reinterpret_cast<std::uint64_t*>(std::assume_aligned<8>(mapping_.data())));
  if (const bool is_odd = number.load() % 2 != 0; is_odd != odd) number.fetch_add(1);
}

Expected<VerdictCounts> read_counters(int counters_map) {
  VerdictCounts counts = {};
  for (std::uint32_t verdict = 0; verdict < counts.size(); ++verdict) {
    const auto values = read_per_cpu<std::uint64_t>(counters_map, verdict, "counters");
    if (!values) return std::unexpected(values.error());
    for (const std::uint64_t value : *values) counts[verdict] += value;
  }
  return counts;
}

Expected<mstack_vport_stats> read_vport_stats(int vport_stats_map, std::uint32_t slot) {
  const auto values = read_per_cpu<mstack_vport_stats>(vport_stats_map, slot, "vport_stats");
  if (!values) return std::unexpected(values.error());
  mstack_vport_stats sum = {};
  for (const mstack_vport_stats& value : *values) {
    for (std::size_t verdict = 0; verdict < MSTACK_VERDICT_COUNT; ++verdict)
      sum.packets[verdict] += value.packets[verdict];
    sum.rx_bytes += value.rx_bytes;
    sum.tx_bytes += value.tx_bytes;
  }
  return sum;
}

Expected<void> clear_vport_stats(int vport_stats_map, std::uint32_t slot) {
  const int cpus = libbpf_num_possible_cpus();
  if (cpus < 0) return system_failure(-cpus, "cannot count the CPUs");
  const std::vector<mstack_vport_stats> zeros(static_cast<std::size_t>(cpus));
  if (bpf_map_update_elem(vport_stats_map, &slot, zeros.data(), BPF_ANY) < 0)
    return system_failure(errno, "cannot clear a vport's statistics");
  return {};
}

}  // namespace mstack::maps
