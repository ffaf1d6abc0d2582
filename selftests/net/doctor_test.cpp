// SPDX-License-Identifier: BSD-2-Clause
//
// `mstack doctor`, where one thing after another is taken away; and mstackd, which refuses with the same words.
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

using Json = nlohmann::json;
using Loss = std::function<void()>;

constexpr Exit done{.code = 0, .signal = 0}, failed{.code = 1, .signal = 0};

Loss without(std::vector<unsigned> capabilities) {
  return [capabilities = std::move(capabilities)] {
    __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    std::array<__user_cap_data_struct, 2> data = {};
    check(static_cast<int>(::syscall(SYS_capget, &header, data.data())), "capget");
    for (const unsigned capability : capabilities) {
      // From the bounding set too, or exec() by root gives it back.
      check(::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0), "drop a capability");
      const std::uint32_t rest = ~(std::uint32_t{1} << (capability % 32));
      auto& half = data.at(capability / 32);
      half.effective &= rest;
      half.permitted &= rest;
      half.inheritable &= rest;
    }
    check(static_cast<int>(::syscall(SYS_capset, &header, data.data())), "capset");
  };
}

// As on a kernel that lacks something: the system call fails if that argument has that value.
Loss refusing(long call, unsigned argument, std::uint32_t value, int error) {
  return [=] {
    constexpr std::uint32_t number = offsetof(seccomp_data, nr), arguments = offsetof(seccomp_data, args);
    std::array<sock_filter, 6> filter = {{
        {.code = BPF_LD | BPF_W | BPF_ABS, .jt = 0, .jf = 0, .k = number},
        {.code = BPF_JMP | BPF_JEQ | BPF_K, .jt = 0, .jf = 3, .k = static_cast<std::uint32_t>(call)},
        {.code = BPF_LD | BPF_W | BPF_ABS, .jt = 0, .jf = 0, .k = arguments + 8 * argument},
        {.code = BPF_JMP | BPF_JEQ | BPF_K, .jt = 0, .jf = 1, .k = value},
        {.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error)},
        {.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = SECCOMP_RET_ALLOW},
    }};
    const sock_fprog program = {.len = static_cast<unsigned short>(filter.size()), .filter = filter.data()};
    check(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0), "seccomp");
  };
}

// Mounts as they are elsewhere, for the process alone.
void own_mounts() {
  check(::unshare(CLONE_NEWNS), "unshare mounts");
  check(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "make mounts private");
}
std::vector<std::string> mounts_of(const std::string& type) {
  std::vector<std::string> places;
  std::ifstream mounts("/proc/self/mounts");
  for (std::string device, place, kind, rest; mounts >> device >> place >> kind && std::getline(mounts, rest);)
    if (kind == type) places.push_back(place);
  return places;
}
void cover(const char* directory) {
  check(::mount("none", directory, "tmpfs", 0, nullptr), std::string("cover ") + directory);
}
// The JIT's settings, which only the machine's own namespace shows.
Loss with_jit(const char* enabled, const char* harden) {
  return [=] {
    own_mounts();
    cover("/proc/sys/net/core");
    std::ofstream("/proc/sys/net/core/bpf_jit_enable") << enabled << '\n';
    std::ofstream("/proc/sys/net/core/bpf_jit_harden") << harden << '\n';
  };
}

class Doctor : public NetTest {
 protected:
  void SetUp() override {
    NetTest::SetUp();
    (void)world().command({"--version"});  // leaves its copy there
    mstack_ = world().directory() + "/mstack";
    mstackd_ = world().directory() + "/mstackd";  // another copy
    std::filesystem::copy_file(std::filesystem::read_symlink("/proc/" + std::to_string(daemon().pid()) + "/exe"),
                               mstackd_);
  }

  // A program of ours in the host namespace, after the loss.
  Completed run_with(const Loss& loss, std::vector<std::string> command) const {
    Process process = Process::function(
        [&](Channel&) {
          loss();
          std::vector<char*> arguments;
          for (std::string& word : command) arguments.push_back(word.data());
          arguments.push_back(nullptr);
          ::execv(arguments[0], arguments.data());
          return 98;
        },
        {.who = {.netns = &world().host()}, .environment = {}, .keep = {}});
    const auto exit = process.wait();
    return {.exit = exit.value_or(Exit{}), .out = process.out(), .err = process.err()};
  }

