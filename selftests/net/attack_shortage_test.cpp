// SPDX-License-Identifier: BSD-2-Clause
//
// mstackd closes what clients sent in other threads than its own. When no thread can be started, or as many as there
// may be hang, descriptors wait; and no longer than that.
#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <filesystem>
#include <optional>
#include <vector>

#include "support/fixture.hpp"
#include "support/hostile_fuse.hpp"
#include "support/sockets.hpp"
#include "support/thread_shortage.hpp"

namespace mstack::test {
namespace {

constexpr uid_t first_of_many = 61000;

class Shortage : public NetTest {
 protected:
  std::size_t threads() {
    const std::filesystem::directory_iterator tasks("/proc/" + std::to_string(daemon().pid()) + "/task");
    return static_cast<std::size_t>(std::distance(begin(tasks), end(tasks)));
  }
  // Idle threads end by themselves; one that is there would do the work of those that are not.
  void wait_for_no_other_thread() {
    ASSERT_TRUE(eventually([&] { return threads() == 1; })) << threads() << " threads";
  }
  void expect_bob_is_served() {
    RawClient client = raw_client(bob);
    EXPECT_EQ(client.open_vport().error(), 0);
    const Fd socket = bound_as(bob, IPPROTO_UDP, {host4, 0});
    EXPECT_EQ(client.claim(socket.get()).error(), 0);
  }
};

class ThreadsShort : public Shortage {
 protected:
  void SetUp() override {
    if (!ThreadShortage::available()) GTEST_SKIP() << "no pids controller here";
    Shortage::SetUp();
    shortage_.emplace(daemon().pid());
    wait_for_no_other_thread();
    shortage_->begin();
  }
  void TearDown() override {
    shortage_.reset();
    Shortage::TearDown();
  }
  std::optional<ThreadShortage> shortage_;
};

// A claim lives as long as its socket, of which mstackd had a copy.
TEST_F(ThreadsShort, AClaimEndsSoonAfterwards) {
  const RawClient client = raw_client();
  EXPECT_EQ(client.open_vport().error(), 0);
  const Endpoint mine{host4, 7000};
  Fd socket = bound_as(alice, IPPROTO_UDP, mine);
  EXPECT_EQ(client.claim(socket.get()).error(), 0);
  socket.reset();
  EXPECT_EQ(pins().claims().size(), 1U) << "mstackd did close its copy: nothing was tried";
  EXPECT_EQ(as_user(alice, [&] { return bind_error(make_socket(IPPROTO_UDP, false).get(), mine); }), EADDRINUSE);
  expect_bob_is_served();
  EXPECT_EQ(daemon().times_told("cannot start a thread"), 1U) << daemon().log();
  shortage_->end();
  // Without a word of this client's, or of its user's.
  EXPECT_TRUE(eventually([&] { return pins().claims().empty(); }));
  // The kernel frees the port a moment later.
  EXPECT_TRUE(eventually(
      [&] { return as_user(alice, [&] { return bind_error(make_socket(IPPROTO_UDP, false).get(), mine); }) == 0; }));
}

// More than may wait: nobody is let in any more, until they are closed.
TEST_F(ThreadsShort, ManyUsersDescriptorsAreClosedAfterwards) {
  const std::size_t before = daemon().descriptors();
  const Fd event{::eventfd(0, EFD_CLOEXEC)};
  const std::vector<int> fds(250, event.get());
  for (uid_t uid = first_of_many; uid < first_of_many + 70; ++uid) {
    const RawClient client = raw_client(uid);
    client.send(std::vector<std::uint8_t>{1, 2, 3}, fds);
    // As it was: some of them come when it is full.
    EXPECT_TRUE(eventually([&] {
      return client.ends(Deadline{50ms}) || daemon().times_told("too many descriptors of clients") > 0;
    })) << uid;
  }
  EXPECT_GT(daemon().descriptors(), before + 16000) << "nothing was tried";
  RawClient waiting = raw_client(bob);
  shortage_->end();
  expect_bob_is_served();
  EXPECT_EQ(waiting.open_vport().error(), 0);
  waiting.close();
  EXPECT_TRUE(eventually([&] { return daemon().descriptors() < before + 100; })) << daemon().descriptors();
}

// The kernel closes them with the process; mstackd itself might hang.
TEST_F(ThreadsShort, ItEndsAllTheSame) {
  const RawClient client = raw_client();
  EXPECT_EQ(client.open_vport().error(), 0);
  const Fd socket = bound_as(alice, IPPROTO_UDP, {host4, 7000});
  EXPECT_EQ(client.claim(socket.get()).error(), 0);
  EXPECT_EQ(daemon().stop(), (Exit{.code = 0, .signal = 0}));
  shortage_.reset();
  start();
}

class HangMany : public Shortage {
 protected:
  void SetUp() override {
    if (!HostileFuse::available()) GTEST_SKIP() << "no FUSE here: " << std::generic_category().message(errno);
    Shortage::SetUp();
    fuse_.emplace();
  }
  void TearDown() override {
    fuse_.reset();  // whoever was stuck is free
    Shortage::TearDown();
  }
  std::optional<HostileFuse> fuse_;
};

// Each user can have one thread hang. Others wait for theirs when there are too many, and are served all the same.
TEST_F(HangMany, ThereAreOnlySoManyThreads) {
  constexpr std::size_t most = 512, users = most + 50;
  const Fd file = fuse_->open();
  const int fd = file.get();
  for (uid_t uid = first_of_many; uid < first_of_many + users; ++uid) {
    const RawClient client = raw_client(uid);
    client.send(std::vector<std::uint8_t>{1, 2, 3}, {&fd, 1});
  }
  // mstackd waits a moment for each.
  EXPECT_TRUE(eventually([&] { return fuse_->unanswered() == most; }, Deadline{4 * patience})) << fuse_->unanswered();
  EXPECT_EQ(threads(), most + 1);
  expect_bob_is_served();
  EXPECT_EQ(threads(), most + 1);
}

}  // namespace
}  // namespace mstack::test
