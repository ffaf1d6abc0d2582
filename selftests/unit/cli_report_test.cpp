// SPDX-License-Identifier: BSD-2-Clause
// What the nouns print. The JSON is compared whole: its keys are an interface.
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/report.hpp"
#include "cli/table.hpp"
#include "cli/text.hpp"
#include "cli/verdicts.hpp"

namespace {

using namespace mstack;
using namespace mstack::cli;

mstack_tuple tuple_of(const char* address, std::uint16_t port, std::uint8_t protocol) {
  mstack_tuple tuple = {};
  EXPECT_EQ(1, inet_pton(AF_INET6, address, tuple.addr));
  tuple.port = htons(port);
  tuple.protocol = protocol;
  return tuple;
}

template <std::size_t size>
void set(char (&array)[size], std::string_view text) {
  ASSERT_LT(text.size(), size);
  std::ranges::copy(text, array);
}

std::vector<UplinkEntry> two_uplinks() {
  UplinkEntry native = {.ifindex = 2, .info = {}}, generic = {.ifindex = 9, .info = {}};
  set(native.info.name, "eth0");
  native.info.flags =
      MSTACK_UPLINK_NATIVE | MSTACK_UPLINK_XMIT | MSTACK_UPLINK_XMIT_SG | MSTACK_UPLINK_STAYS | MSTACK_UPLINK_GUARDED;
  set(generic.info.name, "wlan0");
  return {native, generic};
}

VportEntry vport_of(std::uint32_t id, const char* command, std::uint16_t queues) {
  VportEntry entry = {.id = id, .info = {}};
  entry.info.uid = 1000;
  entry.info.pid = 77;
  entry.info.slot = 5;
  entry.info.queues = queues;
  entry.info.umem_bytes = 8 << 20;
  entry.info.created_ns = 1'700'000'000'123'456'789;
  set(entry.info.comm, command);
  return entry;
}

VlanEntry vlan_of(std::uint32_t ifindex, const char* name, std::uint32_t uplink,
                  std::initializer_list<mstack_tag> tags) {
  VlanEntry entry = {.ifindex = ifindex, .info = {}};
  set(entry.info.name, name);
  entry.info.vlan.uplink = uplink;
  std::ranges::copy(tags, entry.info.vlan.tags);
  return entry;
}

UplinkEntry gone_uplink() {
  UplinkEntry gone = {.ifindex = MSTACK_NO_IFINDEX + 1, .info = {}};
  set(gone.info.name, "usb0");
  gone.info.flags = MSTACK_UPLINK_GONE | MSTACK_UPLINK_STAYS;
  return gone;
}

TEST(Verdicts, EveryOneIsOfOneKind) {
  std::set<std::string_view> names;
  for (const Verdict& verdict : verdicts) {
    EXPECT_TRUE(names.insert(verdict.name).second);
    const auto is_of = [&](std::string_view way) { return verdict.name.starts_with(way); };
    EXPECT_TRUE(is_of("RX_") || is_of("TX_") || is_of("LO_") || is_of("GUARD_")) << verdict.name;
    EXPECT_EQ(verdict.drops(), verdict.text.starts_with("dropped: ")) << verdict.name;
    EXPECT_EQ(verdict.passes(), verdict.text.starts_with("to the kernel: ") && is_of("RX_")) << verdict.name;
  }
  EXPECT_EQ("RX_STEERED", verdicts[MSTACK_RX_STEERED].name);
  EXPECT_EQ("TX_DROP_NO_NEIGHBOUR", verdicts[MSTACK_TX_DROP_NO_NEIGHBOUR].name);
}

TEST(Verdicts, Totals) {
  maps::VerdictCounts counts = {};
  counts.fill(1);
  const Totals totals = totals_of(counts);
  EXPECT_EQ(1u, totals.received);
  EXPECT_EQ(4u, totals.sent);
  EXPECT_EQ(11u, totals.to_kernel);
  // All but what was steered on the way to its delivery, what was answered, and what this host sends to itself.
  EXPECT_EQ(counts.size() - 1 - 4 - 11 - 3, totals.dropped);
}

TEST(Text, Values) {
  EXPECT_EQ("192.0.2.1", address_text(tuple_of("::ffff:192.0.2.1", 7, 17)));
  EXPECT_EQ("0.0.0.0", address_text(tuple_of("::ffff:0.0.0.0", 7, 17)));
  EXPECT_EQ("2001:db8::1", address_text(tuple_of("2001:db8::1", 7, 17)));
  EXPECT_EQ("::", address_text(tuple_of("::", 7, 17)));
  EXPECT_EQ("tcp", protocol_text(6));
  EXPECT_EQ("udp", protocol_text(17));
  EXPECT_EQ("dccp", protocol_text(33));
  EXPECT_EQ("udplite", protocol_text(136));
  EXPECT_EQ("132", protocol_text(132));
  EXPECT_EQ("active", claim_state_text(MSTACK_CLAIM_ACTIVE));
  EXPECT_EQ("9", claim_state_text(9));
  EXPECT_EQ("1970-01-01T00:00:00Z", time_text(0));
  EXPECT_EQ("2023-11-14T22:13:20Z", time_text(1'700'000'000'999'999'999));
  EXPECT_EQ("0 B", bytes_text(0));
  EXPECT_EQ("1023 B", bytes_text(1023));
  EXPECT_EQ("8 MiB", bytes_text(8 << 20));
  EXPECT_EQ("1.5 KiB", bytes_text(1536));
  EXPECT_EQ("16.0 EiB", bytes_text(~0ull));
  EXPECT_EQ("a?b??c~", printable("a\033b\n\x80"
                                 "c~"));
}

TEST(Table, ColumnsAreAlignedAndLinesEndWithTheirText) {
  Table table({{"A"}, {"NUMBER", true}, {"LAST"}});
  table.add({"long name", "7", "x"});
  table.add({"b\t", "12345678", ""});
  EXPECT_EQ(
      "A            NUMBER  LAST\n"
      "long name         7  x\n"
      "b?         12345678\n",
      table.text());
}

TEST(Report, Uplinks) {
  UplinksReport report = {.uplinks = two_uplinks()};
  report.uplinks[1].info.flags |= MSTACK_UPLINK_DOWN | MSTACK_UPLINK_CHAINED;
  report.uplinks.push_back(gone_uplink());
  const mstack_tag outer = {.protocol = htons(0x88a8), .id = htons(200)},
                   inner = {.protocol = htons(0x8100), .id = htons(7)};
  report.vlans = {vlan_of(4, "eth0.7", 2, {inner}), vlan_of(6, "q\033q", 2, {outer, inner})};
  EXPECT_EQ(Json::parse(R"({"uplinks": [
    {"ifindex": 2, "name": "eth0", "mode": "native", "chained": false, "guarded": true, "sends_by": "xdp", "sends_buffers_by": "xdp", "stays": true, "state": "up",
     "vlans": [{"ifindex": 4, "name": "eth0.7", "tags": [{"protocol": "802.1Q", "id": 7}]},
               {"ifindex": 6, "name": "q?q", "tags": [{"protocol": "802.1ad", "id": 200}, {"protocol": "802.1Q", "id": 7}]}]},
    {"ifindex": 9, "name": "wlan0", "mode": "generic", "chained": true, "guarded": false, "sends_by": "tc", "sends_buffers_by": "tc", "stays": false, "state": "down", "vlans": []},
    {"ifindex": null, "name": "usb0", "mode": null, "chained": null, "guarded": null, "sends_by": null, "sends_buffers_by": null, "stays": true, "state": "gone", "vlans": []}]})"),
            report.json());
  EXPECT_EQ(
      "UPLINK  IFINDEX  STATE  XDP               GUARDED  SENDS BY                               WHEN MSTACKD ENDS  "
      "VLANS\n"
      "eth0          2  up     native            yes      XDP                                    stays              "
      "eth0.7, "
      "q?q\n"
      "wlan0         9  down   generic, chained  no       TC: it takes no redirected XDP frames  is detached        -\n"
      "usb0          -  gone   -                 -        -                                      stays              "
      "-\n",
      report.text());
  report.uplinks[0].info.flags &= ~MSTACK_UPLINK_XMIT_SG;
  EXPECT_NE(report.text().find("  yes      XDP, and what takes several buffers by TC  stays"), std::string::npos);
  EXPECT_EQ(Json::parse(R"({"uplinks": []})"), UplinksReport{}.json());
  EXPECT_EQ("no uplink is attached; attach one with `mstack attach IF`\n", UplinksReport{}.text());
}

