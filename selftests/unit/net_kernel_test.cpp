// SPDX-License-Identifier: BSD-2-Clause
// The network layer against this kernel, in namespaces of its own. Skipped without the privilege to make them.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/ethtool.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "fd.hpp"
#include "net/addresses.hpp"
#include "net/link.hpp"
#include "net/netns.hpp"
#include "net/sock_diag.hpp"
#include "net/tag_stripping.hpp"
#include "net/xdp_features.hpp"

namespace {

using namespace mstack;
using namespace mstack::net;

template <class T>
T must(Expected<T> result) {
  if (!result) throw std::runtime_error(result.error().what);
  return std::move(*result);
}
void must(Expected<void> result) {
  if (!result) throw std::runtime_error(result.error().what);
}

class Kernel : public testing::Test {
 protected:
  void SetUp() override {
    if (unshare(CLONE_NEWNET) < 0) GTEST_SKIP() << "no right to make a network namespace";
    links_.emplace(must(Links::open()));
    must(links_->set_up(1));
  }
  Links& links() { return *links_; }
  void run(const std::string& command) { ASSERT_EQ(0, std::system(command.c_str())) << command; }

 private:
  std::optional<Links> links_;
};

class Veth : public Kernel {
 protected:
  void SetUp() override {
    Kernel::SetUp();
    if (IsSkipped()) return;
    const Netns inner = must(Netns::create_anonymous());
    auto scope = must(NetnsScope::enter(inner));
    private_links_.emplace(must(Links::open()));
    private_sysfs_.emplace(must(Sysfs::open()));
  }
  VethOptions options(std::uint32_t slot, std::uint32_t vport) {
    VethOptions made = {.stack_ifindex = slot,
                        .stack_name = "s" + std::to_string(slot),
                        .host_name = format_host_end({.vport = vport, .queue = 0}),
                        .mtu = 1400};
    mstack_mac(made.stack_mac.data(), MSTACK_MAC_STACK_END, slot);
    mstack_mac(made.host_mac.data(), MSTACK_MAC_HOST_END, slot);
    return made;
  }
  Links& private_links() { return *private_links_; }
  Sysfs& private_sysfs() { return *private_sysfs_; }

