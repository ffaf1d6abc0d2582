// SPDX-License-Identifier: BSD-2-Clause
// Access to maps, on maps made here and pinned in a BPF file system of this test's own. Skipped without the privilege.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <thread>
#include <tuple>

#include "map_view.hpp"
#include "maps.hpp"
#include "net/link.hpp"
#include "net/tc.hpp"

namespace {

using namespace mstack;
using maps::Access;
using maps::Definition;

template <class T>
T must(Expected<T> result) {
  if (!result) throw std::runtime_error(result.error().what);
  return std::move(*result);
}
void must(Expected<void> result) {
  if (!result) throw std::runtime_error(result.error().what);
}

Fd create(const Definition& definition, std::uint32_t max_entries = 0) {
  struct bpf_map_create_opts options = {};
  options.sz = sizeof(options);
  options.map_flags = definition.flags;
  if (!max_entries) max_entries = definition.max_entries ? definition.max_entries : 64;
  Fd map(bpf_map_create(definition.type, definition.name, definition.key_size, definition.value_size, max_entries,
                        &options));
  if (!map) throw std::runtime_error(std::string("bpf_map_create ") + definition.name + ": " + std::strerror(errno));
  return map;
}

class Maps : public testing::Test {
 protected:
  void SetUp() override {
    const rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    setrlimit(RLIMIT_MEMLOCK, &all);
    root_ = std::filesystem::temp_directory_path() / ("mstack-maps-" + std::to_string(getpid()));
    std::filesystem::create_directory(root_);
    // In a mount namespace of our own: it goes with this process, whatever happens.
    if (unshare(CLONE_NEWNS) < 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0 ||
        mount("bpf", root_.c_str(), "bpf", 0, nullptr) < 0)
      GTEST_SKIP() << "no right to mount a BPF file system";
    pins_ = root_ / "mstack";
    std::filesystem::create_directory(pins_);
  }
  void TearDown() override {
    umount2(root_.c_str(), MNT_DETACH);
    std::filesystem::remove(root_);
  }
  std::string root() const { return root_; }
  std::string pins() const { return pins_; }
  void pin(const Fd& map, const char* name) { ASSERT_EQ(0, bpf_obj_pin(map.get(), (pins_ / name).c_str())); }
  void pin_all_but(const std::string& left_out) {
    for (const Definition& definition : maps::definitions)
      if (definition.name != left_out && definition.type != BPF_MAP_TYPE_SK_STORAGE)
        pin(create(definition), definition.name);
  }
  void write_meta(std::uint32_t schema) {
    mstack_meta meta = {};
    meta.schema = schema;
    meta.max_claims = 64;
    must(maps::write_meta(must(maps::open_pinned(pins(), maps::definition("meta"), Access::write)).get(), meta));
  }

