// SPDX-License-Identifier: BSD-2-Clause
//
// mstackd may be killed at any time: stacks go on, and the next mstackd takes over what is pinned.
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <ranges>
#include <set>
#include <thread>
#include <tuple>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

const Endpoint service{host4, 7000}, remote{wire4, 4000};

class Crash : public NetTest {};

class CrashInMode : public NetTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override { start(options()); }
  static DaemonOptions options() { return {.arguments = {}, .xdp_mode = GetParam(), .environment = {}}; }
};

INSTANTIATE_TEST_SUITE_P(Modes, CrashInMode, ::testing::Values("native", "generic"),
                         [](const auto& chosen) { return std::string(chosen.param); });

// Bursts there and back without a pause, each packet of which must arrive, while mstackd is killed and started anew.
TEST_P(CrashInMode, NoPacketIsLost) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  const auto capture = world().capture();
  std::atomic<bool> enough = false;
  constexpr std::size_t burst = 16;
  const auto answer = [](const Packet& packet) { return packet.from == service; };
  std::atomic<std::size_t> rounds = 0;
  std::string lost;
  std::thread traffic([&] {
    for (std::size_t round = 0; !enough && lost.empty(); ++round) {
      std::set<std::string> texts;
      while (texts.size() < burst)
        texts.insert("round " + std::to_string(round) + " packet " + std::to_string(texts.size()));
      for (const std::string& text : texts) world().send(World::udp(remote, service, text));
      // In any order: a wire may have several queues, and this thread may change its CPU.
      if (!eventually([&] { return stack.seen().size() >= (round + 1) * burst; })) lost = "to the stack, ";
      std::set<std::string> missing = texts;
      for (const Packet& packet : stack.seen() | std::views::drop(round * burst)) missing.erase(packet.payload);
      if (!missing.empty()) lost += *missing.begin();
      for (const std::string& text : texts) stack.send(World::udp(service, remote, text));
      ++rounds;
      if (!eventually([&] { return capture->count(answer) >= rounds * burst; }))
        lost += "from the stack, round " + std::to_string(round);
    }
  });
  const auto more_traffic = [&] {
    const std::size_t now = rounds;
    EXPECT_TRUE(eventually([&] { return rounds >= now + 3 || !lost.empty(); }));
  };
  more_traffic();
  for (int times = 0; times < 3; ++times) {
    crash();
    more_traffic();
    start(options());
    more_traffic();
  }
  enough = true;
  traffic.join();
  EXPECT_EQ(lost, "");
  EXPECT_EQ(capture->lost(), 0U);
  EXPECT_EQ(capture->count(answer), burst * rounds);
  EXPECT_EQ(stack.seen().size(), burst * rounds);
}

TEST_F(Crash, TheNextMstackdKnowsTheStacksAndServesNewOnes) {
  Stack old(world(), alice);
  const Claim first = old.claim(IPPROTO_UDP, service);
  const auto id = old.id();
  const auto program = attached_xdp(world().host(), uplink);
  restart();
  EXPECT_TRUE(pins().vports().contains(id));
  EXPECT_TRUE(pins().claimed(IPPROTO_UDP, service));
  EXPECT_NE(attached_xdp(world().host(), uplink), 0U);
  EXPECT_NE(attached_xdp(world().host(), uplink), program) << "the program was not replaced by the new mstackd's";
  Stack fresh(world(), bob);
  EXPECT_NE(fresh.id(), id);
  const Claim second = fresh.claim(IPPROTO_UDP, {host4, 7001});
  // The old stack's next claim takes the vport back first.
  const Claim third = old.claim(IPPROTO_UDP, {host4, 7002});
  for (const std::uint16_t port : {7000, 7002}) {
    world().send(World::udp(remote, {host4, port}, "old"));
    EXPECT_TRUE(old.receive(udp_payload("old"))) << port;
  }
  world().send(World::udp(remote, {host4, 7001}, "fresh"));
  EXPECT_TRUE(fresh.receive(udp_payload("fresh")));
  // And cannot be had by another.
  EXPECT_FALSE(fresh.try_claim(IPPROTO_UDP, service));
}

