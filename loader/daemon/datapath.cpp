// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/datapath.hpp"

#include <bpf/libbpf.h>
#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "daemon/bpf_link.hpp"
#include "daemon/log.hpp"
#include "mstack.skel.h"

namespace mstack::daemon {
namespace {

// After a MAC has changed and its entry has grown stale, the kernel takes some 8 s to find out (5 s of doubt, 3
// probes).
constexpr std::uint64_t next_hop_interval_ns = 1'000'000'000;

// libbpf tells the reason of a failure only to its log; the last warning becomes part of our one line.
std::string last_warning;

int print_libbpf(libbpf_print_level level, const char* format, va_list args) {
  if (level == LIBBPF_DEBUG) return 0;
  std::array<char, 4096> text;
  const int size = std::vsnprintf(text.data(), text.size(), format, args);
  std::string_view line(text.data());
  while (line.ends_with('\n')) line.remove_suffix(1);
  log::debug("{}", line);
  if (level == LIBBPF_WARN && line.find("BPF program load log") == std::string_view::npos) last_warning = line;
  return size;
}

std::uint64_t wall_clock_ns() {
  timespec now = {};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

// What to do about pins that are not for us.
std::string advice(const PinDir& pins) {
  return "remove them with `rm -r " + pins.path() +
         "` when no stack runs (what else to remove: mstackd(8), FILES), or run the mstackd that made them";
}

}  // namespace

void Datapath::Destroy::operator()(mstack_bpf* skeleton) const {
  mstack_bpf::destroy(skeleton);
}

int Datapath::map(std::string_view name) const {
  return bpf_map__fd(bpf_object__find_map_by_name(skeleton_->obj, std::string(name).c_str()));
}

Expected<Datapath> Datapath::open(const PinDir& pins, const Config& config) {
  libbpf_set_print(print_libbpf);
  Skeleton skeleton(mstack_bpf::open());
  if (!skeleton) return system_failure(errno, "cannot open the BPF programs");
  Datapath datapath(pins, std::move(skeleton));

  auto previous = datapath.reuse_maps(config);
  if (!previous) return std::unexpected(previous.error());
  datapath.taken_over_ = previous->has_value();
  datapath.meta_ = previous->value_or(mstack_meta{.schema = MSTACK_SCHEMA_VERSION,
                                                  .next_vport = 1,
                                                  .netns_cookie = config.netns_cookie,
                                                  .started_ns = 0,
                                                  .pid = 0,
                                                  .max_claims = config.max_claims});
  datapath.meta_.started_ns = wall_clock_ns();
  datapath.meta_.pid = static_cast<std::uint32_t>(::getpid());
  if (auto loaded = datapath.load(config); !loaded) return std::unexpected(loaded.error());

  auto port_gate = maps::Gauges::map(datapath.map("port_gate"), MSTACK_GATE_SIZE);
  if (!port_gate) return std::unexpected(port_gate.error());
  datapath.port_gate_ = std::move(*port_gate);
  auto slot_claims = maps::Gauges::map(datapath.map("slot_claims"), MSTACK_MAX_SLOTS);
  if (!slot_claims) return std::unexpected(slot_claims.error());
  datapath.slot_claims_ = std::move(*slot_claims);
  auto address_gate = maps::Gauges::map(datapath.map("address_gate"), 1 << MSTACK_ADDRESS_GATE_BITS);
  if (!address_gate) return std::unexpected(address_gate.error());
  datapath.address_gate_ = std::move(*address_gate);
  auto epoch = maps::Epoch::map(datapath.map("claims_epoch"));
  if (!epoch) return std::unexpected(epoch.error());
  { const maps::Epoch::Change ended(*epoch); }  // with it that of an earlier mstackd that was killed half-way
  datapath.epoch_ = std::make_unique<const maps::Epoch>(std::move(*epoch));

  if (auto written = maps::write_meta(datapath.map("meta"), datapath.meta_); !written)
    return std::unexpected(written.error());
  if (!datapath.taken_over_)
    if (auto pinned = datapath.pin_maps(); !pinned) {
      pins.remove_contents();
      return std::unexpected(pinned.error());
    }
  return datapath;
}

// What is pinned is opened and compared with what we would make before any of it is used; all of it, or none.
Expected<std::optional<mstack_meta>> Datapath::reuse_maps(const Config& config) {
  if (!pins_->is_complete()) {
    pins_->remove_contents();  // of an mstackd that ended half-way through its start or its end
    return std::nullopt;
  }
  const auto refused = [this](const Error& error) { return failure(error.code, error.what + ": " + advice(*pins_)); };
  // meta first: of another schema there may be other maps.
  const auto meta_map = maps::open_pinned(pins_->path(), maps::definition("meta"), maps::Access::read);
  if (!meta_map) return refused(meta_map.error());
  const auto meta = maps::read_meta(meta_map->get());
  if (!meta) return failure(meta.error().code, meta.error().what + " in " + pins_->path() + ": " + advice(*pins_));
  std::vector<Fd> opened;
  for (const maps::Definition& definition : maps::definitions) {
    auto fd = maps::open_pinned(pins_->path(), definition, maps::Access::write);
    if (!fd) return refused(fd.error());
    opened.push_back(std::move(*fd));
  }
  if (meta->netns_cookie != config.netns_cookie)
    return failure(
        EXDEV, "the maps in " + pins_->path() + " are of an mstackd in another network namespace: " + advice(*pins_));
  if (meta->max_claims != config.max_claims)
    log::warn("the claims map in {} has room for {} claims and stays: --claims {} is for a new one", pins_->path(),
              meta->max_claims, config.max_claims);
  for (std::size_t i = 0; i < opened.size(); ++i) {
    bpf_map* map = bpf_object__find_map_by_name(skeleton_->obj, maps::definitions[i].name);
    // Not libbpf's own pinning: before 1.7 it takes a devmap of its own making for another's, by a flag that the kernel
    // adds.
    if (const int error = bpf_map__reuse_fd(map, opened[i].get()); error < 0)
      return system_failure(-error, std::string("cannot use the pinned map ") + maps::definitions[i].name);
  }
  return *meta;
}

Expected<void> Datapath::load(const Config& config) {
  skeleton_->rodata->netns_cookie = config.netns_cookie;
  skeleton_->rodata->next_hop_interval_ns = next_hop_interval_ns;
  skeleton_->rodata->send_fragments = config.send_fragments;
  skeleton_->rodata->guard_loopback = config.guard;
  // Before 6.3 the kernel shows frames of several buffers to programs, and loses those that are redirected. It gives
  // none to programs that do not ask.
  if (config.multi_buffer)
    for (bpf_program* program : {skeleton_->progs.uplink_rx, skeleton_->progs.vport_rx, skeleton_->progs.vport_tx})
      bpf_program__set_flags(program, bpf_program__flags(program) | BPF_F_XDP_HAS_FRAGS);
  if (::getrandom(&skeleton_->rodata->fragment_seed, sizeof(skeleton_->rodata->fragment_seed), 0) < 0)
    return system_failure(errno, "cannot get random numbers");
  if (!taken_over_) bpf_map__set_max_entries(skeleton_->maps.claims, meta_.max_claims);
  if (const int error = mstack_bpf::load(skeleton_.get()); error < 0) {
    const char* hint = error == -EPERM ? ": run mstackd as root" : " (--log-level debug tells more)";
    return failure(
        -error, "cannot load the BPF programs: " + (last_warning.empty() ? error_text(-error) : last_warning) + hint);
  }
  const auto fd = [](const bpf_program* program) { return bpf_program__fd(program); };
  programs_ = {.uplink_rx = fd(skeleton_->progs.uplink_rx),
               .uplink_tx = fd(skeleton_->progs.uplink_tx),
               .lo_tx = fd(skeleton_->progs.lo_tx),
               .vport_rx = fd(skeleton_->progs.vport_rx),
               .vport_tx = fd(skeleton_->progs.vport_tx),
               .vport_tx_slow = fd(skeleton_->progs.vport_tx_slow),
               .vport_alive = fd(skeleton_->progs.vport_alive),
               .sock_bind4 = fd(skeleton_->progs.sock_bind4),
               .sock_bind6 = fd(skeleton_->progs.sock_bind6),
               .sock_release = fd(skeleton_->progs.sock_release),
               .sock_port4 = fd(skeleton_->progs.sock_port4),
               .sock_port6 = fd(skeleton_->progs.sock_port6),
               .sock_connect4 = fd(skeleton_->progs.sock_connect4),
               .sock_connect6 = fd(skeleton_->progs.sock_connect6),
               .sock_option = fd(skeleton_->progs.sock_option)};
  return {};
}

Expected<Datapath::Skeleton> Datapath::open_uplink_rx() const {
  Skeleton copy(mstack_bpf::open());
  if (!copy) return system_failure(errno, "cannot open the BPF programs");
  bpf_program* program;
  bpf_object__for_each_program(program, copy->obj) bpf_program__set_autoload(program, program == copy->progs.uplink_rx);
  bpf_map* map;
  bpf_object__for_each_map(map, copy->obj) {
    const char* name = map == copy->maps.vport_devs ? "vport_chain_devs" : bpf_map__name(map);
    if (const int error = bpf_map__reuse_fd(map, this->map(name)); error < 0)
      return system_failure(-error, std::string("cannot use the map ") + bpf_map__name(map));
  }
  return copy;
}

Expected<void> Datapath::pin_maps() const {
  // meta is the last of the definitions, hence the last to be pinned.
  static_assert(std::string_view(maps::definitions.back().name) == "meta");
  for (const maps::Definition& definition : maps::definitions) {
    const std::string path = pins_->map(definition.name);
    const std::string temporary = temporary_pin(path);
    if (::bpf_obj_pin(map(definition.name), temporary.c_str()) < 0)
      return system_failure(errno, "cannot pin " + temporary);
    if (std::rename(temporary.c_str(), path.c_str()) < 0) return system_failure(errno, "cannot pin " + path);
  }
  return {};
}

Expected<void> Datapath::attach_hooks(const Cgroup& cgroup) const {
  struct Hook {
    const char* name;
    int program;
    bpf_attach_type type;
  };
  // bind() last: no socket gets a record whose end, or whose loss of its port, would go unseen.
  const std::array hooks = {
      Hook{"sock_release", programs_.sock_release, BPF_CGROUP_INET_SOCK_RELEASE},
      Hook{"sock_connect4", programs_.sock_connect4, BPF_CGROUP_INET4_CONNECT},
      Hook{"sock_connect6", programs_.sock_connect6, BPF_CGROUP_INET6_CONNECT},
      Hook{"sock_option", programs_.sock_option, BPF_CGROUP_SETSOCKOPT},
      Hook{"sock_port4", programs_.sock_port4, BPF_CGROUP_INET4_BIND},
      Hook{"sock_port6", programs_.sock_port6, BPF_CGROUP_INET6_BIND},
      Hook{"sock_bind4", programs_.sock_bind4, BPF_CGROUP_INET4_POST_BIND},
      Hook{"sock_bind6", programs_.sock_bind6, BPF_CGROUP_INET6_POST_BIND},
  };
  for (const Hook& hook : hooks) {
    const std::string path = pins_->link(hook.name);
    auto pinned = open_link(path);
    if (!pinned) return std::unexpected(pinned.error());
    if (*pinned) {
      const auto target = link_target((*pinned)->get());
      if (!target) return std::unexpected(target.error());
      // Owners of claims are in the old cgroup: leaving it would leave their release unseen.
      if (target->cgroup_id != 0 && target->cgroup_id != cgroup.id)
        return failure(EBUSY, std::string("the hook ") + hook.name +
                                  " of an earlier mstackd is on another cgroup than " + cgroup.path +
                                  ": give that one by --cgroup, or " + advice(*pins_));
      if (target->cgroup_id == cgroup.id) {
        if (auto updated = update_link((*pinned)->get(), hook.program); !updated)
          return failure(updated.error().code, std::string(hook.name) + ": " + updated.error().what);
        continue;
      }
      remove_link(path);  // its cgroup is gone, and with it all of its sockets
    }
    auto link = create_link(hook.program, cgroup.fd.get(), hook.type);
    if (!link)
      return failure(link.error().code, std::string("cannot attach ") + hook.name + " to the cgroup " + cgroup.path +
                                            ": " + error_text(link.error().code));
    auto pin = LinkPin::create(link->get(), path);
    if (!pin) return std::unexpected(pin.error());
    pin->leave();  // until the last uplink goes, and the pins with it
  }
  return {};
}

Expected<std::uint32_t> Datapath::next_vport() {
  mstack_meta after = meta_;
  if (after.next_vport == 0)
    return failure(EOVERFLOW, "all 4294967295 vport ids are used up: remove the pins and start anew");
  ++after.next_vport;
  if (auto written = maps::write_meta(map("meta"), after); !written) return std::unexpected(written.error());
  return std::exchange(meta_, after).next_vport;
}

Expected<bool> Datapath::is_alive(std::uint32_t slot) const {
  std::array<std::uint8_t, 64> packet = {};
  std::memcpy(packet.data(), &slot, sizeof(slot));
  bpf_test_run_opts options = {};
  options.sz = sizeof(options);
  options.data_in = packet.data();
  options.data_size_in = packet.size();
  options.repeat = 1;
  if (::bpf_prog_test_run_opts(programs_.vport_alive, &options) < 0)
    return system_failure(errno, "cannot look for a vport's socket");
  return options.retval == XDP_PASS;
}

}  // namespace mstack::daemon
