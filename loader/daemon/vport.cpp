// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/vport.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_link.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "daemon/log.hpp"
#include "daemon/xsk.hpp"
#include "net/tc.hpp"

namespace mstack::daemon {
namespace {

using DeviceMap = maps::Hash<std::uint32_t, std::uint32_t>;  // all maps by slot are written alike

constexpr std::uint32_t known_flags = MSTACK_VPORT_THROUGHPUT | MSTACK_VPORT_MULTI_BUFFER;
constexpr std::uint32_t xdp_headroom = 256, ethernet_header = 14;
// A veth with XDP takes what fits one page beside the kernel's own data; measured: 3506 on x86-64.
constexpr std::uint32_t max_veth_mtu = 3498;
constexpr std::uint32_t max_multi_buffer_mtu = 65535;  // of any veth, and of IP

net::Mac mac_of(std::uint8_t end, std::uint32_t slot) {
  net::Mac mac;
  mstack_mac(mac.data(), end, slot);
  return mac;
}

// A vport's own, for its host ends to be removed in one go. The groups that people use are small numbers.
std::uint32_t group_of(std::uint32_t vport) {
  return 0x80000000 | vport;
}

std::string stack_end_name(std::uint32_t slot) {
  return "s" + std::to_string(slot);
}

std::uint64_t wall_clock_ns() {
  timespec now = {};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

void set_comm(mstack_vport& record, const std::string& comm) {
  std::memset(record.comm, 0, sizeof(record.comm));
  std::memcpy(record.comm, comm.data(), std::min(comm.size(), sizeof(record.comm) - 1));
}

Expected<void> set_sysctls(const std::string& host_end) {
  // bpf_fib_lookup answers only for devices that forward. The kernel itself forwards nothing from here: vport_tx_slow,
  // the only way in, lets packets for this host alone go on, and those have a source that is this host's too.
  for (const auto& [name, value] :
       {std::pair{"forwarding", "1"}, std::pair{"rp_filter", "0"}, std::pair{"accept_local", "1"}})
    if (auto set = net::write_sysctl("net/ipv4/conf/" + host_end + "/" + name, value); !set) return set;
  // A host without IPv6, or a device whose MTU is too small for it, has no such entry, and needs none.
  auto set = net::write_sysctl("net/ipv6/conf/" + host_end + "/forwarding", "1");
  if (!set && set.error().code != ENOENT) return set;
  return {};
}

}  // namespace

Expected<void> check_request(const protocol::OpenVport& request) {
  if (request.queues < 1 || request.queues > protocol::max_queues)
    return failure(EINVAL, fmt::format("{} queues: ask for 1 to {}", request.queues, protocol::max_queues));
  if (request.frames < protocol::min_frames || request.frames > protocol::max_frames ||
      !std::has_single_bit(request.frames))
    return failure(EINVAL, fmt::format("{} frames a queue: ask for a power of two from {} to {}", request.frames,
                                       protocol::min_frames, protocol::max_frames));
  if (request.frame_size != 2048 && request.frame_size != 4096)
    return failure(EINVAL, fmt::format("frames of {} bytes: ask for 2048 or 4096", request.frame_size));
  if (request.ring_size < protocol::min_frames || request.ring_size > request.frames ||
      !std::has_single_bit(request.ring_size))
    return failure(EINVAL, fmt::format("rings of {} entries: ask for a power of two from {} to the number of frames",
                                       request.ring_size, protocol::min_frames));
  if ((request.flags & ~known_flags) != 0 || request.zero != 0)
    return failure(EINVAL, "a flag that this mstackd does not know: is the library newer?");
  return {};
}

std::uint64_t umem_bytes_of(const protocol::OpenVport& request) {
  return std::uint64_t{request.queues} * request.frames * request.frame_size;
}

std::uint32_t vport_mtu(std::uint32_t uplink_mtu, const protocol::OpenVport& request) {
  constexpr std::uint32_t usual = 1500;
  return std::min(uplink_mtu ? uplink_mtu : usual, device_mtu(request));
}

// As large as can be, whatever the uplinks' MTUs: they may change while the vport lives. What a stack sends is measured
// by the route's MTU, what it is sent by this one.
std::uint32_t device_mtu(const protocol::OpenVport& request) {
  static_assert(2048 - xdp_headroom >= MSTACK_MIN_FRAME);
  const std::uint32_t of_frame = request.frame_size - xdp_headroom;
  if ((request.flags & MSTACK_VPORT_MULTI_BUFFER) != 0)
    return std::min(protocol::max_packet_frames * of_frame - ethernet_header, max_multi_buffer_mtu);
  return std::min(of_frame - ethernet_header, max_veth_mtu);
}

Expected<Vport::Opened> Vport::open(const VportHost& host, SlotLease lease, LedgerEntry account,
                                    const OpenOptions& options) {
  const protocol::OpenVport& request = options.request;
  // From here on the destructor undoes whatever was done.
  std::unique_ptr<Vport> vport(new Vport(host, std::move(lease), std::move(account), options.id));
  const std::uint32_t slot = vport->lease_.slot();
  vport->record_ = {.xsk_cookie = 0,
                    .umem_bytes = umem_bytes_of(request),
                    .created_ns = wall_clock_ns(),
                    .uid = options.owner.uid,
                    .pid = options.owner.pid,
                    .slot = static_cast<__u16>(slot),
                    .queues = static_cast<__u16>(request.queues),
                    .flags = request.flags,
                    .comm = {}};
  set_comm(vport->record_, options.owner.comm);

  if (!host.maps_bound_rings) {
    auto own = net::Links::open_anonymous();
    if (!own) return std::unexpected(own.error());
    vport->own_stack_links_.emplace(std::move(*own));
  }
  // Programs go onto devices that are down: to attach to one that is up takes the kernel 20 ms more.
  for (std::uint32_t queue = 0; queue < request.queues; ++queue) {
    if (auto cleared = maps::clear_vport_stats(host.datapath.map("vport_stats"), slot + queue); !cleared)
      return std::unexpected(cleared.error());
    if (auto made = vport->create_ends(queue, device_mtu(request), request.flags & MSTACK_VPORT_THROUGHPUT); !made)
      return std::unexpected(made.error());
    if (auto attached = vport->attach_host_end(queue); !attached) return std::unexpected(attached.error());
  }
  if (auto attached = vport->attach_stack_ends(); !attached) return std::unexpected(attached.error());
  for (std::uint32_t queue = 0; queue < request.queues; ++queue)
    if (auto up = vport->set_up_ends(queue); !up) return std::unexpected(up.error());
  auto memory = create_packet_memory(vport->record_.umem_bytes);
  if (!memory) return std::unexpected(memory.error());
  auto sockets = vport->create_sockets(memory->get(), options);
  if (!sockets) return std::unexpected(sockets.error());
  const auto cookie = socket_cookie(sockets->front().get());
  if (!cookie) return std::unexpected(cookie.error());
  vport->record_.xsk_cookie = *cookie;
  // Also of sockets that are not bound yet: by this map is known who keeps one after the vport's end.
  for (std::uint32_t queue = 0; queue < request.queues; ++queue)
    if (auto set = DeviceMap(host.datapath.map("vport_xsks"))
                       .set(slot + queue, static_cast<std::uint32_t>((*sockets)[queue].get()));
        !set)
      return std::unexpected(set.error());
  if (host.maps_bound_rings) {
    if (auto connected = vport->connect(*sockets); !connected) return std::unexpected(connected.error());
  } else {
    for (const Fd& socket : *sockets)
      if (vport->unbound_.push_back(socket.duplicate()); !vport->unbound_.back())
        return system_failure(errno, "cannot keep an AF_XDP socket");
  }

  vport->memory_ = memory->duplicate();
  if (!vport->memory_) return system_failure(errno, "cannot keep packet memory");
  Opened opened = {.vport = std::move(vport), .descriptors = {}};
  opened.descriptors.push_back(std::move(*memory));
  for (Fd& socket : *sockets) opened.descriptors.push_back(std::move(socket));
  return opened;
}

Expected<void> Vport::bind() {
  const std::vector<Fd> sockets = std::move(unbound_);
  unbound_.clear();
  return connect(sockets);
}

Expected<void> Vport::connect(std::span<const Fd> sockets) {
  for (std::uint32_t queue = 0; queue < record_.queues; ++queue) {
    const std::uint32_t slot = lease_.slot() + queue;
    if (auto bound = bind_xsk(sockets[queue].get(), slot, record_.flags & MSTACK_VPORT_MULTI_BUFFER); !bound)
      return bound;
    for (const char* map : maps::device_maps)
      if (auto set = DeviceMap(host_.datapath.map(map)).set(slot, host_ends_[queue].ifindex()); !set) return set;
  }
  // Last of what others see: what is in this map is whole.
  return host_.datapath.vports().set(id_, record_);
}

// The veth pair of a queue, with both ends down.
Expected<void> Vport::create_ends(std::uint32_t queue, std::uint32_t mtu, bool throughput) {
  const std::uint32_t slot = lease_.slot() + queue;
  const net::VethOptions options = {.stack_ifindex = slot,
                                    .stack_name = stack_end_name(slot),
                                    .host_name = net::format_host_end({.vport = id_, .queue = queue}),
                                    .stack_mac = mac_of(MSTACK_MAC_STACK_END, slot),
                                    .host_mac = mac_of(MSTACK_MAC_HOST_END, slot),
                                    .mtu = mtu,
                                    .host_group = group_of(id_)};
  auto pair = net::create_veth(stack_links(), host_.links, options);
  if (!pair) return std::unexpected(pair.error());
  host_ends_.push_back(std::move(*pair));

  if (auto done = host_.links.turn_off_offloads(options.host_name); !done) return done;
  if (auto done = stack_links().turn_off_offloads(options.stack_name); !done) return done;
  if (auto done = net::add_queue(stack_links().netlink(), slot); !done) return done;
  if (auto done = set_sysctls(options.host_name); !done) return done;
  if (throughput) {
    // The softirq that a frame raises waits up to 50 us for others: one run for many frames.
    const std::string device = "class/net/" + options.host_name;
    if (auto done = host_.sysfs.write(device + "/gro_flush_timeout", "50000"); !done) return done;
    if (auto done = host_.sysfs.write(device + "/napi_defer_hard_irqs", "2"); !done) return done;
  }
  return {};
}

// The host end knows whose it is before it has programs that ask.
Expected<void> Vport::attach_host_end(std::uint32_t queue) {
  const Datapath& datapath = host_.datapath;
  const std::uint32_t slot = lease_.slot() + queue, ifindex = host_ends_[queue].ifindex();
  if (auto set = datapath.host_ends().set(ifindex, {.vport = id_, .slot = slot}); !set) return set;
  if (auto attached = net::attach_tc_ingress(ifindex, datapath.programs().vport_tx_slow); !attached) return attached;
  const auto link = create_link(datapath.programs().vport_tx, static_cast<int>(ifindex), BPF_XDP, XDP_FLAGS_DRV_MODE);
  if (!link) return failure(link.error().code, "host end: " + link.error().what);
  return pin_link(*link, host_link_name(slot));
}

// XDP links belong to the thread's namespace when they are made, and so do AF_XDP sockets.
Expected<void> Vport::attach_stack_ends() {
  const auto scope = net::NetnsScope::enter(stack_links().netns());
  if (!scope) return std::unexpected(scope.error());
  for (std::uint32_t slot = lease_.slot(); slot < lease_.slot() + lease_.count(); ++slot) {
    const auto link =
        create_link(host_.datapath.programs().vport_rx, static_cast<int>(slot), BPF_XDP, XDP_FLAGS_DRV_MODE);
    if (!link) return failure(link.error().code, "stack end: " + link.error().what);
    if (auto pinned = pin_link(*link, stack_link_name(slot)); !pinned) return pinned;
  }
  return {};
}

Expected<void> Vport::pin_link(const Fd& link, const std::string& name) {
  auto pin = LinkPin::create(link.get(), host_.datapath.pins().link(name));
  if (!pin) return std::unexpected(pin.error());
  links_.push_back(std::move(*pin));
  return {};
}

// The host end last: its peer is up, so it has a carrier at once. Had it to wait for one, what the host sends it would
// be lost until the kernel's link watch comes by.
Expected<void> Vport::set_up_ends(std::uint32_t queue) {
  if (auto up = stack_links().set_up(lease_.slot() + queue); !up) return up;
  return host_.links.set_up(host_ends_[queue].ifindex());
}

Expected<std::vector<Fd>> Vport::create_sockets(int memory, const OpenOptions& options) {
  const protocol::OpenVport& request = options.request;
  std::vector<Fd> sockets;
  const auto scope = net::NetnsScope::enter(stack_links().netns());
  if (!scope) return std::unexpected(scope.error());
  for (std::uint32_t queue = 0; queue < request.queues; ++queue) {
    auto xsk = create_xsk(
        {.memory = memory,
         .offset = std::uint64_t{queue} * request.frames * request.frame_size,
         .frames = request.frames,
         .frame_size = request.frame_size,
         .ring_size = request.ring_size,
         .account = {
             .uid = options.owner.uid, .netns_cookie = host_.datapath.netns_cookie(), .limit = options.umem_limit}});
    if (!xsk) return std::unexpected(xsk.error());
    sockets.push_back(std::move(*xsk));
  }
  return sockets;
}

Expected<std::unique_ptr<Vport>> Vport::adopt(const VportHost& host, SlotLease lease, LedgerEntry account,
                                              const Plan::Adopted& found) {
  std::unique_ptr<Vport> vport(new Vport(host, std::move(lease), std::move(account), found.id));
  vport->record_ = found.record;
  for (std::uint32_t queue = 0; queue < found.record.queues; ++queue) {
    const std::uint32_t slot = found.record.slot + queue, ifindex = found.host_ends[queue];
    vport->links_.push_back(LinkPin::adopt(host.datapath.pins().link(host_link_name(slot))));
    vport->links_.push_back(LinkPin::adopt(host.datapath.pins().link(stack_link_name(slot))));
    vport->host_ends_.push_back(ifindex ? net::OwnedLink(host.links, ifindex) : net::OwnedLink());
    if (ifindex == 0) return failure(ENODEV, fmt::format("queue {} has lost its device", queue));
    if (auto replaced = vport->replace_programs(queue); !replaced) return std::unexpected(replaced.error());
  }
  return vport;
}

Expected<void> Vport::replace_programs(std::uint32_t queue) const {
  const Datapath& datapath = host_.datapath;
  const std::uint32_t slot = lease_.slot() + queue;
  // The slow path first: it takes what an older or newer vport_tx passes on.
  if (auto done = net::attach_tc_ingress(host_ends_[queue].ifindex(), datapath.programs().vport_tx_slow); !done)
    return done;
  for (const auto& [name, program] : {std::pair{host_link_name(slot), datapath.programs().vport_tx},
                                      std::pair{stack_link_name(slot), datapath.programs().vport_rx}}) {
    auto link = open_link(datapath.pins().link(name));
    if (!link) return std::unexpected(link.error());
    if (!*link) return failure(ENOENT, "its link " + name + " is gone");
    if (auto done = update_link((*link)->get(), program); !done) return done;
  }
  return {};
}

Vport::~Vport() {
  if (left_) return;
  erase_sockets();
  erase_entries();
  remove_ends();
}

Residue Vport::end() {
  erase_entries();
  remove_ends();
  left_ = true;
  return Residue(host_.datapath, std::move(lease_), std::move(account_), std::move(memory_));
}

void Vport::erase_sockets() const {
  for (std::uint32_t slot = lease_.slot(); slot < lease_.slot() + lease_.count(); ++slot)
    (void)DeviceMap(host_.datapath.map("vport_xsks")).erase(slot);
}

void Vport::remove_ends() {
  if (host_ends_.size() > 1 && host_.links.remove_group(group_of(id_)))
    for (net::OwnedLink& end : host_ends_) (void)end.release();
  host_ends_.clear();
  for (LinkPin& link : links_) link.remove_of_gone_device();
}

// Claims first: nothing is steered to, or sent from, what goes after them.
void Vport::erase_entries() const {
  const Datapath& datapath = host_.datapath;
  if (auto erased = host_.claims.erase_all_of(id_, lease_.slot()); !erased)
    log::error("claims of vport {}: {}", id_, erased.error().what);
  for (std::uint32_t slot = lease_.slot(); slot < lease_.slot() + lease_.count(); ++slot)
    for (const char* map : maps::device_maps) (void)DeviceMap(datapath.map(map)).erase(slot);
  for (const net::OwnedLink& end : host_ends_)
    if (end) (void)datapath.host_ends().erase(end.ifindex());
  (void)datapath.vports().erase(id_);
}

std::vector<std::uint32_t> Vport::host_ends() const {
  std::vector<std::uint32_t> ifindexes;
  for (const net::OwnedLink& end : host_ends_) ifindexes.push_back(end.ifindex());
  return ifindexes;
}

Expected<bool> Vport::is_alive() const {
  for (std::uint32_t slot = lease_.slot(); slot < lease_.slot() + lease_.count(); ++slot) {
    auto alive = host_.datapath.is_alive(slot);
    if (!alive || *alive) return alive;
  }
  return false;
}

Expected<void> Vport::resumed_by(const VportOwner& owner) {
  record_.pid = owner.pid;
  set_comm(record_, owner.comm);
  return host_.datapath.vports().set(id_, record_, BPF_EXIST);
}

void Vport::leave() {
  left_ = true;
  for (LinkPin& link : links_) link.leave();
  for (net::OwnedLink& end : host_ends_) (void)end.release();
}

}  // namespace mstack::daemon