TEST_F(Crash, AReleaseAfterARestartWorks) {
  Stack stack(world());
  Claim claim = stack.claim(IPPROTO_UDP, service);
  restart();
  const auto released = stack.try_release(claim);
  EXPECT_TRUE(released) << released.error().what;
  EXPECT_TRUE(pins().claims().empty());
  EXPECT_EQ(pins().gate_sum(), 0U);
}

TEST_F(Crash, VportsOfStacksThatWentMeanwhileAreRemoved) {
  const Fd socket = bound_as(alice, IPPROTO_UDP, service);
  {
    Stack stack(world());
    const Claim claim = stack.claim(socket);
    crash();
  }
  // Nobody was there to do it. The tuple stays claimed, since its owner still has it.
  EXPECT_EQ(pins().vports().size(), 1U);
  EXPECT_TRUE(pins().claimed(IPPROTO_UDP, service));
  start();
  EXPECT_TRUE(pins().vports().empty());
  EXPECT_TRUE(pins().claims().empty());
  EXPECT_EQ(pins().gate_sum(), 0U);
}

TEST_F(Crash, AVportThatNobodyTookBackGoesWithItsStack) {
  {
    Stack stack(world());
    const Claim claim = stack.claim(IPPROTO_UDP, service);
    restart();
    EXPECT_EQ(pins().vports().size(), 1U);
  }
  EXPECT_TRUE(eventually([&] { return pins().vports().empty(); }));
}

TEST_F(Crash, OnlyTheHolderOfItsSocketTakesAVportBack) {
  RawClient owner = raw_client();
  const auto opened = owner.open_vport();
  ASSERT_EQ(opened.error(), 0);
  const auto vport = opened.as<protocol::OpenVportReply>().vport;
  const Fd socket = bound_as(alice, IPPROTO_UDP, service);
  ASSERT_EQ(owner.claim(socket.get()).error(), 0);
  const RawClient bystander = raw_client(bob);
  const auto others = bystander.open_vport();
  ASSERT_EQ(others.error(), 0);
  restart();

  const auto resume = [&](uid_t uid, std::uint32_t id, int fd) {
    const RawClient client = raw_client(uid);
    return client
        .ask(protocol::ResumeVport{.header = RawClient::header(protocol::Type::resume_vport), .vport = id, .zero = 0},
             {&fd, 1})
        .error();
  };
  EXPECT_NE(resume(bob, vport, others.fds.at(1).get()), 0) << "by another vport's socket";
  EXPECT_NE(resume(alice, vport, opened.fds.at(0).get()), 0) << "by the UMEM";
  EXPECT_NE(resume(alice, vport + 1000, opened.fds.at(1).get()), 0) << "a vport that is none";
  EXPECT_NE(resume(bob, vport, socket.get()), 0) << "by a socket of another kind";
  EXPECT_TRUE(pins().vports().contains(vport));

  const RawClient again = raw_client();
  const int right = opened.fds.at(1).get();
  const protocol::ResumeVport request{
      .header = RawClient::header(protocol::Type::resume_vport), .vport = vport, .zero = 0};
  ASSERT_EQ(again.ask(request, {&right, 1}).error(), 0);
  const RawClient late = raw_client();
  EXPECT_NE(late.ask(request, {&right, 1}).error(), 0) << "taken back already";
  const std::array tuples{tuple(IPPROTO_UDP, service)};
  EXPECT_EQ(again.release(tuples).error(), 0);
}

// A claim that the old mstackd had no time to finish is neither kept nor counted.
TEST_F(Crash, AHalfMadeClaimIsWithdrawn) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  crash();
  const auto claims = pins().claims();
  ASSERT_EQ(claims.size(), 1U);
  mstack_claim half = claims[0].second;
  half.state = MSTACK_CLAIM_PENDING;
  half.cookie += 1'000'000;
  const mstack_tuple other = tuple(IPPROTO_UDP, {host4, 7005});
  ASSERT_EQ(::bpf_map_update_elem(pins().open("claims").get(), &other, &half, BPF_NOEXIST), 0);
  start();
  EXPECT_EQ(pins().claims().size(), 1U);
  EXPECT_TRUE(pins().claimed(IPPROTO_UDP, service));
  EXPECT_EQ(pins().gate_sum(), 1U);
  EXPECT_EQ(pins().slot_claims_sum(), 1U);
  EXPECT_TRUE(stack.try_claim(IPPROTO_UDP, {host4, 7005}));
}

