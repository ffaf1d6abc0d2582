// SPDX-License-Identifier: BSD-2-Clause
#include "world.hpp"

#include <bpf/bpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iterator>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "pools.hpp"

namespace differential {
namespace {

using bpf_test::Netns;

constexpr std::uint32_t slots_with_stack_end[] = {1, 2, 3, 17, 18, 19, 20};
constexpr std::uint16_t narrow_mtu = 1900;
constexpr std::uint32_t slots_watched[] = {1, 2, 3, 5, 6, 9, 17, 18, 19, 20};

template <typename Key, typename Value>
void update(int map, const Key& key, const Value& value) {
  if (bpf_map_update_elem(map, &key, &value, BPF_ANY) != 0) {
    throw std::system_error(errno, std::generic_category(), "bpf_map_update_elem");
  }
}

mstack_tuple key_of(const model::Tuple& tuple) {
  mstack_tuple key{};
  std::memcpy(key.addr, tuple.address.bytes().data(), sizeof key.addr);
  key.port = __builtin_bswap16(tuple.port);
  key.protocol = tuple.protocol;
  return key;
}

// A veth pair of which only `near` speaks IP, and nothing by itself. A test run can have it as ingress.
void veth(const std::string& near, const std::string& far, const std::string& options = "") {
  Netns::ip("link add " + near + options + " type veth peer name " + far + "\nlink set " + near +
            " addrgenmode none\nlink set " + far + " addrgenmode none");
  Netns::sysctl("ipv6/conf/" + far + "/disable_ipv6", "1");
  Netns::ip("link set " + near + " up\nlink set " + far + " up");
  Netns::pass_all(near);
  Netns::pass_all(far);
}

// Is there a local route for the address, in the words of /proc/net/ipv6_route?
bool has_local_route(const std::string& routes, const model::Address& own) {
  std::string key;
  for (const std::uint8_t byte : own.bytes()) {
    key += "0123456789abcdef"[byte >> 4];
    key += "0123456789abcdef"[byte & 15];
  }
  std::istringstream lines(routes);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(key + " 80 ") && line.contains(" 80200001 ")) return true;
  }
  return false;
}

// The kernel adds the local route of an IPv6 address some time after the address.
void await_local_routes() {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  for (;;) {
    std::ifstream file("/proc/thread-self/net/ipv6_route");
    const std::string routes(std::istreambuf_iterator<char>(file), {});
    const auto there = [&](const model::Address& own) { return own.is_ip4() || has_local_route(routes, own); };
    if (std::ranges::all_of(pools().local, there)) return;
    if (std::chrono::steady_clock::now() > give_up) throw std::runtime_error("no local routes yet:\n" + routes);
    std::this_thread::yield();
  }
}

}  // namespace