TEST(Report, Claims) {
  ClaimsReport report;
  report.claims.push_back({.tuple = tuple_of("::ffff:192.0.2.1", 7, 17), .claim = {}});
  report.claims[0].claim = {
      .cookie = 4711, .vport = 3, .uid = 1000, .slot = 5, .queues = 1, .state = MSTACK_CLAIM_ACTIVE};
  report.claims.push_back({.tuple = tuple_of("2001:db8::1", 65535, 6), .claim = {}});
  EXPECT_EQ(Json::parse(R"({"claims": [
    {"address": "192.0.2.1", "port": 7, "protocol": "udp", "vport": 3, "uid": 1000, "cookie": 4711, "state": "active"},
    {"address": "2001:db8::1", "port": 65535, "protocol": "tcp", "vport": 0, "uid": 0, "cookie": 0, "state": "pending"}]})"),
            report.json());
  EXPECT_EQ(
      "PROTOCOL  ADDRESS       PORT  VPORT   UID  COOKIE  STATE\n"
      "udp       192.0.2.1        7      3  1000    4711  active\n"
      "tcp       2001:db8::1  65535      0     0       0  pending\n",
      report.text());
  EXPECT_EQ(Json::parse(R"({"claims": []})"), ClaimsReport{}.json());
}

TEST(Report, Vports) {
  VportsReport report;
  report.vports.push_back({.vport = vport_of(3, "udp\033_echo", 2), .claims = 4, .stats = {}});
  report.vports[0].vport.info.flags = MSTACK_VPORT_THROUGHPUT;
  report.vports[0].stats.packets[MSTACK_RX_DELIVERED] = 10;
  report.vports[0].stats.packets[MSTACK_TX_SENT] = 8;
  report.vports[0].stats.packets[MSTACK_TX_DROP_UNCLAIMED] = 2;
  EXPECT_EQ(
      Json::parse(R"({"vports": [{"vport": 3, "uid": 1000, "pid": 77, "command": "udp?_echo", "queues": 2, "slot": 5,
    "mode": "throughput", "claims": 4, "received": 10, "sent": 8, "dropped": 2, "umem_bytes": 8388608,
    "created": "2023-11-14T22:13:20Z"}]})"),
      report.json());
  EXPECT_NE(std::string::npos, report.text().find("udp?_echo")) << report.text();
  EXPECT_EQ(std::string::npos, report.text().find('\033'));
  EXPECT_EQ("no vport: no user-level stack runs\n", VportsReport{}.text());
}