TEST_F(Crash, AnotherSchemaVersionIsRefusedWithWhatToDo) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  crash();
  mstack_meta meta = pins().meta();
  meta.schema += 1;
  pins().set_meta(meta);
  // Another schema may lack maps of ours, and that is not what is told.
  const std::string pin = world().pin_dir() + "/vport_chain_devs", aside = world().pin_dir() + "/aside";
  ASSERT_EQ(std::rename(pin.c_str(), aside.c_str()), 0);
  const Completed refused = Daemon::run_to_end(world());
  ASSERT_EQ(std::rename(aside.c_str(), pin.c_str()), 0);
  EXPECT_EQ(refused.exit, (Exit{.code = 1, .signal = 0}));
  EXPECT_NE(refused.err.find("schema"), std::string::npos) << refused.err;
  EXPECT_NE(refused.err.find("rm -r " + world().pin_dir()), std::string::npos) << refused.err;
  // Untouched: the stack goes on.
  world().send(World::udp(remote, service, "still here"));
  EXPECT_TRUE(stack.receive(udp_payload("still here")));
  meta.schema -= 1;
  pins().set_meta(meta);
  start();
  EXPECT_TRUE(pins().claimed(IPPROTO_UDP, service));
}

TEST_F(Crash, AMapOfAnotherShapeIsRefused) {
  crash();
  const std::string pin = world().pin_dir() + "/claims", aside = world().pin_dir() + "/claims_aside";
  struct Shape {
    const char* what;
    bpf_map_type type;
    std::uint32_t key, value, entries;
  };
  for (const Shape& shape : {Shape{"type", BPF_MAP_TYPE_LRU_HASH, 20, 24, MSTACK_DEFAULT_CLAIMS},
                             Shape{"key", BPF_MAP_TYPE_HASH, 24, 24, MSTACK_DEFAULT_CLAIMS},
                             Shape{"value", BPF_MAP_TYPE_HASH, 20, 32, MSTACK_DEFAULT_CLAIMS}}) {
    SCOPED_TRACE(shape.what);
    ASSERT_EQ(std::rename(pin.c_str(), aside.c_str()), 0);
    {
      const Fd other{::bpf_map_create(shape.type, "claims", shape.key, shape.value, shape.entries, nullptr)};
      ASSERT_TRUE(other);
      ASSERT_EQ(::bpf_obj_pin(other.get(), pin.c_str()), 0);
    }
    const Completed refused = Daemon::run_to_end(world());
    EXPECT_EQ(refused.exit, (Exit{.code = 1, .signal = 0}));
    EXPECT_NE(refused.err.find("claims"), std::string::npos) << refused.err;
    EXPECT_NE(refused.err.find("rm -r"), std::string::npos) << refused.err;
    ASSERT_EQ(std::rename(aside.c_str(), pin.c_str()), 0);
  }
}

TEST_F(Crash, KeepLeavesAllRunning) {
  crash();
  start({.arguments = {"--keep"}, .environment = {}});
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  EXPECT_EQ(daemon().stop(), (Exit{.code = 0, .signal = 0}));
  const auto both_ways = [&] {
    const auto capture = world().capture();
    world().send(World::udp(remote, service, "there"));
    EXPECT_TRUE(stack.receive(udp_payload("there")));
    stack.send(World::udp(service, remote, "back"));
    EXPECT_TRUE(capture->wait(udp_payload("back")));
  };
  both_ways();
  start();
  both_ways();
}

TEST_F(Crash, WithoutKeepAnEndIsAnEnd) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  EXPECT_EQ(daemon().stop(), (Exit{.code = 0, .signal = 0}));
  EXPECT_TRUE(world().leftovers_after_end().empty());
  // The tuple is the kernel's again.
  world().send(World::udp(remote, service, "to the socket"));
  const auto got = receive_from(claim.fd());
  ASSERT_TRUE(got);
  EXPECT_EQ(got->payload, "to the socket");
  EXPECT_FALSE(stack.try_claim(IPPROTO_UDP, {host4, 7001}));
  start();
}

TEST_F(Crash, ASecondMstackdOnTheSameDirectoryIsRefused) {
  const Completed refused = Daemon::run_to_end(world());
  EXPECT_EQ(refused.exit, (Exit{.code = 1, .signal = 0}));
  EXPECT_NE(refused.err.find(world().run_dir()), std::string::npos) << refused.err;
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  world().send(World::udp(remote, service, "the first serves"));
  EXPECT_TRUE(stack.receive(udp_payload("the first serves")));
}

