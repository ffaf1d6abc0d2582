// SPDX-License-Identifier: BSD-2-Clause
#include "programs.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>

#include "maps.hpp"
#include "mstack.skel.h"
#include "netns.hpp"

namespace bpf_test {
namespace {

constexpr std::string_view verdict_names[] = {
#define NAME(name, text) #name,
    MSTACK_VERDICTS(NAME)
#undef NAME
};

// libbpf explains a refused load by the verifier's log: kept, and shown only with the failure.
std::string libbpf_log;

int keep_log(enum libbpf_print_level level, const char* format, va_list arguments) {
  if (level == LIBBPF_DEBUG) return 0;
  va_list again;
  va_copy(again, arguments);
  const int length = vsnprintf(nullptr, 0, format, arguments);
  std::string line(static_cast<std::size_t>(std::max(length, 0)) + 1, '\0');
  vsnprintf(line.data(), line.size(), format, again);
  va_end(again);
  line.pop_back();
  // Of a log the end says what was wrong.
  constexpr std::size_t enough = 12'000;
  libbpf_log += line.size() > enough ? line.substr(0, 200) + "...\n" + line.substr(line.size() - enough) : line;
  return length;
}

[[noreturn]] void fail(const std::string& what, int error) {
  throw std::system_error(error, std::generic_category(), what);
}

void check(int result, const std::string& what) {
  if (result < 0) fail(what, -result);
}

std::size_t cpus() {
  static const int count = libbpf_num_possible_cpus();
  return static_cast<std::size_t>(count);
}

// The slots' sum over the CPUs.
mstack_vport_stats stats_of(int map, std::uint32_t slot) {
  std::vector<mstack_vport_stats> each(cpus());
  check(bpf_map_lookup_elem(map, &slot, each.data()), "vport_stats");
  mstack_vport_stats sum{};
  for (const mstack_vport_stats& one : each) {
    for (std::size_t i = 0; i < MSTACK_VERDICT_COUNT; ++i) sum.packets[i] += one.packets[i];
    sum.rx_bytes += one.rx_bytes;
    sum.tx_bytes += one.tx_bytes;
  }
  return sum;
}

template <typename Value>
Value lookup(int map, std::uint32_t key, const char* name) {
  Value value{};
  check(bpf_map_lookup_elem(map, &key, &value), name);
  return value;
}

template <typename Key, typename Value>
void update(int map, const Key& key, const Value& value, const char* name) {
  check(bpf_map_update_elem(map, &key, &value, BPF_ANY), name);
}

std::uint32_t gate_of(std::uint8_t protocol, std::uint16_t port) {
  switch (protocol) {
    case proto_tcp: return port;
    case proto_udp: return 0x10000U + port;
    case proto_udplite: return 0x20000U + port;
    case proto_sctp: return 0x30000U + port;
    case proto_dccp: return 0x40000U + port;
    default: throw std::invalid_argument("a protocol without ports");
  }
}

std::string list(const std::map<std::string, std::uint64_t>& counts) {
  std::string text;
  for (const auto& [name, count] : counts) text += " " + name + "=" + std::to_string(count);
  return text.empty() ? " nothing" : text;
}

}  // namespace

mstack_tuple tuple(std::string_view address, std::uint16_t port, std::uint8_t protocol) {
  Bytes key = ip(address);
  if (key.size() == 4) key = hex("00 00 00 00 00 00 00 00 00 00 ff ff") + key;
  key = key + be16(port) + Bytes{protocol, 0};
  mstack_tuple tuple{};
  static_assert(sizeof tuple == 16 + 2 + 1 + 1);
  std::memcpy(&tuple, key.data(), sizeof tuple);
  return tuple;
}

bool same(const mstack_tuple& left, const mstack_tuple& right) {
  return std::memcmp(&left, &right, sizeof left) == 0;
}

std::string_view name_of(mstack_verdict verdict) {
  return verdict_names[verdict];
}

void Programs::Deleter::operator()(mstack_bpf* skeleton) const {
  mstack_bpf__destroy(skeleton);
}
void Programs::LinkDeleter::operator()(bpf_link* link) const {
  bpf_link__destroy(link);
}

Programs::Programs(std::uint64_t netns_cookie, std::initializer_list<std::string_view> wanted,
                   const Settings& settings) {
  libbpf_set_print(keep_log);
  libbpf_log.clear();
  skeleton_.reset(mstack_bpf__open());
  if (!skeleton_) fail("open the skeleton: " + libbpf_log, errno);
  skeleton_->rodata->netns_cookie = netns_cookie;
  skeleton_->rodata->next_hop_interval_ns = settings.next_hop_interval_ns;
  skeleton_->rodata->send_fragments = settings.send_fragments;
  if (settings.fragment_lifetime_ns) skeleton_->rodata->fragment_lifetime_ns = *settings.fragment_lifetime_ns;
  skeleton_->rodata->neighbour_interval_ns =
      0;  // as many as come; Transmit.AFloodToUnknownNeighbours... has the real one
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, skeleton_->obj) {
    const bool load = std::ranges::find(wanted, bpf_program__name(program)) != wanted.end() || wanted.size() == 0;
    bpf_program__set_autoload(program, load);
  }
  for (bpf_program* one : {skeleton_->progs.uplink_rx, skeleton_->progs.vport_rx, skeleton_->progs.vport_tx})
    bpf_program__set_flags(one, BPF_F_XDP_HAS_FRAGS);
  const int error = mstack_bpf__load(skeleton_.get());
  if (error != 0) fail("load the programs: " + libbpf_log, -error);
}