TEST(Report, Status) {
  StatusReport report = {
      .daemon = DaemonState::running, .run_dir = "/r", .pin_dir = "/p", .meta = {}, .uplinks = two_uplinks()};
  report.vports = 2;
  report.claims = 3;
  report.meta = {.schema = 1,
                 .next_vport = 9,
                 .netns_cookie = 5,
                 .started_ns = 1'700'000'000'000'000'000,
                 .pid = 42,
                 .max_claims = 64};
  report.counters[MSTACK_RX_DELIVERED] = 7;
  report.counters[MSTACK_RX_STEERED] = 7;
  report.counters[MSTACK_RX_PASS_UNCLAIMED] = 100;
  report.counters[MSTACK_TX_TO_HOST] = 1;
  report.counters[MSTACK_TX_DROP_NO_ROUTE] = 6;
  EXPECT_EQ(Json::parse(R"({"daemon": {"state": "running", "pid": 42, "run_dir": "/r"}, "pin_dir": "/p", "schema": 1,
    "started": "2023-11-14T22:13:20Z", "netns_cookie": 5,
    "uplinks": [{"ifindex": 2, "name": "eth0", "mode": "native", "chained": false, "guarded": true, "sends_by": "xdp", "sends_buffers_by": "xdp", "stays": true, "state": "up", "vlans": []},
                {"ifindex": 9, "name": "wlan0", "mode": "generic", "chained": false, "guarded": false, "sends_by": "tc", "sends_buffers_by": "tc", "stays": false, "state": "up", "vlans": []}],
    "vports": 2, "claims": {"used": 3, "size": 64},
    "packets": {"received": 7, "sent": 1, "dropped": 6, "to_kernel": 100}})"),
            report.json());
  EXPECT_EQ(
      "mstackd   running, pid 42\n"
      "since     2023-11-14T22:13:20Z\n"
      "uplinks   eth0 (native), wlan0 (generic, sends by TC)\n"
      "vports    2\n"
      "claims    3 of 64\n"
      "packets   7 received by stacks, 1 sent by them, 6 dropped, 100 left to the kernel\n",
      report.text());
  report.daemon = DaemonState::stopped;
  EXPECT_NE(std::string::npos, report.text().find("mstackd   not running: stacks that run go on"));
  EXPECT_EQ("stopped", report.json()["daemon"]["state"]);
}