// Whoever can open a file can lock it.
TEST_F(Crash, NoLockOfAUserKeepsTheNextOneFromStarting) {
  const std::vector<Fd> locks = as_user(alice, [&] {
    std::vector<Fd> held;
    std::vector<std::string> paths{world().run_dir(), world().pin_dir()};
    for (const std::string& directory : {world().run_dir(), world().pin_dir()}) {
      std::error_code error;
      for (const auto& entry : std::filesystem::directory_iterator(directory, error)) paths.push_back(entry.path());
    }
    for (const std::string& path : paths) {
      Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
      if (file && ::flock(file.get(), LOCK_SH | LOCK_NB) == 0) held.push_back(std::move(file));
    }
    return held;
  });
  ASSERT_FALSE(locks.empty()) << "the run directory is for everybody to read";
  restart();
  Stack stack(world());
  EXPECT_TRUE(stack.try_claim(IPPROTO_UDP, service));
}

// Where others may write, they could put a socket or a map of their own in the place of mstackd's.
TEST_F(Crash, DirectoriesOfOthersAreRefused) {
  crash();
  for (const auto& [directory, was, mode] :
       {std::tuple{world().run_dir(), 0755, 0777}, std::tuple{world().pin_dir(), 0700, 0755}}) {
    ASSERT_EQ(::chmod(directory.c_str(), static_cast<mode_t>(mode)), 0);
    const Completed refused = Daemon::run_to_end(world());
    ASSERT_EQ(::chmod(directory.c_str(), static_cast<mode_t>(was)), 0);
    EXPECT_EQ(refused.exit, (Exit{.code = 1, .signal = 0}));
    EXPECT_NE(refused.err.find(directory), std::string::npos) << refused.err;
  }
  start();
}

class ForeignProgram : public ::testing::TestWithParam<unsigned> {};

INSTANTIATE_TEST_SUITE_P(Modes, ForeignProgram, ::testing::Values(XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE),
                         [](const auto& chosen) {
                           return std::string(chosen.param == XDP_FLAGS_DRV_MODE ? "native" : "generic");
                         });

TEST_P(ForeignProgram, IsNamedAndLeftAlone) {
  const World world;
  const Fd program = xdp_program("not_ours", XDP_PASS);
  attach_xdp(world.host(), uplink, program, GetParam());
  const auto id = attached_xdp(world.host(), uplink);
  const Completed refused = Daemon::run_to_end(world);
  EXPECT_EQ(refused.exit, (Exit{.code = 1, .signal = 0}));
  EXPECT_NE(refused.err.find("not_ours"), std::string::npos) << refused.err;
  EXPECT_EQ(attached_xdp(world.host(), uplink), id);
  // By request too.
  Daemon daemon(world, {.arguments = {}, .attach = false, .environment = {}});
  const Completed attach = world.command({"attach", uplink});
  EXPECT_EQ(attach.exit, (Exit{.code = 1, .signal = 0}));
  EXPECT_NE(attach.err.find("not_ours"), std::string::npos) << attach.err;
  EXPECT_EQ(attached_xdp(world.host(), uplink), id);
  const Completed detach = world.command({"detach", uplink});
  EXPECT_EQ(detach.exit, (Exit{.code = 1, .signal = 0}));
  EXPECT_EQ(attached_xdp(world.host(), uplink), id);
  EXPECT_EQ(daemon.stop(), (Exit{.code = 0, .signal = 0}));
  EXPECT_EQ(attached_xdp(world.host(), uplink), id);
}

// Several instances run side by side, each in its own network namespace.
TEST(SideBySide, TwoInstancesDoNotMeet) {
  const World first, second;
  Daemon one(first), two(second);
  // The test is in the cgroup of the second, so its sockets are.
  Stack stack(second);
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  EXPECT_TRUE(first.pins().claims().empty());
  EXPECT_EQ(one.stop(), (Exit{.code = 0, .signal = 0}));
  second.send(World::udp(remote, service, "the other is gone"));
  EXPECT_TRUE(stack.receive(udp_payload("the other is gone")));
}

}  // namespace
}  // namespace mstack::test
