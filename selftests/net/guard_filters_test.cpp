// SPDX-License-Identifier: BSD-2-Clause
//
// The guard's TC filters among those of others, who may come before them, or take them away.
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "net/guard_fixture.hpp"

namespace mstack::test {
namespace {

class GuardFilters : public GuardTest {
 protected:
  void tc(const std::string& command) { World::in(world().host(), "tc " + command); }
  // The arguments of a filter that does nothing.
  std::string nothing() const {
    const std::string file = world().directory() + "/nothing";
    std::ofstream(file) << "1,6 0 0 0\n";
    return " protocol all bpf bytecode-file " + file;
  }
  std::size_t times_put_back() { return daemon().times_told("it is put back"); }
};

// By itself, or with the qdisc: mstackd puts it back, each time.
TEST_F(GuardFilters, AFilterThatIsRemovedIsPutBack) {
  begin();
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, claimed4);
  std::size_t removed = 0;
  for (const std::string& device : {uplink, std::string("lo")})
    for (const std::string& what :
         {"filter del dev " + device + " egress", "filter del dev " + device + " egress pref 1",
          "qdisc del dev " + device + " clsact"}) {
      tc(what);
      ++removed;
      EXPECT_TRUE(eventually([&] { return egress(device).find("mstack") != std::string::npos; })) << what;
      EXPECT_TRUE(eventually([&] { return times_put_back() == removed; })) << what;
    }
  EXPECT_TRUE(is_guarded());
  // That of another is nothing to it.
  tc("filter add dev up0 egress pref 9" + nothing());
  tc("filter del dev up0 egress pref 9");
  const auto capture = world().capture();
  PacketSocket(world().host(), uplink).send(frame(World::udp(claimed4, wire_4, "attack")));
  settle(*capture);
  EXPECT_EQ(arrived(*capture, "attack"), 0U);
  const Fd near = bound_as(bob, IPPROTO_UDP, {host4, 9000});
  send_to(near.get(), claimed4, "to the stack");
  EXPECT_TRUE(stack.receive(udp_payload("to the stack")));
  EXPECT_EQ(times_put_back(), removed) << daemon().log();
}

// By another in its very place, which is no removal to the kernel.
TEST_F(GuardFilters, AFilterThatIsReplacedIsPutBack) {
  begin();
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, claimed4);
  std::size_t replaced = 0;
  for (const std::string& device : {uplink, std::string("lo")}) {
    tc("filter replace dev " + device + " egress pref 1 handle 0x4d53" + nothing());
    ++replaced;
    EXPECT_TRUE(eventually([&] { return times_put_back() == replaced; })) << egress(device);
    EXPECT_TRUE(eventually([&] { return egress(device).find("mstack") != std::string::npos; })) << egress(device);
    tc("filter del dev " + device + " egress pref 1");
  }
  EXPECT_TRUE(is_guarded());
  const auto capture = world().capture();
  PacketSocket(world().host(), uplink).send(frame(World::udp(claimed4, wire_4, "attack")));
  settle(*capture);
  EXPECT_EQ(arrived(*capture, "attack"), 0U);
  EXPECT_EQ(times_put_back(), replaced) << daemon().log();
  // Which of them brought the qdisc is forgotten.
  for (const std::string& device : {uplink, std::string("lo")}) tc("qdisc del dev " + device + " clsact");
  EXPECT_TRUE(eventually([&] { return times_put_back() == replaced + 2; }));
}

// Without a descriptor to look by, mstackd does not know; when it has one again there are no more news.
TEST_F(GuardFilters, AFilterThatCannotBeLookedAtIsLookedAtLater) {
  begin();
  rlimit before{};
  check(::prlimit(daemon().pid(), RLIMIT_NOFILE, nullptr, &before), "prlimit");
  const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
  check(::prlimit(daemon().pid(), RLIMIT_NOFILE, &none, nullptr), "prlimit");
  std::size_t removed = 0;
  for (const std::string& device : {uplink, std::string("lo")}) {
    tc("qdisc del dev " + device + " clsact");
    EXPECT_TRUE(eventually([&] { return daemon().times_told(device + ": cannot open a netlink socket") > 0; }));
    ++removed;
  }
  check(::prlimit(daemon().pid(), RLIMIT_NOFILE, &before, nullptr), "prlimit");
  EXPECT_TRUE(eventually([&] { return times_put_back() == removed; })) << daemon().log();
  for (const std::string& device : {uplink, std::string("lo")})
    EXPECT_TRUE(eventually([&] { return egress(device).find("mstack") != std::string::npos; }));
  EXPECT_TRUE(is_guarded());
}

TEST_F(GuardFilters, AFilterThatCannotBePutBackIsMissed) {
  begin();
  ::kill(daemon().pid(), SIGSTOP);
  for (const std::string& device : {uplink, std::string("lo")}) {
    World::in(world().host(), "tc qdisc del dev " + device + " clsact");
    World::in(world().host(), "tc qdisc add dev " + device + " ingress");
  }
  ::kill(daemon().pid(), SIGCONT);
  EXPECT_TRUE(eventually([&] { return !is_guarded(); }));
  EXPECT_NE(daemon().log().find("up0 is not guarded: an ingress qdisc"), std::string::npos) << daemon().log();
  EXPECT_TRUE(eventually([&] { return daemon().log().find("sockets of this host do not") != std::string::npos; }));
  for (const std::string& device : {uplink, std::string("lo")})
    World::in(world().host(), "tc qdisc del dev " + device + " ingress");
}

// A tcx program comes before every filter, and what it returns other than TCX_NEXT ends the way.
TEST_F(GuardFilters, ProgramsBeforeAllFiltersAreTold) {
  constexpr auto tcx_egress = static_cast<bpf_attach_type>(47);  // Linux 6.6
  const std::array<bpf_insn, 2> code{
      bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = -1},
      bpf_insn{.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  const Fd program{check(::bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "theirs", "GPL", code.data(), code.size(), nullptr),
                         "load a TC program")};
  std::vector<Fd> links;
  for (const std::string& device : {uplink, std::string("lo")}) {
    bpf_attr attributes{};
    attributes.link_create.prog_fd = static_cast<__u32>(program.get());
    attributes.link_create.target_ifindex = world().index_of(device);
    attributes.link_create.attach_type = tcx_egress;
    int refusal = 0;
    links.emplace_back(world().host().run([&] {
      const auto link = static_cast<int>(::syscall(SYS_bpf, BPF_LINK_CREATE, &attributes, sizeof(attributes)));
      refusal = link < 0 ? errno : 0;
      return link;
    }));
    if (refusal == EINVAL) {
      begin();
      GTEST_SKIP() << "this kernel has no tcx programs";
    }
    ASSERT_EQ(refusal, 0) << std::strerror(refusal);
  }
  begin();
  for (const std::string device : {"up0", "lo"})
    EXPECT_NE(daemon().log().find("on the egress of " + device + " come before MultiStack's"), std::string::npos)
        << daemon().log();
  links.clear();
  restart();
  EXPECT_EQ(daemon().log().find("come before"), std::string::npos) << daemon().log();
}

}  // namespace
}  // namespace mstack::test
