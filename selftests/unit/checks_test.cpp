// SPDX-License-Identifier: BSD-2-Clause
#include <gtest/gtest.h>
#include <linux/capability.h>

#include <nlohmann/json.hpp>

#include "checks/machine.hpp"
#include "checks/places.hpp"
#include "cli/report.hpp"
#include "net/xdp_features.hpp"

namespace mstack::checks {
namespace {

constexpr std::uint64_t bit(unsigned capability) {
  return std::uint64_t{1} << capability;
}
constexpr std::uint64_t everything = ~std::uint64_t{0};

TEST(Checks, KernelsFromSixOneOn) {
  for (const char* release : {"6.1", "6.1.0-56-cloud-amd64", "6.12.117+deb12-cloud-amd64", "7.0-rc1", "10.0.0"})
    EXPECT_EQ(kernel_check(release).state, State::good) << release;
  for (const char* release : {"6.0.19", "5.15.0-91-generic", "2.6.78", "6", "6.", "six.one", ""}) {
    const Check check = kernel_check(release);
    EXPECT_EQ(check.state, State::failed) << release;
    EXPECT_NE(check.text.find("6.1 or later"), std::string::npos);
  }
}

TEST(Checks, EachCapabilityIsMissed) {
  EXPECT_EQ(capabilities_check(everything).state, State::good);
  EXPECT_EQ(capabilities_check(bit(CAP_SYS_ADMIN) | bit(CAP_NET_ADMIN) | bit(CAP_NET_RAW)).state, State::good);
  for (const auto& [capability, name] :
       {std::pair{CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}, {CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {CAP_NET_RAW, "CAP_NET_RAW"}}) {
    const Check check = capabilities_check(everything & ~bit(capability));
    EXPECT_EQ(check.state, State::failed);
    EXPECT_EQ(check.code, EPERM);
    EXPECT_EQ(check.text, std::string("without ") + name + ": run this as root");
  }
}

TEST(Checks, WhatIsLessIsAWarning) {
  EXPECT_EQ(accounting_check(everything, true).state, State::good);
  EXPECT_EQ(accounting_check(bit(CAP_SETUID), false).state, State::good);
  EXPECT_EQ(accounting_check(bit(CAP_SETUID), true).state, State::warning);
  EXPECT_EQ(accounting_check(everything & ~bit(CAP_SETUID), false).state, State::warning);
  EXPECT_EQ(memlock_check(0, false).state, State::good);
  EXPECT_EQ(memlock_check(bit(CAP_IPC_LOCK), true).state, State::good);
  EXPECT_EQ(memlock_check(0, true).state, State::warning);
  EXPECT_EQ(jit_check(false, "1", "0").state, State::good);
  EXPECT_EQ(jit_check(false, "", "").state, State::good);
  EXPECT_EQ(jit_check(true, "", "").state, State::warning);
  EXPECT_EQ(jit_check(false, "0", "0").state, State::warning);
  EXPECT_EQ(jit_check(false, "1", "2").state, State::warning);
  EXPECT_EQ(sysctls_check({}, "0").state, State::good);
  EXPECT_EQ(sysctls_check({}, "2").state, State::warning);
  EXPECT_EQ(sysctls_check({}, "1").state, State::warning);
  EXPECT_EQ(sysctls_check(failure(EROFS, "cannot write"), "1").state, State::failed);
  EXPECT_TRUE(sysctls_check(failure(EACCES, "cannot write"), "0").text.starts_with("cannot write: run this as root"));
  EXPECT_EQ(sysctls_check(failure(ENOENT, "cannot write"), "0").text, "cannot write: mount /proc");
}

TEST(Checks, InterfacesByWhatTheirDriversCanDo) {
  net::Link nic;
  nic.name = "eth0";
  nic.up = nic.ethernet = true;
  constexpr std::uint64_t native = net::xdp_basic | net::xdp_redirect;
  EXPECT_EQ(judge_interface(nic, native, {}), good("interface eth0", "native XDP"));
  EXPECT_EQ(judge_interface(nic, native | net::xdp_zero_copy, {}),
            good("interface eth0", "native XDP, AF_XDP without copying"));
  EXPECT_EQ(judge_interface(nic, std::nullopt, {}).state, State::good);
  EXPECT_EQ(judge_interface(nic, 0, {}).state, State::warning);
  EXPECT_EQ(judge_interface(nic, failure(EIO, "no answer"), {}), warning("interface eth0", "no answer"));
  EXPECT_EQ(
      judge_interface(nic, net::xdp_basic, {}),
      warning("interface eth0",
              "its driver's XDP redirects nothing: it works in generic mode, slower; a NIC whose driver has native "
              "XDP is faster"));

  net::Link down = nic;
  down.up = false;
  EXPECT_EQ(judge_interface(down, native, {}).text, "native XDP; it is down");
  net::Link tunnel = nic;
  tunnel.ethernet = false;
  EXPECT_EQ(judge_interface(tunnel, native, {}).code, EOPNOTSUPP);
  net::Link taken = nic;
  taken.xdp_program = 7;
  taken.xdp = net::XdpAttached::native;
  EXPECT_EQ(judge_interface(taken, native, {}).code, EBUSY);
  EXPECT_EQ(judge_interface(taken, native, {.multistack = true}).text, "MultiStack is attached (native XDP)");
  EXPECT_EQ(judge_interface(taken, native, {.chain = true, .multistack = true}).text,
            "MultiStack is attached (native XDP, in a chain)");
  EXPECT_EQ(judge_interface(taken, native, {.chain = true}),
            good("interface eth0", "a chain of other XDP programs, which MultiStack joins (native XDP)"));
  taken.xdp = net::XdpAttached::generic;
  EXPECT_EQ(judge_interface(taken, native, {.multistack = true}),
            warning("interface eth0", "MultiStack is attached (generic XDP): slower than native"));
  EXPECT_EQ(judge_interface(taken, native, {.chain = true}).state, State::warning);
  net::Link virtual_router = nic;
  virtual_router.slave_kind = "vrf";
  EXPECT_EQ(judge_interface(virtual_router, native, {}).code, EOPNOTSUPP);
  net::Link host_end = nic;
  host_end.name = "ms1q0";
  EXPECT_EQ(judge_interface(host_end, native, {}).code, EINVAL);
  // What it has does not make it one.
  EXPECT_EQ(judge_interface(host_end, native, {.multistack = true}).state, State::failed);
}

TEST(Checks, TagsThatXdpDoesNotSee) {
  EXPECT_EQ(judge_stripping("eth0", {}).state, State::good);
  EXPECT_EQ(judge_stripping("eth0", {.features = {"rx-vlan-hw-parse"}, .fixed = true}),
            warning("vlans of eth0",
                    "eth0 may take tags off before XDP sees the frames, which then pass for untagged ones: that cannot "
                    "be turned off; use another interface"));
  EXPECT_EQ(judge_stripping("eth0", {.features = {"rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"}}),
            warning("vlans of eth0",
                    "eth0 may take tags off before XDP sees the frames, which then pass for untagged ones: "
                    "ethtool -K eth0 rx-vlan-hw-parse off rx-vlan-stag-hw-parse off"));
}

TEST(Checks, TheFirstThatFailedIsTheReason) {
  EXPECT_TRUE(require({good("a", "fine"), warning("b", "slow")}));
  const auto refused = require({good("a", "fine"), failed("b", {.code = ENODEV, .what = "not there"}, "make one"),
                                failed("c", {.code = EPERM, .what = "not allowed"})});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ENODEV);
  EXPECT_EQ(refused.error().what, "b: not there: make one (`mstack doctor` shows all that is needed)");
}

TEST(Checks, ReportsForPeopleAndPrograms) {
  cli::DoctorReport report = {.checks = {good("kernel", "Linux 6.1.0"), warning("jit", "slow")}};
  EXPECT_TRUE(report.good());
  EXPECT_EQ(report.text(), "ok       kernel  Linux 6.1.0\nwarning  jit     slow\n");
  report.checks.push_back(failed("af_xdp", {.code = EPERM, .what = "no"}));
  EXPECT_FALSE(report.good());
  EXPECT_EQ(report.json().dump(),
            R"({"good":false,"checks":[{"name":"kernel","state":"ok","text":"Linux 6.1.0"},)"
            R"({"name":"jit","state":"warning","text":"slow"},{"name":"af_xdp","state":"failed","text":"no"}]})");
}

}  // namespace
}  // namespace mstack::checks