TEST(Report, Stats) {
  StatsReport report;
  report.counters[MSTACK_TX_DROP_UNCLAIMED] = 12;
  const Json json = report.json();
  EXPECT_EQ(verdicts.size(), json["counters"].size());
  EXPECT_EQ(12, json["counters"]["TX_DROP_UNCLAIMED"]);
  EXPECT_EQ(0, json["counters"]["RX_STEERED"]);
  const std::string text = report.text();
  for (const Verdict& verdict : verdicts) {
    EXPECT_NE(std::string::npos, text.find(std::string(verdict.name) + " ")) << verdict.name;
    EXPECT_NE(std::string::npos, text.find(verdict.text)) << verdict.name;
  }
}

TEST(Report, StatsOfAVport) {
  VportStatsReport report = {.vport = vport_of(3, "echo", 2), .queues = {{}, {}}};
  report.queues[0].packets[MSTACK_TX_SENT] = 1;
  report.queues[1].packets[MSTACK_TX_SENT] = 2;
  report.queues[0].rx_bytes = 100;
  report.queues[1].rx_bytes = 11;
  report.queues[1].tx_bytes = 5;
  const Json json = report.json();
  EXPECT_EQ(3, json["vport"]);
  EXPECT_EQ(3, json["counters"]["TX_SENT"]);
  EXPECT_EQ(111, json["rx_bytes"]);
  EXPECT_EQ(5, json["tx_bytes"]);
  ASSERT_EQ(2u, json["queues"].size());
  EXPECT_EQ(1, json["queues"][1]["queue"]);
  EXPECT_EQ(6, json["queues"][1]["slot"]);
  EXPECT_EQ(2, json["queues"][1]["counters"]["TX_SENT"]);
  EXPECT_EQ(11, json["queues"][1]["rx_bytes"]);
  EXPECT_TRUE(report.text().starts_with("vport 3, uid 1000, echo: 111 bytes received, 5 sent\n\nQUEUE"))
      << report.text();
  report.queues.pop_back();
  EXPECT_EQ(std::string::npos, report.text().find("QUEUE"));
}

TEST(DaemonState, IsJudgedByWhoListens) {
  EXPECT_EQ(DaemonState::running, judge_daemon(0, 42, 42));
  EXPECT_EQ(DaemonState::running, judge_daemon(0, 0, 42));
  EXPECT_EQ(DaemonState::other, judge_daemon(0, 43, 42));
  EXPECT_EQ(DaemonState::running, judge_daemon(EAGAIN, 0, 42));
  EXPECT_EQ(DaemonState::stopped, judge_daemon(ENOENT, 0, 42));
  EXPECT_EQ(DaemonState::stopped, judge_daemon(ECONNREFUSED, 0, 42));
  EXPECT_EQ(DaemonState::unknown, judge_daemon(EACCES, 0, 42));
}

TEST(OpenFailure, SaysWhatWhyAndWhatNext) {
  const auto text = [](int code, bool is_bpffs = true) {
    return explain_open_failure(code, "DETAIL", "/p", is_bpffs).what;
  };
  EXPECT_EQ("MultiStack is not running: no maps under /p; start mstackd", text(ENOENT, false));
  EXPECT_EQ("MultiStack is not running, or only starting: maps are missing under /p; start mstackd", text(ENOENT));
  EXPECT_EQ("no permission to read the maps under /p; run mstack as root", text(EPERM));
  EXPECT_EQ("no permission to read the maps under /p; run mstack as root", text(EACCES, false));
  EXPECT_EQ("this kernel has no BPF: MultiStack needs Linux 6.1 or later with CONFIG_BPF_SYSCALL", text(ENOSYS, false));
  EXPECT_EQ(
      "the maps under /p are another MultiStack's (DETAIL); use the mstack that came with its mstackd, or, when no "
      "stack "
      "runs, remove them with `rm -r /p` (what else to remove: mstackd(8), FILES) and start this one",
      text(EPROTO));
  EXPECT_EQ("DETAIL", text(EIO));
  EXPECT_EQ(EIO, explain_open_failure(EIO, "DETAIL", "/p", true).code);
}

}  // namespace
