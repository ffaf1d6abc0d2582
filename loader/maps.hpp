// SPDX-License-Identifier: BSD-2-Clause
//
// The maps of MultiStack as a program outside the kernel meets them: what each must look like, and typed access.
// Everything here works on descriptors that are lent; map_view.hpp owns a set of them.
#pragma once

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fd.hpp"
#include "mapping.hpp"
#include "mstack/error.hpp"
#include "mstack_abi.h"

namespace mstack::maps {

struct Definition {
  const char* name = nullptr;
  bpf_map_type type = BPF_MAP_TYPE_UNSPEC;
  std::uint32_t key_size = 0;
  std::uint32_t value_size = 0;
  std::uint32_t max_entries = 0;  // 0: as mstackd was told; meta.max_claims says it
  std::uint32_t flags = 0;        // those that must be set
};

// bpf/lib/maps.h, in other words. mstackd compares with it what it takes over; the tools, what they read.
inline constexpr std::array definitions = {
    Definition{"claims", BPF_MAP_TYPE_HASH, sizeof(mstack_tuple), sizeof(mstack_claim), 0},
    Definition{"port_gate", BPF_MAP_TYPE_ARRAY, 4, 4, MSTACK_GATE_SIZE, BPF_F_MMAPABLE},
    Definition{"claims_epoch", BPF_MAP_TYPE_ARRAY, 4, 8, 1, BPF_F_MMAPABLE},
    Definition{"slot_claims", BPF_MAP_TYPE_ARRAY, 4, 4, MSTACK_MAX_SLOTS, BPF_F_MMAPABLE},
    Definition{"sockets", BPF_MAP_TYPE_SK_STORAGE, 4, sizeof(mstack_socket), 0, BPF_F_NO_PREALLOC},
    Definition{"host_ends", BPF_MAP_TYPE_HASH, 4, sizeof(mstack_host_end), MSTACK_MAX_SLOTS},
    Definition{"vports", BPF_MAP_TYPE_HASH, 4, sizeof(mstack_vport), MSTACK_MAX_SLOTS},
    Definition{"vport_devs", BPF_MAP_TYPE_DEVMAP, 4, 4, MSTACK_MAX_SLOTS},
    Definition{"vport_chain_devs", BPF_MAP_TYPE_DEVMAP, 4, 4, MSTACK_MAX_SLOTS},
    Definition{"vport_ifindexes", BPF_MAP_TYPE_HASH, 4, 4, MSTACK_MAX_SLOTS},
    Definition{"vport_xsks", BPF_MAP_TYPE_XSKMAP, 4, 4, MSTACK_MAX_SLOTS},
    Definition{"uplinks", BPF_MAP_TYPE_DEVMAP_HASH, 4, 4, MSTACK_MAX_UPLINKS},
    Definition{"uplink_info", BPF_MAP_TYPE_HASH, 4, sizeof(mstack_uplink), MSTACK_MAX_UPLINKS},
    Definition{"vlans", BPF_MAP_TYPE_HASH, sizeof(mstack_vlan), 4, MSTACK_MAX_VLANS},
    Definition{"vlan_devices", BPF_MAP_TYPE_HASH, 4, sizeof(mstack_vlan_device), MSTACK_MAX_VLANS},
    Definition{"local_addrs", BPF_MAP_TYPE_HASH, sizeof(mstack_address), sizeof(mstack_local), MSTACK_MAX_ADDRS},
    Definition{"address_gate", BPF_MAP_TYPE_ARRAY, 4, 4, 1 << MSTACK_ADDRESS_GATE_BITS, BPF_F_MMAPABLE},
    Definition{"counters", BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, MSTACK_VERDICT_COUNT},
    Definition{"vport_stats", BPF_MAP_TYPE_PERCPU_ARRAY, 4, sizeof(mstack_vport_stats), MSTACK_MAX_SLOTS},
    Definition{"events", BPF_MAP_TYPE_RINGBUF, 0, 0, 256 * 1024},
    Definition{"meta", BPF_MAP_TYPE_ARRAY, 4, sizeof(mstack_meta), 1},
};

// Slot to host end, for each kind of program that redirects to it. What is in one is in all.
inline constexpr std::array device_maps = {"vport_ifindexes", "vport_chain_devs", "vport_devs"};

// The definition of that name, which must be one of the above.
consteval const Definition& definition(std::string_view name) {
  for (const Definition& candidate : definitions)
    if (name == candidate.name) return candidate;
  throw "no such map";
}
const Definition* find_definition(std::string_view name);  // nullptr: none

// What an opened map really is against what it must be. EPROTO names the first difference.
Expected<void> check(int map, const Definition& definition);
// Whether a program uses the map: by the map of claims a program is known as this MultiStack's, or as another's.
bool is_used_by(int program, int map);

enum class Access { read, write };

// A pinned map, checked. ENOENT: nothing is pinned there.
Expected<Fd> open_pinned(const std::string& pin_dir, const Definition& definition, Access access);

// meta, whose schema was compared with ours. EPROTO: it is another's. ENODATA: no mstackd has written it yet.
Expected<mstack_meta> read_meta(int meta_map);
Expected<void> write_meta(int meta_map, const mstack_meta& meta);

namespace detail {
using VisitEntry = std::function<void(const void* key, const void* value)>;
Expected<void> for_each(int map, std::uint32_t key_size, std::uint32_t value_size, const VisitEntry& visit);
}  // namespace detail

// A hash map (claims, host_ends, vports, uplink_info, vlans, vlan_devices, local_addrs).
template <class Key, class Value>
class Hash {
 public:
  explicit Hash(int map) : map_(map) {}