Programs::~Programs() = default;

int Programs::program(std::string_view name) const {
  const bpf_program* found = bpf_object__find_program_by_name(skeleton_->obj, std::string(name).c_str());
  if (found == nullptr || bpf_program__fd(found) < 0) fail("not loaded: " + std::string(name), ENOENT);
  return bpf_program__fd(found);
}

int Programs::map(std::string_view name) const {
  const int fd = bpf_object__find_map_fd_by_name(skeleton_->obj, std::string(name).c_str());
  check(fd, "no map " + std::string(name));
  return fd;
}

bpf_link* Programs::attach_to_cgroup(std::string_view name, int cgroup) {
  const bpf_program* found = bpf_object__find_program_by_name(skeleton_->obj, std::string(name).c_str());
  if (found == nullptr) fail("no program " + std::string(name), ENOENT);
  bpf_link* link = bpf_program__attach_cgroup(found, cgroup);
  if (link == nullptr) fail("attach " + std::string(name), errno);
  links_.emplace_back(link);
  return link;
}

Outcome Programs::run(std::string_view name, const Bytes& frame, std::uint32_t ingress) {
  const int fd = program(name);
  bpf_prog_info info{};
  __u32 info_size = sizeof info;
  check(bpf_obj_get_info_by_fd(fd, &info, &info_size), "bpf_obj_get_info_by_fd");
  Bytes input = frame;
  Bytes output(frame.size() + 256);
  LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = input.data(), .data_out = output.data(),
              .data_size_in = static_cast<__u32>(input.size()), .data_size_out = static_cast<__u32>(output.size()),
              .repeat = 1);
  xdp_md xdp{};
  xdp.data_end = static_cast<__u32>(input.size());
  xdp.ingress_ifindex = ingress;
  __sk_buff skb{};
  skb.ifindex = ingress;
  skb.ingress_ifindex = ingress;
  if (ingress != 0 && info.type == BPF_PROG_TYPE_XDP) {
    options.ctx_in = &xdp;
    options.ctx_size_in = sizeof xdp;
  } else if (ingress != 0) {
    options.ctx_in = &skb;
    options.ctx_size_in = sizeof skb;
  }
  const Snapshot before = snapshot();
  check(bpf_prog_test_run_opts(fd, &options), "test run of " + std::string(name));
  Outcome result = outcome(before);
  result.action = options.retval;
  output.resize(options.data_size_out);
  result.frame = output;
  return result;
}

Outcome Programs::run_live(std::string_view name, const Bytes& frame, std::uint32_t ingress) {
  Bytes input = frame;
  xdp_md xdp{};
  xdp.data_end = static_cast<__u32>(input.size());
  xdp.ingress_ifindex = ingress;
  LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = input.data(), .data_size_in = static_cast<__u32>(input.size()),
              .ctx_in = &xdp, .ctx_size_in = sizeof xdp, .repeat = 1, .flags = BPF_F_TEST_XDP_LIVE_FRAMES);
  const Snapshot before = snapshot();
  check(bpf_prog_test_run_opts(program(name), &options), "live run of " + std::string(name));
  return outcome(before);
}

void Programs::claim(const mstack_tuple& tuple, const ClaimOptions& options) const {
  const mstack_claim value{.cookie = options.cookie,
                           .vport = options.vport,
                           .uid = 1000,
                           .slot = options.slot,
                           .queues = options.queues,
                           .state = options.state};
  update(map("claims"), tuple, value, "claims");
  begin_epoch();
  const auto port = static_cast<std::uint16_t>(tuple.port >> 8 | tuple.port << 8);
  set_gate(tuple.protocol, port, gate(tuple.protocol, port) + 1);
  set_slot_claims(options.slot, slot_claims(options.slot) + 1);
}

