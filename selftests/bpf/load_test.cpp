// SPDX-License-Identifier: BSD-2-Clause
// That the verifier takes every program, and what they cost it: a surprise here is seen in the log of the tests.
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include <iostream>
#include <string>

#include "netns.hpp"
#include "programs.hpp"

namespace bpf_test {
namespace {

struct Expected {
  const char* name;
  std::uint32_t type;
};

class Load : public testing::TestWithParam<Expected> {};

TEST_P(Load, TheVerifierTakes) {
  const Netns netns;
  const Programs programs(netns.cookie());
  bpf_prog_info info{};
  __u32 size = sizeof info;
  ASSERT_EQ(bpf_obj_get_info_by_fd(programs.program(GetParam().name), &info, &size), 0);
  EXPECT_EQ(info.type, GetParam().type);
  EXPECT_STREQ(info.name, std::string(GetParam().name).substr(0, BPF_OBJ_NAME_LEN - 1).c_str());
  std::cout << GetParam().name << ": " << info.xlated_prog_len / sizeof(bpf_insn) << " instructions, "
            << info.jited_prog_len << " bytes of machine code, " << info.verified_insns << " verified\n";
  RecordProperty("instructions", static_cast<int>(info.xlated_prog_len / sizeof(bpf_insn)));
  RecordProperty("verified", static_cast<int>(info.verified_insns));
}

INSTANTIATE_TEST_SUITE_P(
    Every, Load,
    testing::Values(
        Expected{"uplink_rx", BPF_PROG_TYPE_XDP}, Expected{"uplink_tx", BPF_PROG_TYPE_SCHED_CLS},
        Expected{"lo_tx", BPF_PROG_TYPE_SCHED_CLS}, Expected{"vport_rx", BPF_PROG_TYPE_XDP},
        Expected{"vport_tx", BPF_PROG_TYPE_XDP}, Expected{"vport_alive", BPF_PROG_TYPE_XDP},
        Expected{"vport_tx_slow", BPF_PROG_TYPE_SCHED_CLS}, Expected{"sock_bind4", BPF_PROG_TYPE_CGROUP_SOCK},
        Expected{"sock_bind6", BPF_PROG_TYPE_CGROUP_SOCK}, Expected{"sock_release", BPF_PROG_TYPE_CGROUP_SOCK},
        Expected{"sock_port4", BPF_PROG_TYPE_CGROUP_SOCK_ADDR}, Expected{"sock_port6", BPF_PROG_TYPE_CGROUP_SOCK_ADDR},
        Expected{"sock_connect4", BPF_PROG_TYPE_CGROUP_SOCK_ADDR},
        Expected{"sock_connect6", BPF_PROG_TYPE_CGROUP_SOCK_ADDR},
        Expected{"sock_option", BPF_PROG_TYPE_CGROUP_SOCKOPT}),
    [](const auto& tested) { return std::string(tested.param.name); });

// The maps are pinned with their BTF, so that bpftool prints field names.
TEST(LoadMaps, CarryTypes) {
  const Netns netns;
  const Programs programs(netns.cookie());
  for (const char* name : {"claims", "port_gate", "slot_claims", "sockets", "host_ends", "vports", "uplink_info",
                           "vlans", "vlan_devices", "local_addrs", "counters", "vport_stats", "meta"}) {
    bpf_map_info info{};
    __u32 size = sizeof info;
    ASSERT_EQ(bpf_obj_get_info_by_fd(programs.map(name), &info, &size), 0) << name;
    EXPECT_NE(info.btf_id, 0U) << name;
    EXPECT_NE(info.btf_key_type_id, 0U) << name;
    EXPECT_NE(info.btf_value_type_id, 0U) << name;
  }
}

}  // namespace
}  // namespace bpf_test