  struct Report {
    Exit exit;
    std::map<std::string, std::pair<std::string, std::string>> lines;  // name > state and text
    [[nodiscard]] std::string state(const std::string& name) const {
      const auto found = lines.find(name);
      return found == lines.end() ? "not there" : found->second.first;
    }
    [[nodiscard]] std::string text(const std::string& name) const {
      const auto found = lines.find(name);
      return found == lines.end() ? "" : found->second.second;
    }
  };
  Report examine(const Loss& loss, const std::vector<std::string>& arguments = {}) const {
    std::vector<std::string> command{mstack_, "--pin-dir", world().pin_dir(), "doctor", "--json"};
    if (std::ranges::find(arguments, "--cgroup") == arguments.end())
      command.insert(command.end(), {"--cgroup", world().cgroup()});
    command.insert(command.end(), arguments.begin(), arguments.end());
    return read(run_with(loss, command));
  }
  static Report read(const Completed& result) {
    EXPECT_EQ(result.err, "");
    Report report = {.exit = result.exit, .lines = {}};
    const Json json = Json::parse(result.out);
    EXPECT_EQ(json["good"], result.exit == done) << result.out;
    for (const Json& line : json["checks"]) report.lines[line["name"]] = {line["state"], line["text"]};
    return report;
  }
  // mstackd after the same loss refuses to start, saying what the doctor says of `name`.
  void expect_mstackd_says_so(const Loss& loss, const Report& report, const std::string& name) const {
    const std::string other = world().directory() + "/other";
    const Completed result =
        run_with(loss, {mstackd_, "--run-dir", other, "--pin-dir", world().directory() + "/bpf/other", "--cgroup",
                        world().cgroup(), "--uplink", uplink});
    EXPECT_EQ(result.exit, failed);
    EXPECT_NE(result.err.find(name + ": " + report.text(name)), std::string::npos)
        << result.err << "does not say: " << report.text(name);
  }

  // That interface, on which the doctor has failed, is refused by mstackd in the same words.
  void expect_no_uplink(const Report& report, const std::string& interface) const {
    SCOPED_TRACE(interface);
    const std::string said = report.text("interface " + interface);
    EXPECT_EQ(report.state("interface " + interface), "failed") << said;
    EXPECT_NE(said.find(interface), std::string::npos) << said;
    const Completed attached = world().command({"attach", interface});
    EXPECT_EQ(attached.exit, failed);
    EXPECT_NE(attached.err.find(said), std::string::npos) << attached.err << "does not say: " << said;
    expect_refused_by_another(interface, said);
  }
  // By an mstackd with directories of its own.
  void expect_refused_by_another(const std::string& interface, const std::string& said) const {
    const Completed started =
        run_with(nothing, {mstackd_, "--run-dir", world().directory() + "/other", "--pin-dir",
                           world().directory() + "/bpf/other", "--cgroup", world().cgroup(), "--uplink", interface});
    EXPECT_EQ(started.exit, failed);
    EXPECT_NE(started.err.find(said), std::string::npos) << started.err << "does not say: " << said;
  }

  // The doctor says that `name` is missing, and what to do; mstackd does not start, and says the same.
  void expect_missing(const Loss& loss, const std::string& name, const std::string& advice) const {
    SCOPED_TRACE(name);
    const Report report = examine(loss);
    EXPECT_EQ(report.exit, failed);
    EXPECT_EQ(report.state(name), "failed");
    EXPECT_NE(report.text(name).find(advice), std::string::npos) << report.text(name);
    expect_mstackd_says_so(loss, report, name);
  }

  std::string mstack_, mstackd_;
  const Loss nothing = [] {};
};

TEST_F(Doctor, AllIsWellHere) {
  const Report report = examine(nothing, {uplink});
  EXPECT_EQ(report.exit, done);
  for (const char* name : {"kernel", "capabilities", "bpf", "sock_diag", "namespaces", "af_xdp", "veth", "tc", "cgroup",
                           "bpffs", "accounting", "memlock", "jit", "btf", "sysctls", "interface up0"}) {
    EXPECT_NE(report.state(name), "failed") << name << ": " << report.text(name);
    EXPECT_NE(report.text(name), "") << name;
  }
  EXPECT_NE(report.text("interface up0").find("MultiStack is attached"), std::string::npos);
}

TEST_F(Doctor, PeopleGetALineForEach) {
  const Completed result = world().command({"doctor", "--cgroup", world().cgroup(), "no-such-interface", uplink});
  EXPECT_EQ(result.exit, failed);
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(std::ranges::count(result.out, '\n'), 18) << result.out;
  EXPECT_NE(result.out.find("interface no-such-interface  there is no interface no-such-interface"), std::string::npos)
      << result.out;
}