void Programs::unclaim(const mstack_tuple& tuple) const {
  check(bpf_map_delete_elem(map("claims"), &tuple), "claims");
  begin_epoch();
}

std::uint64_t Programs::epoch() const {
  const std::uint32_t first = 0;
  std::uint64_t value = 0;
  check(bpf_map_lookup_elem(map("claims_epoch"), &first, &value), "claims_epoch");
  return value;
}

void Programs::begin_epoch() const {
  update(map("claims_epoch"), std::uint32_t{0}, epoch() + 2, "claims_epoch");
}

void Programs::leave_epoch() const {
  update(map("claims_epoch"), std::uint32_t{0}, epoch() | 1, "claims_epoch");
}

bool Programs::claimed(const mstack_tuple& tuple) const {
  mstack_claim value{};
  return bpf_map_lookup_elem(map("claims"), &tuple, &value) == 0;
}

mstack_claim Programs::claim_of(const mstack_tuple& tuple) const {
  mstack_claim value{};
  check(bpf_map_lookup_elem(map("claims"), &tuple, &value), "claims");
  return value;
}

void Programs::local(std::string_view text, const mstack_local& where) const {
  const mstack_tuple key = tuple(text, 0, 0);
  mstack_address address{};
  std::memcpy(&address, &key, sizeof address);
  update(map("local_addrs"), address, where, "local_addrs");
  update(map("address_gate"), mstack_address_gate_index(address.addr), std::uint32_t{1}, "address_gate");
  begin_epoch();
}

void Programs::foreign(std::string_view text) const {
  const mstack_tuple key = tuple(text, 0, 0);
  check(bpf_map_delete_elem(map("local_addrs"), key.addr), "local_addrs");
  begin_epoch();
}

void Programs::add_slots(std::uint16_t first, std::uint16_t count) {
  for (std::uint32_t slot = first; slot < std::uint32_t{first} + count; ++slot) {
    for (const char* name : mstack::maps::device_maps) update(map(name), slot, Netns::ifindex("lo"), name);
    watch(slot);
  }
}

void Programs::watch(std::uint32_t slot) {
  if (std::ranges::find(watched_, slot) == watched_.end()) watched_.push_back(slot);
}

void Programs::add_host_end(std::uint32_t ifindex, std::uint32_t vport, std::uint32_t slot) {
  mstack_vport record{};
  record.uid = 1000;
  record.slot = static_cast<__u16>(slot);
  record.queues = 1;
  update(map("vports"), vport, record, "vports");
  update(map("host_ends"), ifindex, mstack_host_end{.vport = vport, .slot = slot}, "host_ends");
  // The first that is named is the vport's first slot.
  mstack_vport known{};
  known.slot = static_cast<std::uint16_t>(slot);
  known.queues = 1;
  const int added = bpf_map_update_elem(map("vports"), &vport, &known, BPF_NOEXIST);
  if (added < 0 && added != -EEXIST) fail("vports", -added);
  watch(slot);
}

void Programs::add_uplink(const std::string& name, bool xmit, bool xmit_sg) const {
  const std::uint32_t ifindex = Netns::ifindex(name);
  mstack_uplink uplink{};
  std::copy_n(name.data(), std::min<std::size_t>(name.size(), MSTACK_IFNAMSIZ - 1), uplink.name);
  uplink.flags = MSTACK_UPLINK_NATIVE | (xmit ? MSTACK_UPLINK_XMIT : 0) | (xmit_sg ? MSTACK_UPLINK_XMIT_SG : 0);
  update(map("uplink_info"), ifindex, uplink, "uplink_info");
  if (xmit) update(map("uplinks"), ifindex, ifindex, "uplinks");
}

void Programs::add_vlan(std::uint32_t device, std::uint32_t uplink, const Bytes& tags) const {
  mstack_vlan_device value{};
  value.vlan.uplink = uplink;
  std::memcpy(value.vlan.tags, tags.data(), std::min(tags.size(), sizeof value.vlan.tags));
  update(map("vlans"), value.vlan, device, "vlans");
  update(map("vlan_devices"), device, value, "vlan_devices");
}

