// SPDX-License-Identifier: BSD-2-Clause
// The table of maps.hpp against the BPF object itself.
#include <bpf/libbpf.h>
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>

#include "maps.hpp"
#include "mstack.skel.h"

namespace {

using mstack::maps::Definition;

// What a program remembers for a moment, of no use to anybody else: pinned nowhere.
const std::set<std::string> programs_own{"flows",        "icmp_pace",         "known_owners",
                                         "lo_datagrams", "neighbours_of_all", "neighbours_of_user",
                                         "next_hops",    "rx_datagrams",      "tx_datagrams"};

TEST(MapDefinitions, AreThoseOfTheBpfObject) {
  std::size_t size = 0;
  const void* elf = mstack_bpf::elf_bytes(&size);
  const std::unique_ptr<bpf_object, decltype(&bpf_object__close)> object(bpf_object__open_mem(elf, size, nullptr),
                                                                         &bpf_object__close);
  ASSERT_TRUE(object);
  std::set<std::string> seen;
  const bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object.get()) {
    if (bpf_map__is_internal(map)) continue;  // .rodata and the like
    const std::string name = bpf_map__name(map);
    if (programs_own.contains(name)) continue;
    const Definition* definition = mstack::maps::find_definition(name);
    ASSERT_TRUE(definition) << name << " is in no table";
    seen.insert(name);
    EXPECT_EQ(definition->type, bpf_map__type(map)) << name;
    EXPECT_EQ(definition->key_size, bpf_map__key_size(map)) << name;
    EXPECT_EQ(definition->value_size, bpf_map__value_size(map)) << name;
    EXPECT_EQ(definition->flags, bpf_map__map_flags(map)) << name;
    if (name == "claims")
      EXPECT_EQ(0u, definition->max_entries) << "it is set at start";
    else
      EXPECT_EQ(definition->max_entries, bpf_map__max_entries(map)) << name;
  }
  EXPECT_EQ(mstack::maps::definitions.size(), seen.size());
}

}  // namespace