World::World(bool send_fragments, bool guard_loopback) {
  state_.send_fragments = send_fragments;
  state_.guards_loopback = guard_loopback;
  veth("s5", "h5", " index 5");
  veth("s6", "h6", " index 6");
  for (const char* name : {"host0", "host1", "host2"}) {
    veth(name, std::string("stack") + name[4]);
    for (const char* family : {"ipv4", "ipv6"}) {
      Netns::sysctl(std::string(family) + "/conf/" + name + "/forwarding", "1");
    }
  }
  for (const char* name : {"up0", "up1", "away0", "vlan0", "vlan1", "vlan2"}) veth(name, std::string("far-") + name);

  programs_ = std::make_unique<Programs>(netns_.cookie(), slots_watched, send_fragments, guard_loopback);
  socket_ = std::make_unique<bpf_test::Xsk>("s5");
  update(programs_->map("vport_xsks"), slot_with_socket, socket_->fd());
  veth("narrow", "far-narrow");
  Netns::ip("link set narrow mtu " + std::to_string(narrow_mtu));
  for (const std::uint32_t slot : slots_with_stack_end) {
    const bool is_narrow = slot == 2;
    for (const char* map : {"vport_devs", "vport_ifindexes"})
      update(programs_->map(map), slot, Netns::ifindex(is_narrow ? "narrow" : "lo"));
    state_.slots[slot] = is_narrow ? narrow_mtu : 65535;
  }
  add_host_end("host0", 1, 1);
  add_host_end("host1", 2, 2);
  add_host_end("host2", 1, 3);
  Netns::ip("link set up0 mtu 9000");
  add_device("up0", true, true, 9000);
  add_device("up1", true, false);
  add_device("away0", false, false);
  add_vlan("vlan0", "up0", {{0x8100, 100}});
  add_vlan("vlan1", "up0", {{0x88a8, 200}, {0x8100, 300}});
  add_vlan("vlan2", "up1", {{0x8100, 7}});
  describe_routes();

  const std::uint32_t host0 = Netns::ifindex("host0");
  const std::uint32_t host2 = Netns::ifindex("host2");
  // Mostly by the vport that has most claims.
  const std::vector<std::uint32_t> sending{
      host0, host0, host0, host0, host2, host2, Netns::ifindex("host1"), Netns::ifindex("away0")};
  const std::uint32_t up0 = Netns::ifindex("up0");
  ingresses_ = {{{up0, up0, up0, Netns::ifindex("up1")},
                 {slot_with_socket, slot_with_socket, slot_without_socket},
                 sending,
                 sending,
                 {Netns::ifindex("lo")},
                 {up0, up0, up0, Netns::ifindex("away0")}}};
}

void World::add_device(const char* name, bool uplink, bool takes_xdp_frames, std::uint16_t mtu) {
  const std::uint32_t ifindex = Netns::ifindex(name);
  model::Device device{.uplink = uplink, .takes_xdp_frames = takes_xdp_frames, .native = takes_xdp_frames, .mtu = mtu};
  std::ranges::copy(Netns::mac(name), device.mac.begin());
  state_.devices[ifindex] = device;
  if (!uplink) return;
  mstack_uplink info{};
  std::strncpy(info.name, name, sizeof info.name - 1);
  if (takes_xdp_frames) info.flags = MSTACK_UPLINK_NATIVE | MSTACK_UPLINK_XMIT | MSTACK_UPLINK_XMIT_SG;
  update(programs_->map("uplink_info"), ifindex, info);
  if (takes_xdp_frames) update(programs_->map("uplinks"), ifindex, ifindex);
}

// Any device will do: to the programs, a VLAN device is what the maps say.
void World::add_vlan(const char* name, const char* uplink, const model::Tags& tags) {
  add_device(name, false, false);
  const std::uint32_t ifindex = Netns::ifindex(name);
  mstack_vlan_device device{};
  device.vlan.uplink = Netns::ifindex(uplink);
  for (std::size_t i = 0; i < tags.size(); ++i) {
    device.vlan.tags[i] = {.protocol = __builtin_bswap16(tags[i].protocol), .id = __builtin_bswap16(tags[i].id)};
  }
  update(programs_->map("vlans"), device.vlan, ifindex);
  update(programs_->map("vlan_devices"), ifindex, device);
  state_.devices.at(ifindex).vlan = {.uplink = device.vlan.uplink, .tags = tags};
}

void World::add_host_end(const char* name, std::uint32_t vport, std::uint32_t slot) {
  const std::uint32_t ifindex = Netns::ifindex(name);
  mstack_vport record{};
  record.uid = 1000;
  record.slot = static_cast<__u16>(slot);
  record.queues = 1;
  update(programs_->map("vports"), vport, record);
  update(programs_->map("host_ends"), ifindex, mstack_host_end{.vport = vport, .slot = slot});
  state_.host_ends[ifindex] = {.vport = vport, .slot = slot};
}

void World::add_route(std::string_view prefix, unsigned length, std::uint32_t device, std::string_view gateway,
                      std::uint16_t mtu) {
  model::Route route{.prefix = address(prefix), .length = length, .device = device, .mtu = mtu, .gateway = {}};
  if (!gateway.empty()) route.gateway = address(gateway);
  state_.routes.push_back(route);
}