 private:
  std::optional<Links> private_links_;
  std::optional<Sysfs> private_sysfs_;
};

TEST_F(Kernel, NetnsScopeComesBack) {
  const auto home = must(must(Netns::current()).cookie());
  const Netns other = must(Netns::create_anonymous());
  EXPECT_NE(home, must(other.cookie()));
  {
    auto scope = must(NetnsScope::enter(other));
    EXPECT_EQ(must(other.cookie()), must(must(Netns::current()).cookie()));
    EXPECT_EQ(1u, must(must(Links::open()).all()).size());
  }
  EXPECT_EQ(home, must(must(Netns::current()).cookie()));
}

TEST_F(Veth, BothEndsAreAsAsked) {
  const auto asked = options(2, 42);
  OwnedLink owner = must(create_veth(private_links(), links(), asked));
  const Link host = must(links().find("ms42q0"));
  EXPECT_EQ(host.ifindex, owner.ifindex());
  EXPECT_EQ(asked.host_mac, host.mac);
  EXPECT_EQ(1400u, host.mtu);
  EXPECT_EQ("veth", host.kind);
  EXPECT_FALSE(host.up);
  EXPECT_TRUE(host.ethernet);
  EXPECT_EQ(XdpAttached::none, host.xdp);
  const Link stack = must(private_links().find(2));
  EXPECT_EQ("s2", stack.name);
  EXPECT_EQ(asked.stack_mac, stack.mac);
  EXPECT_EQ(1400u, stack.mtu);
  EXPECT_EQ(ENODEV, links().find("s2").error().code);
}

TEST_F(Veth, SaysNothingByItself) {
  OwnedLink owner = must(create_veth(private_links(), links(), options(2, 1)));
  must(links().set_up(owner.ifindex()));
  must(private_links().set_up(2));
  EXPECT_TRUE(must(links().find(owner.ifindex())).up);
  std::string line;
  for (std::ifstream table("/proc/net/if_inet6"); std::getline(table, line);)
    EXPECT_EQ(std::string::npos, line.find("ms1q0")) << line;
}

TEST_F(Veth, EverySlotButTheLoopbacksCanBeHad) {
  EXPECT_EQ(EINVAL, create_veth(private_links(), links(), options(1, 1)).error().code);
  std::vector<OwnedLink> owners;
  for (const std::uint32_t slot : {2u, 3u, 500u, 1023u})
    owners.push_back(must(create_veth(private_links(), links(), options(slot, slot))));
  EXPECT_EQ(EEXIST, create_veth(private_links(), links(), options(500, 9)).error().code);
  EXPECT_EQ(4u, must(links().host_ends()).size());
  // The name of the host end is taken: nothing half-made stays.
  EXPECT_EQ(EEXIST, create_veth(private_links(), links(), options(7, 500)).error().code);
  EXPECT_EQ(ENODEV, private_links().find(7).error().code);
}

TEST_F(Veth, GoesWithItsOwner) {
  {
    OwnedLink owner = must(create_veth(private_links(), links(), options(2, 1)));
    OwnedLink moved = std::move(owner);
    EXPECT_EQ(1u, must(links().host_ends()).size());
  }
  EXPECT_TRUE(must(links().host_ends()).empty());
  EXPECT_EQ(ENODEV, private_links().find(2).error().code);
  OwnedLink released = must(create_veth(private_links(), links(), options(2, 1)));
  const auto ifindex = released.release();
  EXPECT_EQ(1u, must(links().host_ends()).size());
  must(links().remove(ifindex));
  must(links().remove(ifindex));  // gone already: no error
}

TEST_F(Veth, OffloadsAndSettings) {
  OwnedLink owner = must(create_veth(private_links(), links(), options(2, 1)));
  must(links().turn_off_offloads("ms1q0"));
  must(private_links().turn_off_offloads("s2"));
  const Fd socket(::socket(AF_INET, SOCK_DGRAM, 0));
  for (const std::uint32_t command : {ETHTOOL_GGRO, ETHTOOL_GTXCSUM}) {
    ethtool_value value = {.cmd = command, .data = 1};
    ifreq request = {};
    std::memcpy(request.ifr_name, "ms1q0", sizeof("ms1q0"));
    request.ifr_data = reinterpret_cast<char*>(&value);
    ASSERT_EQ(0, ioctl(socket.get(), SIOCETHTOOL, &request));
    EXPECT_EQ(0u, value.data);
  }
  must(write_sysctl("net/ipv4/conf/ms1q0/forwarding", "1"));
  must(write_sysctl("net/ipv6/conf/ms1q0/forwarding", "1"));
  EXPECT_EQ(ENOENT, write_sysctl("net/ipv4/conf/s2/forwarding", "1").error().code);
  const Sysfs sysfs = must(Sysfs::open());
  must(sysfs.write("class/net/ms1q0/napi_defer_hard_irqs", "2"));
  EXPECT_EQ("2", must(sysfs.read("class/net/ms1q0/napi_defer_hard_irqs")));
  must(private_sysfs().write("class/net/s2/gro_flush_timeout", "50000"));
  EXPECT_EQ("50000", must(private_sysfs().read("class/net/s2/gro_flush_timeout")));
  EXPECT_EQ(ENOENT, sysfs.read("class/net/s2/gro_flush_timeout").error().code);
  must(links().set_mtu(owner.ifindex(), 1300));
  EXPECT_EQ(1300u, must(links().find(owner.ifindex())).mtu);
}

TEST_F(Veth, XdpFeatures) {
  OwnedLink owner = must(create_veth(private_links(), links(), options(2, 1)));
  const auto features = must(xdp_features(owner.ifindex()));
  if (!features) GTEST_SKIP() << "this kernel does not tell";
  EXPECT_TRUE(*features & xdp_basic);
  EXPECT_FALSE(*features & xdp_ndo_xmit);  // nothing runs NAPI on the other end
  EXPECT_EQ(ENODEV, xdp_features(4711).error().code);
}

TEST_F(Kernel, LocalAddresses) {
  run("ip link add d0 type veth peer name p0 && ip link set d0 up");
  run("ip addr add 192.0.2.1/24 dev d0 && ip addr add 198.51.100.1 peer 198.51.100.2 dev d0");
  run("ip addr add 169.254.7.7/16 dev d0 && ip addr add 203.0.113.9/32 dev lo && ip addr add 192.0.2.1/32 dev lo");
  run("ip -6 addr add 2001:db8::1/64 dev d0 nodad && ip -6 addr add 2001:db8::5/128 dev lo nodad");
  std::vector<std::string> texts;
  const Link device = must(links().find("d0"));
  for (const auto& [address, where] : must(local_addresses(links()))) {
    char text[INET6_ADDRSTRLEN];
    texts.emplace_back(inet_ntop(AF_INET6, &address, text, sizeof(text)));
    if (where.broadcast) texts.back() += " of all";
    if (where.ifindex == device.ifindex) {
      texts.back() += " on d0";
      EXPECT_TRUE(std::ranges::equal(where.mac, device.mac));
    }
  }
  std::sort(texts.begin(), texts.end());
  EXPECT_EQ(
      (std::vector<std::string>{"2001:db8::1 on d0", "2001:db8::5", "::ffff:192.0.2.1 on d0",
                                "::ffff:192.0.2.255 of all on d0", "::ffff:198.51.100.1 on d0", "::ffff:203.0.113.9"}),
      texts);
}

TEST_F(Kernel, BroadcastAddresses) {
  run("ip link add d0 type veth peer name p0 && ip link set d0 up");
  run("ip addr add 192.0.2.1/30 dev d0 && ip addr add 192.0.2.8/31 dev d0 && ip addr add 192.0.2.16/32 dev d0");
  run("ip addr add 198.51.100.1/25 broadcast 198.51.100.0 dev d0 && ip addr add 203.0.113.7/29 dev d0");
  run("ip addr add 203.0.113.15/28 dev d0 && ip addr add 127.0.0.7/8 dev d0");
  // Of the peer's subnet, and one that is told of no subnet.
  run("ip addr add 192.0.2.65 peer 203.0.113.200/26 dev d0 && ip addr add 192.0.2.32/32 broadcast 192.0.2.33 dev d0");
  std::vector<std::string> texts;
  for (const auto& [address, where] : must(local_addresses(links()))) {
    char text[INET6_ADDRSTRLEN];
    if (where.broadcast) texts.emplace_back(inet_ntop(AF_INET6, &address, text, sizeof(text)));
  }
  std::sort(texts.begin(), texts.end());
  // 203.0.113.7 and .15 are the host's own, whatever else they are.
  EXPECT_EQ((std::vector<std::string>{"::ffff:192.0.2.3", "::ffff:192.0.2.33", "::ffff:198.51.100.0",
                                      "::ffff:198.51.100.127", "::ffff:203.0.113.255"}),
            texts);
}

TEST_F(Kernel, TentativeAddressIsNotLocalYetAndIsAnnounced) {
  run("ip link add d0 type veth peer name d1 && ip link set d0 up && ip link set d1 up");
  run("sysctl -qw net.ipv6.conf.d0.accept_dad=1 net.ipv6.conf.d0.dad_transmits=1");
  RouteMonitor monitor = must(RouteMonitor::open());
  run("ip -6 addr add 2001:db8::1/64 dev d0");
  const auto is_local = [this] {
    const auto addresses = must(local_addresses(links()));
    return std::any_of(addresses.begin(), addresses.end(),
                       [](const auto& local) { return local.address.addr[0] == htonl(0x20010db8); });
  };
  EXPECT_FALSE(is_local());
  pollfd poll_for = {.fd = monitor.fd(), .events = POLLIN, .revents = 0};
  for (int events = 0; events < 100 && !is_local(); ++events) {
    ASSERT_EQ(1, poll(&poll_for, 1, 30000)) << "no word of the address";
    must(monitor.drain());
  }
  EXPECT_TRUE(is_local());
}

TEST_F(Kernel, MonitorTellsOfLinksAndAddresses) {
  using Kind = RouteEvent::Kind;
  RouteMonitor monitor = must(RouteMonitor::open());
  EXPECT_TRUE(must(monitor.drain()).empty());
  run("ip link add d0 type veth peer name p0 && ip addr add 192.0.2.1/24 dev d0 && ip addr add 192.0.2.2/24 dev d0");
  const auto ifindex = must(links().find("d0")).ifindex;
  auto events = must(monitor.drain());
  const auto count = [&events](Kind kind) {
    return std::count_if(events.begin(), events.end(), [kind](const RouteEvent& event) { return event.kind == kind; });
  };
  EXPECT_EQ(1, count(Kind::addresses_changed));
  ASSERT_GE(count(Kind::link_changed), 1);
  EXPECT_TRUE(std::any_of(events.begin(), events.end(),
                          [&](const RouteEvent& event) { return event.ifindex == ifindex && event.name == "d0"; }));
  run("ip link del d0");
  events = must(monitor.drain());
  EXPECT_EQ(2, count(Kind::link_gone));
  EXPECT_TRUE(must(monitor.drain()).empty());
}

TEST_F(Kernel, MonitorTellsOnceOfADevicesFiltersThatMayBeGone) {
  RouteMonitor monitor = must(RouteMonitor::open());
  run("ip link add d0 type veth peer name p0 && tc qdisc add dev d0 clsact");
  const auto devices = [&monitor] {
    std::vector<std::uint32_t> found;
    for (const RouteEvent& event : must(monitor.drain()))
      if (event.kind == RouteEvent::Kind::filters_gone) found.push_back(event.ifindex);
    return found;
  };
  EXPECT_TRUE(devices().empty());
  run("tc qdisc del dev d0 clsact && tc qdisc add dev d0 clsact && tc qdisc del dev d0 clsact");
  const std::vector d0{must(links().find("d0")).ifindex};
  EXPECT_EQ(d0, devices());
  run("tc qdisc add dev d0 clsact && tc filter add dev d0 egress pref 1 handle 1 protocol all bpf bytecode '1,6 0 0 "
      "0'");
  EXPECT_EQ(d0, devices());
  run("tc filter replace dev d0 egress pref 1 handle 1 protocol all bpf bytecode '1,6 0 0 1'");
  EXPECT_EQ(d0, devices());
}

TEST_F(Kernel, TagStrippingIsWhatEthtoolSays) {
  run("ip link add d0 type veth peer name p0");
  const auto both = std::vector<std::string>{"rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"};
  EXPECT_EQ(both, must(tag_stripping("d0")).features);
  run("ethtool -K d0 rx-vlan-hw-parse off");
  EXPECT_EQ(std::vector{both[1]}, must(tag_stripping("d0")).features);
  run("ethtool -K d0 rx-vlan-stag-hw-parse off");
  EXPECT_TRUE(must(tag_stripping("d0")).features.empty());
  EXPECT_EQ(both, must(tag_stripping("p0")).features);
  EXPECT_EQ(ENODEV, tag_stripping("d1").error().code);
  EXPECT_EQ(ENODEV, tag_stripping("").error().code);
  EXPECT_EQ(ENODEV, tag_stripping("a-name-that-is-too-long").error().code);
}

TEST_F(Kernel, VlanDevicesAreListedWithTheirTags) {
  run("ip link add d0 type veth peer name p0");
  EXPECT_TRUE(must(links().vlans()).empty()) << "whether the kernel knows of such devices or not";
  if (std::system("ip link add link d0 name v0 type vlan id 100 2>&-") != 0) GTEST_SKIP() << "this kernel has no VLANs";
  run("ip link add link v0 name v1 type vlan protocol 802.1ad id 4094");
  const auto vlans = must(links().vlans());
  ASSERT_EQ(2u, vlans.size());
  EXPECT_EQ((VlanTag{.protocol = 0x8100, .id = 100}), vlans[0].tag);
  EXPECT_EQ((VlanTag{.protocol = 0x88a8, .id = 4094}), vlans[1].tag);
  EXPECT_EQ(must(links().find("d0")).ifindex, vlans[0].lower);
  EXPECT_EQ(vlans[0].ifindex, vlans[1].lower);
}

TEST_F(Kernel, MonitorAsksForResyncWhenItLostEvents) {
  RouteMonitor monitor = must(RouteMonitor::open());
  const int least = 1;
  ASSERT_EQ(0, setsockopt(monitor.fd(), SOL_SOCKET, SO_RCVBUFFORCE, &least, sizeof(least)));
  run("for i in $(seq 40); do ip link add d$i type veth peer name p$i || exit 1; done");
  const auto events = must(monitor.drain());
  ASSERT_FALSE(events.empty());
  EXPECT_EQ(RouteEvent::Kind::resync, events.front().kind);
  EXPECT_EQ(81u, must(links().all()).size());
}

// ---- who holds a port

struct Socket {
  Fd fd;
  std::uint16_t port = 0;
  std::uint64_t cookie = 0;
};

Socket bound(int family, int type, const char* address, std::uint16_t port, bool v6only = false) {
  Socket made;
  made.fd = Fd(::socket(family, type | SOCK_CLOEXEC, 0));
  if (!made.fd) throw std::runtime_error("socket");
  const int on = 1, only = v6only;
  setsockopt(made.fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  sockaddr_storage storage = {};
  socklen_t size;
  if (family == AF_INET) {
    auto& in = reinterpret_cast<sockaddr_in&>(storage);
    in = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {}, .sin_zero = {}};
    inet_pton(family, address, &in.sin_addr);
    size = sizeof(in);
  } else {
    setsockopt(made.fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
    auto& in = reinterpret_cast<sockaddr_in6&>(storage);
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(port);
    inet_pton(family, address, &in.sin6_addr);
    size = sizeof(in);
  }
  if (bind(made.fd.get(), reinterpret_cast<sockaddr*>(&storage), size) < 0)
    throw std::runtime_error(std::string("bind ") + address + ": " + std::strerror(errno));
  getsockname(made.fd.get(), reinterpret_cast<sockaddr*>(&storage), &size);
  made.port = ntohs(reinterpret_cast<sockaddr_in&>(storage).sin_port);  // at the same place in both
  size = sizeof(made.cookie);
  getsockopt(made.fd.get(), SOL_SOCKET, SO_COOKIE, &made.cookie, &size);
  return made;
}

Fd connect_to(std::uint16_t port, int type) {
  Fd fd(::socket(AF_INET, type, 0));
  if (!fd) throw std::runtime_error("socket");
  sockaddr_in to = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof(to)) < 0) throw std::runtime_error("connect");
  return fd;
}