void Programs::remove_vlan(std::uint32_t uplink, const Bytes& tags) const {
  mstack_vlan vlan{};
  vlan.uplink = uplink;
  std::memcpy(vlan.tags, tags.data(), std::min(tags.size(), sizeof vlan.tags));
  std::uint32_t device = 0;
  check(bpf_map_lookup_elem(map("vlans"), &vlan, &device), "vlans");
  check(bpf_map_delete_elem(map("vlans"), &vlan), "vlans");
  check(bpf_map_delete_elem(map("vlan_devices"), &device), "vlan_devices");
}

void Programs::set_device(std::uint32_t slot, std::uint32_t ifindex) const {
  update(map("vport_devs"), slot, ifindex, "vport_devs");
}

std::uint32_t Programs::gate(std::uint8_t protocol, std::uint16_t port) const {
  return lookup<std::uint32_t>(map("port_gate"), gate_of(protocol, port), "port_gate");
}

void Programs::set_gate(std::uint8_t protocol, std::uint16_t port, std::uint32_t count) const {
  update(map("port_gate"), gate_of(protocol, port), count, "port_gate");
}

std::uint32_t Programs::slot_claims(std::uint32_t slot) const {
  return lookup<std::uint32_t>(map("slot_claims"), slot, "slot_claims");
}

void Programs::set_slot_claims(std::uint32_t slot, std::uint32_t count) const {
  update(map("slot_claims"), slot, count, "slot_claims");
}

std::vector<mstack_event> Programs::events() const {
  std::vector<mstack_event> found;
  const auto keep = [](void* context, void* data, std::size_t size) {
    if (size == sizeof(mstack_event)) {
      static_cast<std::vector<mstack_event>*>(context)->push_back(*static_cast<const mstack_event*>(data));
    }
    return 0;
  };
  struct Free {
    void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
  };
  const std::unique_ptr<ring_buffer, Free> ring(ring_buffer__new(map("events"), keep, &found, nullptr));
  if (!ring) fail("events", errno);
  check(ring_buffer__consume(ring.get()), "events");
  return found;
}

std::optional<mstack_socket> Programs::record(int socket) const {
  mstack_socket found{};
  if (bpf_map_lookup_elem(map("sockets"), &socket, &found) == 0) return found;
  if (errno != ENOENT) fail("sockets", errno);
  return std::nullopt;
}

Programs::Snapshot Programs::snapshot() const {
  Snapshot now{.counters = std::vector<std::uint64_t>(MSTACK_VERDICT_COUNT), .stats = {}};
  std::vector<std::uint64_t> each(cpus());
  for (std::uint32_t i = 0; i < MSTACK_VERDICT_COUNT; ++i) {
    check(bpf_map_lookup_elem(map("counters"), &i, each.data()), "counters");
    for (const std::uint64_t one : each) now.counters[i] += one;
  }
  for (const std::uint32_t slot : watched_) now.stats[slot] = stats_of(map("vport_stats"), slot);
  return now;
}

Outcome Programs::outcome(const Snapshot& before) const {
  const Snapshot after = snapshot();
  Outcome result;
  for (std::size_t i = 0; i < MSTACK_VERDICT_COUNT; ++i) {
    const std::uint64_t more = after.counters[i] - before.counters[i];
    if (more != 0) result.counted[std::string(verdict_names[i])] = more;
  }
  for (const auto& [slot, now] : after.stats) {
    const mstack_vport_stats& then = before.stats.at(slot);
    for (std::size_t i = 0; i < MSTACK_VERDICT_COUNT; ++i) {
      const std::uint64_t more = now.packets[i] - then.packets[i];
      if (more != 0) result.counted_by_slot[slot][std::string(verdict_names[i])] = more;
    }
    result.rx_bytes += now.rx_bytes - then.rx_bytes;
    result.tx_bytes += now.tx_bytes - then.tx_bytes;
  }
  return result;
}

testing::AssertionResult did(const Outcome& outcome, std::uint32_t action, mstack_verdict verdict, std::uint32_t slot) {
  const std::map<std::string, std::uint64_t> once{{std::string(name_of(verdict)), 1}};
  std::map<std::uint32_t, std::map<std::string, std::uint64_t>> by_slot;
  if (slot != no_slot) by_slot[slot] = once;
  if (outcome.action == action && outcome.counted == once && outcome.counted_by_slot == by_slot) {
    return testing::AssertionSuccess();
  }
  auto failure = testing::AssertionFailure()
                 << "expected action " << action << " and " << name_of(verdict) << " (slot " << slot << "), got action "
                 << outcome.action << " and" << list(outcome.counted);
  for (const auto& [number, counts] : outcome.counted_by_slot) failure << "; slot " << number << ":" << list(counts);
  return failure;
}

}  // namespace bpf_test