// The last byte of an address is that of its MAC.
void World::add_neighbour(std::string_view name) {
  const model::Address one = address(name);
  state_.neighbours[one] = {0x02, 0, 0, 0, 0, one.bytes()[15]};
}

mstack_local World::where(std::uint32_t device, bool broadcast) const {
  mstack_local where{};
  where.ifindex = device;
  std::ranges::copy(state_.devices.at(device).mac, where.mac);
  where.broadcast = broadcast ? 1 : 0;
  return where;
}

void World::add_subnet(std::string_view broadcast, std::uint32_t device) {
  const model::Address one = address(broadcast);
  state_.broadcasts[one] = device;
  update(programs_->map("local_addrs"), one.bytes(), where(device, true));
}

void World::describe_routes() {
  Netns::ip(
      "addr add 192.0.2.1/24 dev up0\n"
      "addr add 2001:db8::1/64 dev up0 nodad\n"
      "addr add 2001:db8:0:0:5::/128 dev up0 nodad\n"
      "addr add 203.0.113.1/25 dev up1\n"
      "addr add 2001:db8:1::1/64 dev up1 nodad\n"
      "addr add 203.0.113.129/25 dev away0\n"
      "addr add 2001:db8:a::1/64 dev away0 nodad\n"
      "addr add 198.51.100.33/27 dev vlan0\n"
      "addr add 2001:db8:2::1/64 dev vlan0 nodad\n"
      "addr add 198.51.100.65/27 dev vlan1\n"
      "addr add 2001:db8:3::1/64 dev vlan1 nodad\n"
      "addr add 198.51.100.97/28 dev vlan2\n"
      "addr add 2001:db8:4::1/64 dev vlan2 nodad\n"
      "neigh add 198.51.100.40 lladdr 02:00:00:00:00:28 nud permanent dev vlan0\n"
      "neigh add 2001:db8:2::99 lladdr 02:00:00:00:00:99 nud permanent dev vlan0\n"
      "neigh add 198.51.100.72 lladdr 02:00:00:00:00:48 nud permanent dev vlan1\n"
      "neigh add 2001:db8:3::99 lladdr 02:00:00:00:00:99 nud permanent dev vlan1\n"
      "neigh add 198.51.100.104 lladdr 02:00:00:00:00:68 nud permanent dev vlan2\n"
      "neigh add 2001:db8:4::99 lladdr 02:00:00:00:00:99 nud permanent dev vlan2\n"
      "neigh add 192.0.2.99 lladdr 02:00:00:00:00:63 nud permanent dev up0\n"
      "neigh add 2001:db8::99 lladdr 02:00:00:00:00:99 nud permanent dev up0\n"
      "neigh add 192.0.2.254 lladdr 02:00:00:00:00:fe nud permanent dev up0\n"
      "neigh add 2001:db8::fe lladdr 02:00:00:00:00:fe nud permanent dev up0\n"
      "neigh add 203.0.113.99 lladdr 02:00:00:00:00:63 nud permanent dev up1\n"
      "neigh add 2001:db8:1::99 lladdr 02:00:00:00:00:99 nud permanent dev up1\n"
      "neigh add 203.0.113.199 lladdr 02:00:00:00:00:c7 nud permanent dev away0\n"
      "neigh add 2001:db8:a::99 lladdr 02:00:00:00:00:99 nud permanent dev away0\n"
      "route add 198.51.100.0/25 via 192.0.2.254 mtu lock 1300\n"
      "route add 198.51.100.128/26 via 192.0.2.253\n"
      "route add unreachable 198.51.100.192/26\n"
      "route add 2001:db8:f::/64 via 2001:db8::fe mtu lock 1300\n"
      "route add 2001:db8:e::/64 via 2001:db8::fd\n"
      "route add unreachable 2001:db8:d::/64");
  await_local_routes();
  const std::uint32_t up0 = Netns::ifindex("up0");
  const std::uint32_t up1 = Netns::ifindex("up1");
  const std::uint32_t away0 = Netns::ifindex("away0");
  for (const char* known : {"192.0.2.99", "2001:db8::99", "192.0.2.254", "2001:db8::fe", "203.0.113.99",
                            "2001:db8:1::99", "203.0.113.199", "2001:db8:a::99", "198.51.100.40", "2001:db8:2::99",
                            "198.51.100.72", "2001:db8:3::99", "198.51.100.104", "2001:db8:4::99"}) {
    add_neighbour(known);
  }
  add_route("192.0.2.0", 24, up0);
  add_route("2001:db8::", 64, up0);
  add_route("203.0.113.0", 25, up1);
  add_route("2001:db8:1::", 64, up1);
  add_route("203.0.113.128", 25, away0);
  add_route("2001:db8:a::", 64, away0);
  add_route("198.51.100.32", 27, Netns::ifindex("vlan0"));
  add_route("2001:db8:2::", 64, Netns::ifindex("vlan0"));
  add_route("198.51.100.64", 27, Netns::ifindex("vlan1"));
  add_route("2001:db8:3::", 64, Netns::ifindex("vlan1"));
  add_route("198.51.100.96", 28, Netns::ifindex("vlan2"));
  add_route("2001:db8:4::", 64, Netns::ifindex("vlan2"));
  add_route("198.51.100.0", 25, up0, "192.0.2.254", 1300);
  add_route("198.51.100.128", 26, up0, "192.0.2.253");
  add_route("198.51.100.192", 26, 0);
  add_route("2001:db8:f::", 64, up0, "2001:db8::fe", 1300);
  add_route("2001:db8:e::", 64, up0, "2001:db8::fd");
  add_route("2001:db8:d::", 64, 0);
  add_subnet("192.0.2.255", up0);
  add_subnet("203.0.113.127", up1);
  add_subnet("203.0.113.255", away0);
  add_subnet("198.51.100.63", Netns::ifindex("vlan0"));
  add_subnet("198.51.100.95", Netns::ifindex("vlan1"));
  add_subnet("198.51.100.111", Netns::ifindex("vlan2"));
  for (const char* own : {"192.0.2.1", "2001:db8::1", "2001:db8:0:0:5::"}) state_.device_of[address(own)] = up0;
  for (const char* own : {"203.0.113.1", "2001:db8:1::1"}) state_.device_of[address(own)] = up1;
  for (const char* own : {"203.0.113.129", "2001:db8:a::1"}) state_.device_of[address(own)] = away0;
  for (const char* own : {"198.51.100.33", "2001:db8:2::1"}) state_.device_of[address(own)] = Netns::ifindex("vlan0");
  for (const char* own : {"198.51.100.65", "2001:db8:3::1"}) state_.device_of[address(own)] = Netns::ifindex("vlan1");
  for (const char* own : {"198.51.100.97", "2001:db8:4::1"}) state_.device_of[address(own)] = Netns::ifindex("vlan2");
  for (const model::Address& own : pools().local) state_.host.insert(own);
}