std::vector<Holder> all_holders(std::uint8_t protocol, std::vector<std::uint16_t> ports) {
  return must(holders(protocol, ports));
}

const Holder* find(const std::vector<Holder>& found, const Socket& socket) {
  for (const auto& holder : found)
    if (holder.cookie == socket.cookie) return &holder;
  return nullptr;
}

TEST_F(Kernel, UdpHolders) {
  const Socket four = bound(AF_INET, SOCK_DGRAM, "127.0.0.1", 7000);
  const Socket dual = bound(AF_INET6, SOCK_DGRAM, "::", 7000);
  const Socket six = bound(AF_INET6, SOCK_DGRAM, "::", 7001, true);
  const Socket mapped = bound(AF_INET6, SOCK_DGRAM, "::ffff:127.0.0.1", 7002);
  const Socket other = bound(AF_INET, SOCK_DGRAM, "0.0.0.0", 7003);
  const Fd autobound = connect_to(7000, SOCK_DGRAM);
  sockaddr_in name = {};
  socklen_t size = sizeof(name);
  getsockname(autobound.get(), reinterpret_cast<sockaddr*>(&name), &size);

  const auto found = all_holders(IPPROTO_UDP, {7002, 7000, 7001, 7001, ntohs(name.sin_port)});
  EXPECT_EQ(5u, found.size());
  ASSERT_TRUE(find(found, four) && find(found, dual) && find(found, six) && find(found, mapped));
  EXPECT_FALSE(find(found, other));
  EXPECT_EQ(AF_INET, find(found, four)->family);
  EXPECT_EQ(htonl(INADDR_LOOPBACK), find(found, four)->tuple.addr[3]);
  EXPECT_EQ(htonl(0xffff), find(found, four)->tuple.addr[2]);
  EXPECT_EQ(htons(7000), find(found, four)->tuple.port);
  EXPECT_EQ(AF_INET6, find(found, dual)->family);
  EXPECT_FALSE(find(found, dual)->v6only);
  EXPECT_TRUE(find(found, six)->v6only);
  EXPECT_EQ(0, std::memcmp(find(found, mapped)->tuple.addr, find(found, four)->tuple.addr, 16));
  EXPECT_EQ(IPPROTO_UDP, find(found, six)->tuple.protocol);
  EXPECT_TRUE(all_holders(IPPROTO_TCP, {7000, 7001, 7002}).empty());
}