  // Shows each entry, visit(const Key&, const Value&). Entries that come and go meanwhile are seen or not; all others
  // exactly once. The visitor may erase what it is shown.
  template <class Visit>
  Expected<void> for_each(Visit&& visit) const {
    return detail::for_each(map_, sizeof(Key), sizeof(Value), [&visit](const void* key, const void* value) {
      visit(*static_cast<const Key*>(key), *static_cast<const Value*>(value));
    });
  }
  [[nodiscard]] Expected<std::optional<Value>> find(const Key& key) const {
    Value value = {};
    if (bpf_map_lookup_elem(map_, &key, &value) == 0) return value;
    if (errno == ENOENT) return std::nullopt;
    return system_failure(errno, "cannot read a map entry");
  }
  // BPF_NOEXIST: EEXIST if it is there. BPF_EXIST: ENOENT if it is not. E2BIG: the map is full.
  Expected<void> set(const Key& key, const Value& value, std::uint64_t flags = BPF_ANY) const {
    if (bpf_map_update_elem(map_, &key, &value, flags) == 0) return {};
    return system_failure(errno, "cannot write a map entry");
  }
  // False: it was not there.
  Expected<bool> erase(const Key& key) const {
    if (bpf_map_delete_elem(map_, &key) == 0) return true;
    if (errno == ENOENT) return false;
    return system_failure(errno, "cannot delete a map entry");
  }

 private:
  int map_;
};

using Claims = Hash<mstack_tuple, mstack_claim>;
using HostEnds = Hash<std::uint32_t, mstack_host_end>;
using Vports = Hash<std::uint32_t, mstack_vport>;
using UplinkInfo = Hash<std::uint32_t, mstack_uplink>;
using VlanByTags = Hash<mstack_vlan, std::uint32_t>;
using VlanDevices = Hash<std::uint32_t, mstack_vlan_device>;
using LocalAddrs = Hash<mstack_address, mstack_local>;  // to read; mstackd writes these two as HashOfEpochs

// port_gate, slot_claims and address_gate, mapped: the numbers that BPF counts down and mstackd up, each atomically.
class Gauges {
 public:
  static Expected<Gauges> map(int map, std::uint32_t count);
  [[nodiscard]] std::uint32_t load(std::uint32_t index) const;
  // The value before. `change` may be negative. An index beyond the end is ignored, and reads 0.
  std::uint32_t add(std::uint32_t index, std::int32_t change) const;
  void store(std::uint32_t index, std::uint32_t value) const;

 private:
  Gauges(Mapping mapping, std::uint32_t count) : mapping_(std::move(mapping)), count_(count) {}
  [[nodiscard]] std::uint32_t* at(std::uint32_t index) const;
  Mapping mapping_;
  std::uint32_t count_;
};

// claims_epoch, mapped: what BPF remembers of `claims` and `local_addrs` it forgets when another epoch begins, and
// while the number is odd it remembers nothing. So whoever is killed half-way through a change costs time, and misleads
// nobody.
class Epoch {
 public:
  static Expected<Epoch> map(int map);  // that no other process changes: BPF counts up by 2

  // A change that is under way. Not two at a time.
  class Change {
   public:
    explicit Change(const Epoch& epoch) : epoch_(&epoch) { epoch_->make_odd(true); }
    ~Change() { epoch_->make_odd(false); }
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;

   private:
    const Epoch* epoch_;
  };

 private:
  explicit Epoch(Mapping mapping) : mapping_(std::move(mapping)) {}
  void make_odd(bool odd) const;
  Mapping mapping_;
};

// A hash map whose every change begins an epoch, which must outlive it.
template <class Key, class Value>
class HashOfEpochs : public Hash<Key, Value> {
 public:
  HashOfEpochs(int map, const Epoch& epoch) : Hash<Key, Value>(map), epoch_(&epoch) {}
  Expected<void> set(const Key& key, const Value& value, std::uint64_t flags = BPF_ANY) const {
    const Epoch::Change change(*epoch_);
    return Hash<Key, Value>::set(key, value, flags);
  }
  Expected<bool> erase(const Key& key) const {
    const Epoch::Change change(*epoch_);
    return Hash<Key, Value>::erase(key);
  }

 private:
  const Epoch* epoch_;
};

using VerdictCounts = std::array<__u64, MSTACK_VERDICT_COUNT>;

Expected<VerdictCounts> read_counters(int counters_map);                                 // over all CPUs
Expected<mstack_vport_stats> read_vport_stats(int vport_stats_map, std::uint32_t slot);  // over all CPUs
Expected<void> clear_vport_stats(int vport_stats_map, std::uint32_t slot);

}  // namespace mstack::maps