void World::claim(const model::Tuple& tuple, const model::Claim& claim) {
  update(programs_->map("claims"), key_of(tuple),
         mstack_claim{.cookie = claim.cookie,
                      .vport = claim.vport,
                      .uid = 1000,
                      .slot = claim.slot,
                      .queues = claim.queues,
                      .state = claim.active ? __u32{MSTACK_CLAIM_ACTIVE} : __u32{MSTACK_CLAIM_PENDING}});
  begin_epoch();
  const std::uint32_t gate = mstack_gate_index(tuple.protocol, tuple.port);
  update(programs_->map("port_gate"), gate, std::uint32_t{1});
  state_.claims[tuple] = claim;
}

void World::release(const model::Tuple& tuple) {
  const mstack_tuple key = key_of(tuple);
  bpf_map_delete_elem(programs_->map("claims"), &key);
  begin_epoch();
  state_.claims.erase(tuple);
  const std::uint32_t gate = mstack_gate_index(tuple.protocol, tuple.port);
  const bool others = std::ranges::any_of(state_.claims, [&](const auto& claim) {
    return claim.first.port == tuple.port && claim.first.protocol == tuple.protocol;
  });
  update(programs_->map("port_gate"), gate, std::uint32_t{others});
}

void World::forget() {
  while (!state_.claims.empty()) release(model::Tuple(state_.claims.begin()->first));
}