TEST_F(Doctor, AnOldKernel) {
  const Loss loss = [] { check(::personality(UNAME26), "personality"); };
  const Report report = examine(loss);
  EXPECT_EQ(report.exit, failed);
  EXPECT_EQ(report.state("kernel"), "failed");
  expect_mstackd_says_so(loss, report, "kernel");
}

TEST_F(Doctor, MissingCapabilities) {
  struct Case {
    std::vector<unsigned> capabilities;
    std::vector<std::string> fail;
  };
  const Case cases[] = {
      {{CAP_NET_RAW}, {"capabilities", "af_xdp"}},
      {{CAP_NET_ADMIN}, {"capabilities", "veth", "tc"}},
      {{CAP_SYS_ADMIN, CAP_BPF}, {"capabilities", "bpf", "namespaces", "af_xdp", "veth", "tc"}},
  };
  for (const Case& missing : cases) {
    const Loss loss = without(missing.capabilities);
    const Report report = examine(loss);
    EXPECT_EQ(report.exit, failed);
    for (const std::string& name : missing.fail) EXPECT_EQ(report.state(name), "failed") << name;
    expect_mstackd_says_so(loss, report, "capabilities");
  }
}

TEST_F(Doctor, AnyUserMayAsk) {
  const Loss loss = [] { assume({.netns = nullptr, .uid = alice}); };
  const Report report = examine(loss, {uplink});
  EXPECT_EQ(report.exit, failed);
  EXPECT_EQ(report.state("capabilities"), "failed");
  EXPECT_EQ(report.state("kernel"), "ok");
  EXPECT_EQ(report.text("interface up0"), "up0 has an XDP program; whose it is, only root is told: run this as root");
  expect_mstackd_says_so(loss, report, "capabilities");
}

TEST_F(Doctor, WhatIsLessIsAWarningAndNoMore) {
  EXPECT_EQ(examine(without({CAP_SETUID})).state("accounting"), "warning");
  const Report limited = examine([] {
    const rlimit some = {.rlim_cur = 1 << 20, .rlim_max = 1 << 20};
    check(::setrlimit(RLIMIT_MEMLOCK, &some), "setrlimit");
    without({CAP_SYS_RESOURCE, CAP_IPC_LOCK})();
  });
  EXPECT_EQ(limited.state("memlock"), "warning");
  EXPECT_EQ(limited.exit, done);
  World::in(world().host(), "sysctl -qw net.ipv4.conf.all.rp_filter=1");
  const Report strict = examine(nothing);
  EXPECT_EQ(strict.state("sysctls"), "warning");
  EXPECT_EQ(strict.exit, done);
}

TEST_F(Doctor, AKernelThatLacksSomething) {
  expect_missing(refusing(SYS_socket, 0, AF_XDP, EAFNOSUPPORT), "af_xdp", "CONFIG_XDP_SOCKETS");
  expect_missing(refusing(SYS_bpf, 0, BPF_PROG_LOAD, ENOSYS), "bpf", "CONFIG_BPF_SYSCALL");
  expect_missing(refusing(SYS_bpf, 0, BPF_PROG_QUERY, EINVAL), "cgroup", "CONFIG_CGROUP_BPF");
  expect_missing(refusing(SYS_socket, 2, NETLINK_SOCK_DIAG, EPROTONOSUPPORT), "sock_diag", "modprobe -a tcp_diag");
  expect_missing(refusing(SYS_unshare, 0, CLONE_NEWNET, ENOSPC), "namespaces", "user.max_net_namespaces");
  expect_missing(refusing(SYS_unshare, 0, CLONE_NEWNET, EINVAL), "namespaces", "CONFIG_NET_NS");
  // It takes no thread.
  constexpr std::uint32_t of_a_thread = 88;  // how large glibc's struct clone_args is
  EXPECT_EQ(examine(refusing(SYS_clone3, 1, of_a_thread, EAGAIN)).state("namespaces"), "ok");
}

TEST_F(Doctor, SysctlsThatCannotBeWritten) {
  const Loss loss = [] {
    own_mounts();
    check(::mount("/proc/sys", "/proc/sys", nullptr, MS_BIND, nullptr), "bind /proc/sys");
    check(::mount(nullptr, "/proc/sys", nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr), "make it read-only");
  };
  expect_missing(loss, "sysctls", "/proc/sys is read-only in many containers");
}