TEST_F(Kernel, TcpHolders) {
  const Socket only_bound = bound(AF_INET, SOCK_STREAM, "127.0.0.1", 7000);
  const Socket listener = bound(AF_INET, SOCK_STREAM, "127.0.0.1", 7001);
  ASSERT_EQ(0, listen(listener.fd.get(), 5));
  const Socket six = bound(AF_INET6, SOCK_STREAM, "::", 7002, true);
  ASSERT_EQ(0, listen(six.fd.get(), 5));
  const Fd client = connect_to(7001, SOCK_STREAM);
  Socket child;
  child.fd = Fd(accept(listener.fd.get(), nullptr, nullptr));
  socklen_t size = sizeof(child.cookie);
  getsockopt(child.fd.get(), SOL_SOCKET, SO_COOKIE, &child.cookie, &size);

  auto found = all_holders(IPPROTO_TCP, {7000, 7001, 7002});
  ASSERT_TRUE(find(found, listener) && find(found, child) && find(found, six));
  EXPECT_TRUE(find(found, six)->v6only);
  EXPECT_EQ(10, find(found, listener)->state);
  EXPECT_EQ(1, find(found, child)->state);
  EXPECT_EQ(must(sees_bound_tcp()), find(found, only_bound) != nullptr);
  EXPECT_EQ(must(sees_bound_tcp()) ? 4u : 3u, found.size()) << "each socket once";
  EXPECT_TRUE(all_holders(IPPROTO_UDP, {7000, 7001, 7002}).empty());
}