void World::change(const model::Tuple& tuple, const std::optional<model::Claim>& claim) {
  if (claim) {
    this->claim(tuple, *claim);
  } else {
    release(tuple);
  }
}

void World::restore(const std::map<model::Tuple, model::Claim>& claims) {
  forget();
  for (const auto& [tuple, claim] : claims) this->claim(tuple, claim);
}

void World::forget_datagrams() {
  for (const char* name : {"rx_datagrams", "lo_datagrams", "tx_datagrams"}) {
    const int map = programs_->map(name);
    bpf_map_info info{};
    __u32 size = sizeof info;
    if (bpf_obj_get_info_by_fd(map, &info, &size) != 0) throw std::system_error(errno, std::generic_category(), name);
    std::vector<std::uint32_t> keys(info.max_entries);
    std::iota(keys.begin(), keys.end(), 0U);
    const model::Bytes nothing(std::size_t{info.max_entries} * ((info.value_size + 7) / 8 * 8));
    __u32 count = info.max_entries;
    if (bpf_map_update_batch(map, keys.data(), nothing.data(), &count, nullptr) != 0) {
      throw std::system_error(errno, std::generic_category(), "bpf_map_update_batch");
    }
  }
}

void World::settle_pace() {
  for (const auto& [ifindex, host_end] : state_.host_ends) {
    programs_->set_errors_spent(host_end.slot, state_.errors_spent.contains(host_end.slot));
  }
}

// As whoever changes claims or local_addrs must.
void World::begin_epoch() {
  update(programs_->map("claims_epoch"), std::uint32_t{0}, epoch_ += 2);
}

void World::know(const model::Address& address, bool known) {
  const auto& key = address.bytes();
  if (known) {
    state_.local.insert(address);
    update(programs_->map("local_addrs"), key, where(state_.device_of.at(address), false));
    std::uint32_t words[4];
    std::memcpy(words, key.data(), sizeof words);
    update(programs_->map("address_gate"), mstack_address_gate_index(words), std::uint32_t{1});
  } else if (state_.local.erase(address) != 0) {
    bpf_map_delete_elem(programs_->map("local_addrs"), key.data());
  }
  begin_epoch();
}

// Vport 1 has most: it is who sends most.
model::Claim World::any_holder(Random& random) {
  static constexpr std::array holders{model::Claim{.vport = 1, .slot = 1}, model::Claim{.vport = 2, .slot = 2},
                                      model::Claim{.vport = 3, .slot = 17, .queues = 4},
                                      model::Claim{.vport = 99, .slot = 9}};
  model::Claim claim = random.one_in(2) ? holders[0] : random.of(holders);
  claim.cookie = any_cookie(random);
  claim.active = !random.one_in(10);
  return claim;
}

void World::populate(Random& random) {
  forget();
  for (const model::Address& own : pools().local) know(own, !random.one_in(12));
  state_.errors_spent.clear();
  for (const auto& [ifindex, host_end] : state_.host_ends) {
    if (random.one_in(6)) state_.errors_spent.insert(host_end.slot);
  }
  const std::size_t count = random.between(16, 80);
  for (std::size_t i = 0; i < count; ++i) {
    const auto& family = random.one_in(2) ? pools().four : pools().six;
    model::Address bound = random.one_in(6) ? random.of(family) : random.of(pools().local);
    if (random.one_in(12)) bound = random.of(bound.is_ip4() ? pools().many_four : pools().many_six);
    if (random.one_in(8)) bound = bound.any();
    claim({bound, random.of(pools().claimed_ports), random.of(pools().claimed_protocols)}, any_holder(random));
  }
}

}  // namespace differential