TEST_F(Doctor, TooLittleLockedMemoryForOneSocket) {
  const Loss loss = [] {
    const rlimit little = {.rlim_cur = 1 << 16, .rlim_max = 1 << 16};
    check(::setrlimit(RLIMIT_MEMLOCK, &little), "setrlimit");
    without({CAP_SYS_RESOURCE, CAP_IPC_LOCK})();
  };
  expect_missing(loss, "af_xdp", "LimitMEMLOCK=infinity");
  // One that may be lifted is none.
  const Report lifted = examine([] {
    rlimit little = {};
    check(::getrlimit(RLIMIT_MEMLOCK, &little), "getrlimit");
    little.rlim_cur = 1 << 16;
    check(::setrlimit(RLIMIT_MEMLOCK, &little), "setrlimit");
    without({CAP_SYS_RESOURCE, CAP_IPC_LOCK})();
  });
  EXPECT_EQ(lifted.exit, done);
  EXPECT_EQ(lifted.state("af_xdp"), "ok") << lifted.text("af_xdp");
}

TEST_F(Doctor, ProgramsThatAreNotCompiled) {
  EXPECT_EQ(examine(with_jit("1", "1")).text("jit"), "BPF programs are compiled");
  for (const auto& [loss, advice] : {std::pair{with_jit("0", "0"), "net.core.bpf_jit_enable=1"},
                                     std::pair{with_jit("1", "2"), "net.core.bpf_jit_harden=1"}}) {
    const Report report = examine(loss);
    EXPECT_EQ(report.exit, done);
    EXPECT_EQ(report.state("jit"), "warning");
    EXPECT_NE(report.text("jit").find(advice), std::string::npos) << report.text("jit");
  }
}

TEST_F(Doctor, AKernelThatDoesNotDescribeItsTypes) {
  expect_missing(
      [] {
        own_mounts();
        cover("/sys/kernel/btf");
      },
      "btf", "CONFIG_DEBUG_INFO_BTF");
}

TEST_F(Doctor, NoCgroups) {
  const Loss loss = [] {
    own_mounts();
    for (const std::string& place : mounts_of("cgroup2"))
      check(::umount2(place.c_str(), MNT_DETACH), "unmount " + place);
  };
  const Report report = read(run_with(loss, {mstack_, "--pin-dir", world().pin_dir(), "doctor", "--json"}));
  EXPECT_EQ(report.exit, failed);
  EXPECT_NE(report.text("cgroup").find("mount -t cgroup2 none DIR"), std::string::npos) << report.text("cgroup");
  const Completed refused =
      run_with(loss, {mstackd_, "--run-dir", world().directory() + "/other", "--pin-dir", world().pin_dir()});
  EXPECT_EQ(refused.exit, failed);
  EXPECT_NE(refused.err.find("cgroup: " + report.text("cgroup")), std::string::npos) << refused.err;
}

TEST_F(Doctor, NoBpfFilesystem) {
  const std::vector<std::string> doctor{mstack_, "doctor", "--json", "--cgroup", world().cgroup()};
  const Report to_be_mounted = read(run_with(
      [] {
        own_mounts();
        cover("/sys/fs/bpf");
      },
      doctor));
  EXPECT_EQ(to_be_mounted.exit, done);
  EXPECT_EQ(to_be_mounted.text("bpffs"), "/sys/fs/bpf/mstack: mstackd mounts the bpf filesystem");

  // Nowhere to mount it; the cgroups stay where they are.
  const Loss loss = [cgroup = world().cgroup()] {
    own_mounts();
    const Fd kept{check(::open(cgroup.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC), "open " + cgroup)};
    cover("/sys/fs");
    std::filesystem::create_directories(cgroup);
    const std::string source = "/proc/self/fd/" + std::to_string(kept.get());
    check(::mount(source.c_str(), cgroup.c_str(), nullptr, MS_BIND, nullptr), "bind " + cgroup);
  };
  const Report nowhere = read(run_with(loss, doctor));
  EXPECT_EQ(nowhere.exit, failed);
  EXPECT_NE(nowhere.text("bpffs").find("mount -t bpf bpf DIR"), std::string::npos) << nowhere.text("bpffs");
  const Completed refused =
      run_with(loss, {mstackd_, "--run-dir", world().directory() + "/other", "--cgroup", world().cgroup()});
  EXPECT_EQ(refused.exit, failed);
  EXPECT_NE(refused.err.find("bpffs: " + nowhere.text("bpffs")), std::string::npos) << refused.err;
}

TEST_F(Doctor, PlacesThatAreNone) {
  EXPECT_EQ(examine(nothing, {"--cgroup", world().directory()}).state("cgroup"), "failed");
  EXPECT_EQ(examine(nothing, {"--cgroup", "/no/such/directory"}).state("cgroup"), "failed");
  const Completed elsewhere = world().command({"doctor", "--cgroup", world().cgroup(), "--pin-dir", "/tmp"});
  EXPECT_EQ(elsewhere.exit, failed);
  EXPECT_NE(elsewhere.out.find("is not in a bpf filesystem"), std::string::npos) << elsewhere.out;
}