 private:
  std::filesystem::path root_, pins_;
};

mstack_tuple tuple_of(std::uint32_t number) {
  mstack_tuple tuple = {};
  tuple.addr[3] = number;
  tuple.protocol = 17;
  return tuple;
}

TEST(MapDefinitions, EveryMapOnce) {
  EXPECT_EQ(21u, maps::definitions.size());
  for (const Definition& definition : maps::definitions) EXPECT_EQ(&definition, maps::find_definition(definition.name));
  EXPECT_EQ(nullptr, maps::find_definition("none"));
  EXPECT_EQ(24u, maps::definition("claims").value_size);
}

TEST_F(Maps, CheckNamesWhatDiffers) {
  const Definition& right = maps::definition("host_ends");
  must(maps::check(create(right).get(), right));
  const auto refused = [&right](Definition wrong) { return maps::check(create(wrong).get(), right).error(); };
  Definition wrong = right;
  wrong.value_size = 16;
  EXPECT_EQ(EPROTO, refused(wrong).code);
  EXPECT_EQ("map host_ends has value size 16, not 8", refused(wrong).what);
  wrong = right;
  wrong.key_size = 8;
  EXPECT_EQ("map host_ends has key size 8, not 4", refused(wrong).what);
  wrong = right;
  wrong.max_entries = 7;
  EXPECT_EQ("map host_ends has max_entries 7, not 1024", refused(wrong).what);
  wrong = right;
  wrong.type = BPF_MAP_TYPE_ARRAY;
  EXPECT_EQ("map host_ends has type 2, not 1", refused(wrong).what);
  wrong = maps::definition("port_gate");
  wrong.flags = 0;
  EXPECT_EQ("map port_gate has flags 0, not 1024",
            maps::check(create(wrong).get(), maps::definition("port_gate")).error().what);
}

TEST_F(Maps, EveryTypeThatCanBeMadeHerePassesItsOwnCheck) {
  for (const Definition& definition : maps::definitions)
    if (definition.type != BPF_MAP_TYPE_SK_STORAGE) must(maps::check(create(definition).get(), definition));
}

TEST_F(Maps, OpenPinned) {
  EXPECT_EQ(ENOENT, maps::open_pinned(pins(), maps::definition("meta"), Access::read).error().code);
  pin(create(maps::definition("vports")), "claims");
  EXPECT_EQ(EPROTO, maps::open_pinned(pins(), maps::definition("claims"), Access::read).error().code);
  pin(create(maps::definition("vports")), "vports");
  const Fd map = must(maps::open_pinned(pins(), maps::definition("vports"), Access::read));
  EXPECT_FALSE(maps::Vports(map.get()).set(1, {})) << "opened to read";
  const Fd writable = must(maps::open_pinned(pins(), maps::definition("vports"), Access::write));
  must(maps::Vports(writable.get()).set(1, {}));
}

TEST_F(Maps, HashEntries) {
  const Fd map = create(maps::definition("claims"), 2);
  const maps::Claims claims(map.get());
  mstack_claim claim = {};
  claim.cookie = 7;
  EXPECT_FALSE(must(claims.find(tuple_of(1))));
  EXPECT_EQ(ENOENT, claims.set(tuple_of(1), claim, BPF_EXIST).error().code);
  must(claims.set(tuple_of(1), claim, BPF_NOEXIST));
  EXPECT_EQ(EEXIST, claims.set(tuple_of(1), claim, BPF_NOEXIST).error().code);
  EXPECT_EQ(7u, must(claims.find(tuple_of(1)))->cookie);
  must(claims.set(tuple_of(2), claim));
  EXPECT_EQ(E2BIG, claims.set(tuple_of(3), claim).error().code);
  EXPECT_TRUE(must(claims.erase(tuple_of(1))));
  EXPECT_FALSE(must(claims.erase(tuple_of(1))));
}

TEST_F(Maps, WalkSeesEachEntryOnceAlsoWhileOthersComeAndGo) {
  constexpr std::uint32_t steady = 20000, moving = 5000;
  const Fd map = create(maps::definition("claims"), 65536);
  const maps::Claims claims(map.get());
  for (std::uint32_t i = 0; i < steady; ++i) must(claims.set(tuple_of(i), {}));
  std::atomic<bool> stop = false;
  std::thread churn([&] {
    for (std::uint32_t i = 0; !stop; i = (i + 1) % moving) {
      std::ignore = claims.set(tuple_of(steady + i), {});
      std::ignore = claims.erase(tuple_of(steady + (i + moving / 2) % moving));
    }
  });
  for (int walks = 0; walks < 20; ++walks) {
    std::map<std::uint32_t, int> seen;
    must(claims.for_each([&seen](const mstack_tuple& tuple, const mstack_claim&) { ++seen[tuple.addr[3]]; }));
    for (std::uint32_t i = 0; i < steady; ++i) ASSERT_EQ(1, seen[i]) << i;
  }
  stop = true;
  churn.join();
  // The visitor may erase what it is shown.
  must(claims.for_each([&claims](const mstack_tuple& tuple, const mstack_claim&) { must(claims.erase(tuple)); }));
  int left = 0;
  must(claims.for_each([&left](const mstack_tuple&, const mstack_claim&) { ++left; }));
  EXPECT_EQ(0, left);
}

TEST_F(Maps, WalkOfATypeWithoutBatches) {
  // A devmap by hash has none. Of its entries only the keys matter here: the loopback device under three of them.
  const Fd map = create(maps::definition("uplinks"));
  const maps::Hash<std::uint32_t, std::uint32_t> uplinks(map.get());
  for (const std::uint32_t key : {3u, 9u, 4711u}) must(uplinks.set(key, 1));
  std::map<std::uint32_t, std::uint32_t> seen;
  must(uplinks.for_each([&seen](std::uint32_t key, std::uint32_t value) { seen[key] = value; }));
  EXPECT_EQ((std::map<std::uint32_t, std::uint32_t>{{3, 1}, {9, 1}, {4711, 1}}), seen);
}

TEST_F(Maps, GaugesAreTheMapsElements) {
  const Fd map = create(maps::definition("port_gate"));
  const auto gauges = must(maps::Gauges::map(map.get(), MSTACK_GATE_SIZE));
  for (const std::uint32_t index : {0u, 1u, 2u, 511u, 512u, 65536u, MSTACK_GATE_SIZE - 1u}) {
    EXPECT_EQ(0u, gauges.add(index, 5));
    EXPECT_EQ(5u, gauges.add(index, -2));
    std::uint32_t value = 0;
    ASSERT_EQ(0, bpf_map_lookup_elem(map.get(), &index, &value));
    EXPECT_EQ(3u, value) << index;
    value = 9;
    ASSERT_EQ(0, bpf_map_update_elem(map.get(), &index, &value, BPF_ANY));
    EXPECT_EQ(9u, gauges.load(index));
  }
  gauges.store(3, 77);
  EXPECT_EQ(77u, gauges.load(3));
  EXPECT_EQ(0u, gauges.load(4));
  EXPECT_EQ(0u, gauges.add(MSTACK_GATE_SIZE, 1));
  EXPECT_EQ(0u, gauges.load(MSTACK_GATE_SIZE));
}

TEST_F(Maps, EveryChangeBeginsAnEpoch) {
  const Fd number = create(maps::definition("claims_epoch")), map = create(maps::definition("vports"));
  const auto epoch = must(maps::Epoch::map(number.get()));
  const maps::HashOfEpochs<std::uint32_t, mstack_vport> hash(map.get(), epoch);
  const auto now = [&] {
    const std::uint32_t first = 0;
    std::uint64_t value = 0;
    EXPECT_EQ(0, bpf_map_lookup_elem(number.get(), &first, &value));
    return value;
  };
  EXPECT_EQ(0u, now());
  ASSERT_TRUE(hash.set(7, {}));
  EXPECT_EQ(2u, now());
  ASSERT_TRUE(hash.set(7, {}, BPF_EXIST));
  EXPECT_EQ(4u, now());
  EXPECT_TRUE(must(hash.erase(7)));
  EXPECT_EQ(6u, now());
  EXPECT_FALSE(must(hash.find(7)).has_value());
  EXPECT_EQ(6u, now());
  // Odd until a change is done, and after one that no one will ever end, until the next is.
  {
    const maps::Epoch::Change change(epoch);
    EXPECT_EQ(7u, now());
  }
  EXPECT_EQ(8u, now());
  const std::uint32_t first = 0;
  const std::uint64_t left = 9;
  ASSERT_EQ(0, bpf_map_update_elem(number.get(), &first, &left, BPF_ANY));
  {
    const maps::Epoch::Change change(epoch);
    EXPECT_EQ(9u, now());
  }
  EXPECT_EQ(10u, now());
}

TEST_F(Maps, StatisticsAreSummedOverTheCpus) {
  const auto cpus = static_cast<std::size_t>(libbpf_num_possible_cpus());
  const Fd stats = create(maps::definition("vport_stats")), counters = create(maps::definition("counters"));
  std::vector<mstack_vport_stats> values(cpus);
  std::vector<std::uint64_t> counts(cpus);
  std::uint64_t sum = 0;
  for (std::size_t cpu = 0; cpu < cpus; ++cpu) {
    values[cpu].packets[MSTACK_TX_SENT] = counts[cpu] = cpu + 1;
    values[cpu].rx_bytes = 10 * (cpu + 1);
    sum += cpu + 1;
  }
  const std::uint32_t slot = 1023, verdict = MSTACK_VERDICT_COUNT - 1;
  ASSERT_EQ(0, bpf_map_update_elem(stats.get(), &slot, values.data(), BPF_ANY));
  ASSERT_EQ(0, bpf_map_update_elem(counters.get(), &verdict, counts.data(), BPF_ANY));
  const auto read = must(maps::read_vport_stats(stats.get(), slot));
  EXPECT_EQ(sum, read.packets[MSTACK_TX_SENT]);
  EXPECT_EQ(10 * sum, read.rx_bytes);
  EXPECT_EQ(0u, read.tx_bytes);
  EXPECT_EQ(sum, must(maps::read_counters(counters.get()))[verdict]);
  must(maps::clear_vport_stats(stats.get(), slot));
  EXPECT_EQ(0u, must(maps::read_vport_stats(stats.get(), slot)).rx_bytes);
}

TEST_F(Maps, ViewRefusesWhatItCannotTrust) {
  const auto refusal = [this](const std::string& directory) { return MapView::open(directory).error().what; };
  EXPECT_EQ("MultiStack is not running: no maps under " + root() + "/none; start mstackd", refusal(root() + "/none"));
  EXPECT_EQ("/tmp is not in a BPF file system; give the directory of mstackd with --pin-dir", refusal("/tmp"));
  EXPECT_NE(std::string::npos, refusal(pins()).find("only starting"));
  pin_all_but("vport_stats");
  EXPECT_NE(std::string::npos, refusal(pins()).find("only starting")) << "meta is all zero";
  write_meta(MSTACK_SCHEMA_VERSION + 1);
  const std::string wrong =
      "of schema " + std::to_string(MSTACK_SCHEMA_VERSION + 1) + ", not " + std::to_string(MSTACK_SCHEMA_VERSION) + ")";
  EXPECT_NE(std::string::npos, refusal(pins()).find(wrong)) << refusal(pins());
  EXPECT_NE(std::string::npos, refusal(pins()).find("`rm -r " + pins() + "`"));
  write_meta(MSTACK_SCHEMA_VERSION);
  EXPECT_NE(std::string::npos, refusal(pins()).find("maps are missing"));
  pin(create(maps::definition("vport_stats")), "vport_stats");
  const MapView view = must(MapView::open(pins()));
  EXPECT_EQ(64u, view.meta().max_claims);
  EXPECT_TRUE(must(view.claims()).empty() && must(view.vports()).empty() && must(view.uplinks()).empty());
}

TEST_F(Maps, TcProgramIsAttachedOnceAndReplaced) {
  if (unshare(CLONE_NEWNET) < 0) GTEST_SKIP() << "no right to make a network namespace";
  const bpf_insn code[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
                           {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  const auto load = [&code] {
    Fd program(bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "test", "GPL", code, std::size(code), nullptr));
    if (!program) throw std::runtime_error("bpf_prog_load");
    return program;
  };
  const auto id_of = [](const Fd& program) {
    bpf_prog_info info = {};
    std::uint32_t size = sizeof(info);
    bpf_obj_get_info_by_fd(program.get(), &info, &size);
    return info.id;
  };
  const Fd first = load(), second = load();
  EXPECT_EQ(0u, must(net::tc_ingress_program(1)));
  must(net::attach_tc_ingress(1, first.get()));
  EXPECT_EQ(id_of(first), must(net::tc_ingress_program(1)));
  must(net::attach_tc_ingress(1, second.get()));
  EXPECT_EQ(id_of(second), must(net::tc_ingress_program(1)));
  EXPECT_EQ(ENODEV, net::attach_tc_ingress(4711, first.get()).error().code);
  // One filter, not two.
  EXPECT_EQ(0, std::system("test $(tc filter show dev lo ingress | grep -c 'direct-action') = 1"));
}

}  // namespace