TEST_F(Kernel, HoldersOfManyPorts) {
  // More ranges than the kernel's filter is given, one port, neighbours, the ends of all ports, and none.
  std::vector<Socket> sockets;
  std::vector<std::uint16_t> ports;
  for (std::uint16_t port = 10000; port < 10100; ++port) {
    sockets.push_back(bound(AF_INET, SOCK_DGRAM, "127.0.0.1", port));
    if (port % 3 == 0) ports.push_back(port);
  }
  EXPECT_EQ(ports.size(), all_holders(IPPROTO_UDP, ports).size());
  for (std::size_t ranges = 1; ranges <= 17; ++ranges) {
    const std::vector<std::uint16_t> some(ports.begin(), ports.begin() + static_cast<std::ptrdiff_t>(ranges));
    const auto found = all_holders(IPPROTO_UDP, some);
    ASSERT_EQ(ranges, found.size());
    for (std::size_t i = 0; i < ranges; ++i) EXPECT_EQ(some[i], ntohs(found[i].tuple.port));
  }
  EXPECT_EQ(4u, all_holders(IPPROTO_UDP, {10050, 10051, 10052, 10053}).size());
  EXPECT_TRUE(all_holders(IPPROTO_UDP, {0, 1, 65535}).empty());
  EXPECT_TRUE(all_holders(IPPROTO_UDP, {}).empty());
  EXPECT_EQ(EPROTONOSUPPORT, holders(IPPROTO_SCTP, ports).error().code);
}

// As when the diag module of a protocol is missing: the errno is in the message that ends the dump.
TEST_F(Kernel, DumpThatTheKernelCannotGiveIsAnError) {
  Netlink netlink = must(Netlink::open(NETLINK_SOCK_DIAG));
  Request request(SOCK_DIAG_BY_FAMILY, 0, sizeof(inet_diag_req_v2));
  request.header<inet_diag_req_v2>() = {
      .sdiag_family = AF_INET, .sdiag_protocol = 253, .idiag_ext = 0, .pad = 0, .idiag_states = ~0u, .id = {}};
  const auto dumped = netlink.dump(request, "cannot see", [](const nlmsghdr&) {});
  EXPECT_EQ(ENOENT, dumped.error().code);
  EXPECT_EQ("cannot see: No such file or directory", dumped.error().what);
}

}  // namespace