TEST_F(Doctor, APinDirectoryThatIsOpenToOthers) {
  const std::string open = world().directory() + "/bpf/open";
  ASSERT_EQ(::mkdir(open.c_str(), 0755), 0);
  const Report report =
      read(run_with(nothing, {mstack_, "--pin-dir", open, "doctor", "--json", "--cgroup", world().cgroup()}));
  EXPECT_EQ(report.exit, failed);
  EXPECT_NE(report.text("bpffs").find("closed to everybody else"), std::string::npos) << report.text("bpffs");
  const Completed refused = run_with(nothing, {mstackd_, "--run-dir", world().directory() + "/other", "--pin-dir", open,
                                               "--cgroup", world().cgroup(), "--uplink", uplink});
  EXPECT_EQ(refused.exit, failed);
  EXPECT_NE(refused.err.find("bpffs: " + report.text("bpffs")), std::string::npos) << refused.err;
  ::rmdir(open.c_str());
}

TEST_F(Doctor, AnInterfaceOfAnotherMultiStack) {
  const Report report = read(run_with(nothing, {mstack_, "--pin-dir", world().directory() + "/bpf/other", "doctor",
                                                "--json", "--cgroup", world().cgroup(), uplink}));
  EXPECT_EQ(report.exit, failed);
  const std::string said = report.text("interface up0");
  EXPECT_NE(said.find("another MultiStack's: uplink_rx"), std::string::npos) << said;
  expect_refused_by_another(uplink, said);
}

// Who has the link takes it off, and nobody else.
TEST_F(Doctor, AnInterfaceThatIsHeldByALink) {
  World::in(world().host(), "ip link add other0 type veth peer name other1");
  const Fd foreign = xdp_program("foreigner", XDP_PASS);
  const Fd link = world().host().run([&] {
    return Fd{::bpf_link_create(foreign.get(), static_cast<int>(::if_nametoindex("other0")), BPF_XDP, nullptr)};
  });
  ASSERT_TRUE(link);
  const Report report = examine(nothing, {"other0"});
  expect_no_uplink(report, "other0");
  EXPECT_NE(report.text("interface other0").find("bpftool link show"), std::string::npos);
  World::in(world().host(), "ip link del other0");
}

TEST_F(Doctor, InterfacesThatCannotBeUplinks) {
  World::in(world().host(), "ip link add other0 type veth peer name other1");
  const Fd foreign = xdp_program("foreigner", XDP_PASS);
  attach_xdp(world().host(), "other0", foreign);
  const Report report = examine(nothing, {"lo", "none0", "other0", "other1"});
  EXPECT_EQ(report.exit, failed);
  for (const char* interface : {"lo", "none0", "other0"}) expect_no_uplink(report, interface);
  EXPECT_NE(report.text("interface other0").find("foreigner"), std::string::npos);
  EXPECT_EQ(report.state("interface other1"), "ok");
  EXPECT_NE(report.text("interface other1").find("it is down"), std::string::npos);
  World::in(world().host(), "ip link del other0");
}

TEST_F(Doctor, InterfacesThatMstackdMade) {
  const Stack stack(world());
  const std::string host_end =
      run({"sh", "-c", "ip -o link | grep -o 'ms[0-9]*q0'"}, {.who = {.netns = &world().host()}}).out;
  ASSERT_TRUE(host_end.ends_with('\n'));
  const std::string name = host_end.substr(0, host_end.find('\n'));
  expect_no_uplink(examine(nothing, {name}), name);
}

TEST_F(Doctor, InterfacesInAVrf) {
  const Completed made =
      run({"ip", "link", "add", "vrf7", "type", "vrf", "table", "77"}, {.who = {.netns = &world().host()}});
  if (made.exit != done) GTEST_SKIP() << "this kernel has no VRF: " << made.err;
  World::in(world().host(), "ip link add other0 type veth peer name other1");
  World::in(world().host(), "ip link set other0 master vrf7");
  expect_no_uplink(examine(nothing, {"other0"}), "other0");
  World::in(world().host(), "ip link set other0 nomaster");
  EXPECT_EQ(examine(nothing, {"other0"}).state("interface other0"), "ok");
  World::in(world().host(), "ip link del other0");
  World::in(world().host(), "ip link del vrf7");
}

}  // namespace
}  // namespace mstack::test
