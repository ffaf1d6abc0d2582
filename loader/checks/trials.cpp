// SPDX-License-Identifier: BSD-2-Clause
#include "checks/trials.hpp"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <span>

#include "daemon/bpf_link.hpp"
#include "fd.hpp"
#include "mapping.hpp"
#include "net/link.hpp"
#include "net/netns.hpp"
#include "net/sock_diag.hpp"
#include "net/tc.hpp"

#ifndef XDP_USE_SG  // 6.6
#define XDP_USE_SG (1 << 4)
#endif

namespace mstack::checks {
namespace {

// A program that returns a number, and is called mstack_trial.
Expected<Fd> load_program(bpf_prog_type type, int verdict) {
  const bpf_insn instructions[] = {
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = verdict},
      {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  Fd program(::bpf_prog_load(type, "mstack_trial", "GPL", instructions, std::size(instructions), nullptr));
  if (!program) return system_failure(errno, "cannot load a BPF program");
  return program;
}

bool is_interpreted(const Fd& program) {
  bpf_prog_info info = {};
  __u32 size = sizeof(info);
  return ::bpf_obj_get_info_by_fd(program.get(), &info, &size) == 0 && info.jited_prog_len == 0;
}

struct AfXdp {
  bool multi_buffer;
  bool maps_bound_rings;
};

// In the calling thread's network namespace, which is a new one: binds a socket to its loopback device, with packets of
// several frames if the kernel knows them, and maps a ring of it after that.
Expected<AfXdp> try_af_xdp(net::Links& links) {
  constexpr std::uint32_t loopback = 1, frame_size = 2048;
  constexpr int entries = 64;
  if (auto up = links.set_up(loopback); !up) return std::unexpected(up.error());
  const Fd xsk(::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (!xsk) return system_failure(errno, "cannot make an AF_XDP socket");
  const Fd memory(::memfd_create("mstack-trial", MFD_CLOEXEC));
  constexpr std::size_t size = std::size_t{entries} * frame_size;
  if (!memory || ::ftruncate(memory.get(), size) < 0) return system_failure(errno, "cannot make packet memory");
  const auto view = Mapping::shared(memory.get(), size, 0, "packet memory");
  if (!view) return std::unexpected(view.error());
  xdp_umem_reg umem = {};
  umem.addr = reinterpret_cast<std::uintptr_t>(view->data());
  umem.len = size;
  umem.chunk_size = frame_size;
  if (::setsockopt(xsk.get(), SOL_XDP, XDP_UMEM_REG, &umem, sizeof(umem)) < 0)
    return system_failure(errno, "cannot register packet memory");
  for (const int ring : {XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING, XDP_TX_RING})
    if (::setsockopt(xsk.get(), SOL_XDP, ring, &entries, sizeof(entries)) < 0)
      return system_failure(errno, "cannot make an AF_XDP ring");
  sockaddr_xdp address = {};
  address.sxdp_family = AF_XDP;
  address.sxdp_flags = XDP_COPY | XDP_USE_NEED_WAKEUP | XDP_USE_SG;
  address.sxdp_ifindex = loopback;
  const auto bound = [&] {
    return ::bind(xsk.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  };
  const bool multi_buffer = bound();
  if (!multi_buffer) {
    address.sxdp_flags &= ~XDP_USE_SG;
    if (errno != EINVAL || !bound()) return system_failure(errno, "cannot bind an AF_XDP socket");
  }
  const auto ring = Mapping::shared(xsk.get(), sizeof(std::uint32_t), XDP_PGOFF_RX_RING, "an AF_XDP ring");
  if (!ring && ring.error().code != EBUSY) return std::unexpected(ring.error());
  return AfXdp{.multi_buffer = multi_buffer, .maps_bound_rings = ring.has_value()};
}

std::vector<Check> af_xdp_checks(net::Links& links, Needed& needed) {
  const auto tried = try_af_xdp(links);
  if (!tried) {
    const int code = tried.error().code;
    return {failed("af_xdp", tried.error(),
                   code == EAFNOSUPPORT ? "the kernel has none (CONFIG_XDP_SOCKETS)"
                   : code == ENOBUFS    ? raise_memlock
                                        : advice_for(tried.error()))};
  }
  needed.maps_bound_rings = tried->maps_bound_rings;
  needed.takes_multi_buffer = tried->multi_buffer;
  return {good("af_xdp", tried->maps_bound_rings
                             ? "AF_XDP sockets"
                             : "AF_XDP sockets, bound late: before 6.4 each vport has a network namespace of its own"),
          tried->multi_buffer
              ? good("multi_buffer", "AF_XDP packets of several frames: jumbo frames of any MTU")
              : warning("multi_buffer",
                        "this kernel (before 6.6) has no AF_XDP packets of several frames: stacks take frames up to an "
                        "MTU of 3498")};
}

Expected<net::OwnedLink> make_veth(net::Links& links) {
  return net::create_veth(links, links,
                          {.stack_ifindex = 1000,  // not what the other end is given
                           .stack_name = "trial0",
                           .host_name = "trial1",
                           .stack_mac = {2, 0, 0, 0, 0, 1},
                           .host_mac = {2, 0, 0, 0, 0, 2},
                           .mtu = 1500,
                           .host_group = 0});
}

Check veth_check(const Expected<net::OwnedLink>& veth, const Expected<Fd>& program) {
  constexpr const char* advice = "load the module (modprobe veth), or use a kernel with CONFIG_VETH";
  if (!veth) return failed("veth", veth.error(), advice_for(veth.error(), advice));
  if (!program) return failed("veth", program.error(), advice_for(program.error()));
  const auto link = daemon::create_link(program->get(), static_cast<int>(veth->ifindex()), BPF_XDP, XDP_FLAGS_DRV_MODE);
  if (!link) return failed("veth", link.error(), advice_for(link.error(), "use a kernel whose veth devices have XDP"));
  return good("veth", "veth devices with XDP");
}

Check tc_check(const Expected<net::OwnedLink>& veth) {
  if (!veth) return failed("tc", veth.error(), "it is tried on a veth");
  const auto program = load_program(BPF_PROG_TYPE_SCHED_CLS, TC_ACT_OK);
  if (!program) return failed("tc", program.error(), advice_for(program.error()));
  if (const auto attached = net::attach_tc_ingress(veth->ifindex(), program->get()); !attached)
    return failed("tc", attached.error(),
                  advice_for(attached.error(),
                             "load the modules (modprobe -a sch_ingress cls_bpf), or use a kernel with "
                             "CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF"));
  return good("tc", "BPF programs in TC");
}

Check sock_diag_check(bool& sees_bound_tcp) {
  constexpr const char* advice = "load the modules (modprobe -a tcp_diag udp_diag)";
  const auto tcp = net::sees_bound_tcp();
  if (!tcp) return failed("sock_diag", tcp.error(), advice_for(tcp.error(), advice));
  constexpr std::uint16_t port = 1;
  if (const auto udp = net::holders(IPPROTO_UDP, std::span(&port, 1)); !udp)
    return failed("sock_diag", udp.error(), advice_for(udp.error(), advice));
  sees_bound_tcp = *tcp;
  if (*tcp) return good("sock_diag", "shows who holds a port");
  return warning("sock_diag",
                 "this kernel (before 6.8) does not show TCP sockets that are only bound: that none of them shares a "
                 "wildcard's port is bind()'s word alone");
}

Check bpf_check(const Expected<Fd>& program) {
  if (program) return good("bpf", "BPF programs can be loaded");
  return failed(
      "bpf", program.error(),
      program.error().code == ENOSYS ? "the kernel has no BPF (CONFIG_BPF_SYSCALL)" : advice_for(program.error()));
}

Check namespaces_check(const Expected<net::NetnsScope>& entered) {
  const auto tried = entered ? net::Sysfs::open() : std::unexpected(entered.error());
  if (tried) return good("namespaces", "network namespaces can be made");
  const int code = tried.error().code;
  return failed("namespaces", tried.error(),
                code == ENOSPC   ? "too many: raise the limit (sysctl -w user.max_net_namespaces=10000)"
                : code == EINVAL ? "the kernel has none (CONFIG_NET_NS)"
                : code == EROFS  ? "let it write there (/proc/sys and /sys are read-only in many containers)"
                                 : advice_for(tried.error()));
}

// As libbpf finds them, to fit the programs to this kernel's structs.
Check btf_check() {
  const auto print = ::libbpf_set_print(nullptr);
  btf* const types = ::btf__load_vmlinux_btf();
  const int code = errno;
  ::libbpf_set_print(print);
  if (types == nullptr)
    return failed("btf", {.code = code, .what = "the kernel does not describe its types"},
                  "use one with CONFIG_DEBUG_INFO_BTF");
  ::btf__free(types);
  return good("btf", "the kernel describes its types");
}

}  // namespace

void try_kernel(Needed& needed) {
  const auto program = load_program(BPF_PROG_TYPE_XDP, XDP_PASS);
  needed.checks.push_back(bpf_check(program));
  needed.interprets = program && is_interpreted(*program);
  needed.checks.push_back(btf_check());
  needed.checks.push_back(sock_diag_check(needed.sees_bound_tcp));
  auto links = net::Links::open_anonymous();
  const auto scope = links ? net::NetnsScope::enter(links->netns()) : std::unexpected(links.error());
  needed.checks.push_back(namespaces_check(scope));
  if (!scope) {
    for (const char* name : {"af_xdp", "veth", "tc"})
      needed.checks.push_back(
          failed(name, {.code = scope.error().code, .what = "not tried"}, "it needs a network namespace"));
    return;
  }
  std::ranges::move(af_xdp_checks(*links, needed), std::back_inserter(needed.checks));
  const auto veth = make_veth(*links);
  needed.checks.push_back(veth_check(veth, program));
  needed.checks.push_back(tc_check(veth));
}

}  // namespace mstack::checks
