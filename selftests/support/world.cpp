// SPDX-License-Identifier: BSD-2-Clause
#include "support/world.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "support/sandbox.hpp"

namespace mstack::test {

namespace {

std::string next_name() {
  static std::atomic<int> number = 0;
  return "w" + std::to_string(++number);
}

std::vector<std::string> words(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> out;
  for (std::string word; in >> word;) out.push_back(word);
  return out;
}

void make_directory(const std::string& path) {
  check(::mkdir(path.c_str(), 0755), "mkdir " + path);
}

Mac mac_of(const Namespace& netns, const std::string& interface) {
  const std::string line = World::in(netns, "ip -o link show " + interface);
  std::istringstream at(line.substr(line.find("link/ether ") + 11));
  Mac mac{};
  at >> std::hex;
  for (auto& byte : mac) {
    unsigned value = 0;
    at >> value;
    at.get();
    byte = static_cast<std::uint8_t>(value);
  }
  return mac;
}

// Nothing is said on the wire but what a test says: no router solicitations, no duplicate address detection, no
// multicast reports. Takes effect for the interfaces made after it.
void quiet(const Namespace& netns) {
  netns.run([] {
    for (const char* setting : {"ipv6/conf/default/accept_dad", "ipv6/conf/default/router_solicitations",
                                "ipv6/conf/default/accept_ra", "ipv6/conf/all/accept_dad"}) {
      std::ofstream("/proc/sys/net/" + std::string(setting)) << 0;
    }
  });
}

// Empty if it works; else why not.
std::string try_native_xdp(const Namespace& netns, const std::string& interface) {
  const Fd program = xdp_program("native", XDP_PASS);
  return netns.run([&]() -> std::string {
    const int index = static_cast<int>(::if_nametoindex(interface.c_str()));
    if (const int error = ::bpf_xdp_attach(index, program.get(), XDP_FLAGS_DRV_MODE, nullptr); error != 0)
      return std::generic_category().message(-error);
    check(::bpf_xdp_detach(index, XDP_FLAGS_DRV_MODE, nullptr), "detach XDP program");
    return {};
  });
}

std::string join_lines(const std::string& text) {
  std::string out = text;
  for (auto& c : out) {
    if (c == '\n') c = ' ';
  }
  return out;
}

}  // namespace

World::World(const WorldOptions& options) {
  const Sandbox& sandbox = Sandbox::get();
  const std::string name = next_name();
  directory_ = sandbox.directory() + "/" + name;
  outside_ = sandbox.cgroup();
  cgroup_ = outside_ + "/" + name;
  make_directory(directory_);
  make_directory(directory_ + "/bpf");
  check(::mount("bpf", (directory_ + "/bpf").c_str(), "bpf", 0, "mode=0755"), "mount bpffs");
  make_directory(cgroup_);
  sandbox.enter_cgroup(cgroup_);
  for (const Namespace* netns : {&host_, &wire_, &far_}) quiet(*netns);
  connect_ends(options);
  if (options.far) add_far();
  second_ = options.second;
  if (second_) make_second();
  injector_ = std::make_unique<Injector>(wire_, wire_end);
}

World::~World() {
  if (nics_) nics_->move_back(host_, uplink, wire_, wire_end);
  Sandbox::get().enter_cgroup(outside_);
  ::umount2((directory_ + "/bpf").c_str(), MNT_DETACH);
  ::rmdir(cgroup_.c_str());
}

void World::connect_ends(const WorldOptions& options) {
  const std::string queues =
      " numtxqueues " + std::to_string(options.queues) + " numrxqueues " + std::to_string(options.queues);
  const std::string mtu = " mtu " + std::to_string(options.mtu);
  nics_ = NicPair::borrow();
  if (nics_) {
    nics_->move_to(host_, uplink, wire_, wire_end);
    in(host_, "ip link set " + uplink + mtu);
    // A NIC looks at addresses; a test wants to see all that is on the wire.
    in(wire_, "ip link set " + wire_end + mtu + " promisc on");
  } else {
    in(host_, "ip link add " + uplink + mtu + queues + " type veth peer name " + wire_end + mtu + queues + " netns " +
                  wire_.path());
  }
  // A veth peer hands XDP frames with unfinished checksums unless the offload is off.
  in(host_, "ethtool -K " + uplink + " tx off gro on");
  in(wire_, "ethtool -K " + wire_end + " tx off gro on");
  for (const auto& address : {host4, host4_second}) in(host_, "ip addr add " + address + "/24 dev " + uplink);
  for (const auto& address : {host6, host6_second})
    in(host_, "ip addr add " + address + "/64 dev " + uplink + " nodad");
  in(wire_, "ip addr add " + wire4 + "/24 dev " + wire_end);
  in(wire_, "ip addr add " + wire6 + "/64 dev " + wire_end + " nodad");
  if (options.wire != WorldOptions::WireEnd::gro) {
    wire_xdp_ = xdp_program("wire_end", options.wire == WorldOptions::WireEnd::drop ? XDP_DROP : XDP_PASS);
    attach_xdp(wire_, wire_end, wire_xdp_);
  }
  in(host_, "ip link set " + uplink + " up");
  in(wire_, "ip link set " + wire_end + " up");
  if (nics_) {
    no_native_xdp_ = try_native_xdp(host_, uplink);
    // Of larger frames than one buffer a driver may refuse it to the programs that read no more than that.
    if (!no_native_xdp_.empty() && options.mtu <= 1500 && std::getenv("MSTACK_TEST_NATIVE") != nullptr)
      throw std::runtime_error("the uplink's driver is known for native XDP, and refuses it: " + no_native_xdp_);
    wait_for_carrier();
  }
  in(host_, "ip route add default via " + wire4);
  in(host_, "ip -6 route add default via " + wire6);
  host_mac_ = mac_of(host_, uplink);
  wire_mac_ = mac_of(wire_, wire_end);
  uplink_index_ = host_.run([] { return ::if_nametoindex(uplink.c_str()); });
}

void World::make_second(const std::string& extra) const {
  in(host_, "ip link add " + second_uplink + " " + extra + " type veth peer name " + second_wire_end + " netns " +
                wire_.path());
  in(host_, "ethtool -K " + second_uplink + " tx off gro on");
  in(wire_, "ethtool -K " + second_wire_end + " tx off gro on");
  in(host_, "ip addr add " + second4 + "/24 dev " + second_uplink);
  in(host_, "ip addr add " + second6 + "/64 dev " + second_uplink + " nodad");
  in(wire_, "ip addr add " + second_wire4 + "/24 dev " + second_wire_end);
  in(wire_, "ip addr add " + second_wire6 + "/64 dev " + second_wire_end + " nodad");
  in(host_, "ip link set " + second_uplink + " up");
  in(wire_, "ip link set " + second_wire_end + " up");
}

unsigned World::index_of(const std::string& interface) const {
  return host_.run([&] { return ::if_nametoindex(interface.c_str()); });
}

void World::send_by_second(Segment segment, const Namespace& where) const {
  segment.destination_mac = mac_of(where, second_uplink);
  segment.source_mac = mac_of(wire_, second_wire_end);
  Injector(wire_, second_wire_end).send(build(segment));
}

// NICs agree on a speed first.
void World::wait_for_carrier() const {
  for (const auto& [netns, name] : {std::pair{&host_, uplink}, std::pair{&wire_, wire_end}}) {
    if (!eventually([&] { return in(*netns, "ip -o link show " + name).find("LOWER_UP") != std::string::npos; }))
      throw std::runtime_error(name + " finds nobody at the other end of its wire");
  }
}

void World::add_far() const {
  in(wire_, "ip link add near0 type veth peer name far0 netns " + far_.path());
  in(wire_, "ethtool -K near0 tx off");
  in(far_, "ethtool -K far0 tx off");
  in(wire_, "ip addr add " + near4 + "/24 dev near0");
  in(wire_, "ip addr add " + near6 + "/64 dev near0 nodad");
  in(far_, "ip addr add " + far4 + "/24 dev far0");
  in(far_, "ip addr add " + far6 + "/64 dev far0 nodad");
  in(wire_, "ip link set near0 up");
  in(far_, "ip link set far0 up");
  in(far_, "ip route add default via " + near4);
  in(far_, "ip -6 route add default via " + near6);
  in(wire_, "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
}

std::string World::in(const Namespace& netns, const std::string& command) {
  return run_or_throw(words(command), {.who = {.netns = &netns}});
}

Completed World::command(std::vector<std::string> arguments, Identity who) const {
  // A copy, since other users may not reach the build directory.
  const std::string copy = directory_ + "/mstack";
  if (!std::filesystem::exists(copy)) {
    std::filesystem::copy_file(TESTED_MSTACK, copy);
    check(::chmod(copy.c_str(), 0755), "chmod " + copy);
  }
  arguments.insert(arguments.begin(), copy);
  who.netns = &host_;
  return run(arguments,
             {.who = who, .environment = {{"MSTACK_RUN_DIR", run_dir()}, {"MSTACK_PIN_DIR", pin_dir()}}, .keep = {}});
}

void World::send(Segment segment) const {
  if (segment.destination_mac == Mac{}) segment.destination_mac = host_mac_;
  if (segment.source_mac == Mac{}) segment.source_mac = wire_mac_;
  injector_->send(build(segment));
}

Segment World::udp(const Endpoint& from, const Endpoint& to, std::string payload) {
  return {.from = from, .to = to, .payload = std::move(payload)};
}

Segment World::tcp(const Endpoint& from, const Endpoint& to, std::string payload, std::uint8_t flags) {
  return {.from = from, .to = to, .protocol = IPPROTO_TCP, .payload = std::move(payload), .tcp_flags = flags};
}

std::vector<std::string> World::host_links() const {
  std::vector<std::string> names;
  std::istringstream lines(in(host_, "ip -o link show"));
  for (std::string line; std::getline(lines, line);) {
    const auto parts = words(line);
    std::string name = parts.at(1).substr(0, parts[1].size() - 1);
    names.push_back(name.substr(0, name.find('@')));
  }
  return names;
}

std::vector<std::string> World::leftovers_while_running() const {
  std::vector<std::string> left;
  const Pins pinned = pins();
  if (const auto count = pinned.claims().size(); count != 0) left.push_back(std::to_string(count) + " claims");
  if (const auto count = pinned.gate_sum(); count != 0) left.push_back("port_gate counts " + std::to_string(count));
  if (const auto count = pinned.slot_claims_sum(); count != 0) {
    left.push_back("slot_claims counts " + std::to_string(count));
  }
  for (const auto& [id, vport] : pinned.vports()) left.push_back("vport " + std::to_string(id));
  for (const auto& name : host_links()) {
    if (name.starts_with("ms")) left.push_back("link " + name);
  }
  return left;
}

std::vector<std::string> World::leftovers_after_end() const {
  std::vector<std::string> left;
  // An mstackd that is ending may be removing them at this moment.
  std::error_code error;
  std::filesystem::recursive_directory_iterator pin(pin_dir(), error);
  for (; !error && pin != std::filesystem::end(pin); pin.increment(error))
    left.push_back("pin " + pin->path().string());
  if (error && error != std::errc::no_such_file_or_directory) left.push_back(pin_dir() + ": " + error.message());
  for (const auto& name : host_links()) {
    if (name == "lo" || (second_ && name == second_uplink)) continue;
    if (name != uplink) left.push_back("link " + name);
  }
  if (attached_xdp(host_, uplink) != 0) left.push_back("XDP program on " + uplink);
  if (index_of(second_uplink) != 0 && attached_xdp(host_, second_uplink) != 0)
    left.push_back("XDP program on " + second_uplink);
  const Fd cgroup{check(::open(cgroup_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open " + cgroup_)};
  for (const auto type :
       {BPF_CGROUP_INET4_BIND, BPF_CGROUP_INET6_BIND, BPF_CGROUP_INET4_POST_BIND, BPF_CGROUP_INET6_POST_BIND,
        BPF_CGROUP_INET4_CONNECT, BPF_CGROUP_INET6_CONNECT, BPF_CGROUP_INET_SOCK_CREATE, BPF_CGROUP_INET_SOCK_RELEASE,
        BPF_CGROUP_UDP4_SENDMSG, BPF_CGROUP_UDP6_SENDMSG, BPF_CGROUP_SETSOCKOPT, BPF_CGROUP_GETSOCKOPT}) {
    std::uint32_t flags = 0, count = 0;
    check(::bpf_prog_query(cgroup.get(), type, 0, &flags, nullptr, &count), "query cgroup programs");
    if (count != 0) left.push_back("cgroup program of type " + std::to_string(type));
  }
  for (const std::string& device : {uplink, std::string("lo")}) {
    const auto queue_discs = join_lines(in(host_, "tc qdisc show dev " + device));
    if (queue_discs.find("clsact") != std::string::npos) left.push_back("clsact on " + device);
  }
  return left;
}

Fd xdp_program(const std::string& name, int verdict) {
  const std::array<bpf_insn, 2> instructions{
      bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = verdict},
      bpf_insn{.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  return Fd{
      check(::bpf_prog_load(BPF_PROG_TYPE_XDP, name.c_str(), "GPL", instructions.data(), instructions.size(), nullptr),
            "load XDP program")};
}

void attach_xdp(const Namespace& netns, const std::string& interface, const Fd& program, unsigned flags) {
  netns.run([&] {
    check(::bpf_xdp_attach(static_cast<int>(::if_nametoindex(interface.c_str())), program.get(), flags, nullptr),
          "attach XDP program to " + interface);
  });
}

std::uint32_t attached_xdp(const Namespace& netns, const std::string& interface) {
  return netns.run([&] {
    std::uint32_t id = 0;
    check(::bpf_xdp_query_id(static_cast<int>(::if_nametoindex(interface.c_str())), 0, &id), "query XDP");
    return id;
  });
}

}  // namespace mstack::test
