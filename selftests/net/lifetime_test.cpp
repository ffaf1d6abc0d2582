// SPDX-License-Identifier: BSD-2-Clause
//
// A claim lives exactly as long as its owner socket: it goes with the last descriptor and never before, whether mstackd
// is alive, dead or another one by then. The vport is the test's own in all of these, and stays.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <fstream>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

const Endpoint service{host4, 7000};

enum class Then { alive, dead, restarted };

class Lifetime : public NetTest, public ::testing::WithParamInterface<std::tuple<Then, int>> {
 protected:
  int protocol() const { return std::get<1>(GetParam()); }
  bool claimed() const { return pins().claimed(protocol(), service); }

  // A child that holds the only copy of a claimed socket, and does `next` after "go".
  Process holder(Stack& stack, const std::function<int(Channel&, int)>& next) {
    Process child = Process::function(
        [this, &next](Channel& channel) {
          Fd socket = bound(protocol(), service);
          const int fd = socket.get();
          channel.send("bound", {&fd, 1});
          channel.expect("go");
          return next(channel, socket.release());
        },
        {.who = {.netns = &world().host(), .uid = alice}});
    {
      const auto message = child.channel().expect("bound");
      const Claim claim = stack.claim(message.fds.at(0));
    }
    EXPECT_TRUE(claimed());
    become();
    EXPECT_TRUE(claimed());
    child.channel().send("go");
    return child;
  }

  // What happens to mstackd between the claim and its end.
  void become() {
    if (std::get<0>(GetParam()) == Then::dead) crash();
    if (std::get<0>(GetParam()) == Then::restarted) restart();
  }

  void expect_released() const {
    // The last of its descriptors may be mstackd's own, which is closed while we look: first the claim goes, then the
    // counts of it, then the port.
    EXPECT_TRUE(eventually([&] { return pins().claims().empty(); }));
    EXPECT_TRUE(eventually([&] { return pins().gate_sum() == 0 && pins().slot_claims_sum() == 0; }));
    // The tuple is anyone's again.
    EXPECT_TRUE(eventually([&] { return as_user(bob, [&] { return try_bind(protocol(), service).has_value(); }); }));
  }
};

std::string name_of(const ::testing::TestParamInfo<std::tuple<Then, int>>& chosen) {
  const auto [then, protocol] = chosen.param;
  const std::string name = then == Then::alive ? "Alive" : then == Then::dead ? "Dead" : "Restarted";
  return name + (protocol == IPPROTO_UDP ? "Udp" : "Tcp");
}

INSTANTIATE_TEST_SUITE_P(Mstackd, Lifetime,
                         ::testing::Combine(::testing::Values(Then::alive, Then::dead, Then::restarted),
                                            ::testing::Values(IPPROTO_UDP, IPPROTO_TCP)),
                         name_of);

TEST_P(Lifetime, Close) {
  Stack stack(world());
  Process child = holder(stack, [](Channel& channel, int fd) {
    ::close(fd);
    channel.send("closed");
    channel.expect("end");
    return 0;
  });
  child.channel().expect("closed");
  expect_released();
  child.channel().send("end");
  EXPECT_EQ(child.wait(), (Exit{.code = 0, .signal = 0}));
}

TEST_P(Lifetime, Exit) {
  Stack stack(world());
  Process child = holder(stack, [](Channel&, int) { return 0; });
  EXPECT_EQ(child.wait(), (mstack::test::Exit{.code = 0, .signal = 0}));
  expect_released();
}

TEST_P(Lifetime, Sigkill) {
  Stack stack(world());
  Process child = holder(stack, [](Channel& channel, int) {
    channel.expect("never said");
    return 0;
  });
  EXPECT_TRUE(claimed());
  EXPECT_EQ(child.kill().signal, SIGKILL);
  expect_released();
}

std::string comm(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/comm");
  std::string name;
  std::getline(in, name);
  return name;
}

TEST_P(Lifetime, ExecKeepsWhatIsNotCloseOnExec) {
  Stack stack(world());
  Process child = holder(stack, [](Channel&, int fd) {
    ::fcntl(fd, F_SETFD, 0);
    ::execlp("sleep", "sleep", "600", nullptr);
    return 1;
  });
  ASSERT_TRUE(eventually([&] { return comm(child.pid()) == "sleep"; }));
  EXPECT_TRUE(claimed());
  child.kill();
  expect_released();
}

TEST_P(Lifetime, ExecEndsWhatIsCloseOnExec) {
  Stack stack(world());
  Process child = holder(stack, [](Channel&, int) {
    ::execlp("sleep", "sleep", "600", nullptr);
    return 1;
  });
  ASSERT_TRUE(eventually([&] { return comm(child.pid()) == "sleep"; }));
  expect_released();
}

TEST_P(Lifetime, ForkKeepsItUntilBothEnd) {
  Stack stack(world());
  Process child = holder(stack, [](Channel& channel, int) {
    const pid_t grandchild = ::fork();
    if (grandchild == 0) {
      channel.expect("end");
      return 0;
    }
    return 0;
  });
  EXPECT_EQ(child.wait(), (mstack::test::Exit{.code = 0, .signal = 0}));
  EXPECT_TRUE(claimed());
  const auto taken = as_user(bob, [&] { return try_bind(protocol(), service); });
  EXPECT_FALSE(taken);
  child.channel().send("end");
  expect_released();
}

TEST_P(Lifetime, DupKeepsItUntilTheLastIsClosed) {
  Stack stack(world());
  Process child = holder(stack, [](Channel& channel, int fd) {
    const int second = ::dup(fd);
    const int third = ::dup(fd);
    ::close(fd);
    channel.send("one closed");
    channel.expect("go on");
    ::close(second);
    channel.send("two closed");
    channel.expect("go on");
    ::close(third);
    channel.send("all closed");
    channel.expect("end");
    return 0;
  });
  child.channel().expect("one closed");
  EXPECT_TRUE(claimed());
  child.channel().send("go on");
  child.channel().expect("two closed");
  EXPECT_TRUE(claimed());
  child.channel().send("go on");
  child.channel().expect("all closed");
  expect_released();
  child.channel().send("end");
}

TEST_P(Lifetime, ADescriptorOnItsWayInAMessageCounts) {
  Stack stack(world());
  auto [here, there] = Channel::pair();
  {
    const Fd socket = bound_as(alice, protocol(), service);
    { const Claim claim = stack.claim(socket); }
    const int fd = socket.get();
    ASSERT_TRUE(here.send("take it", {&fd, 1}));
  }
  become();
  EXPECT_TRUE(claimed());
  there.close();
  here.close();
  expect_released();
}

// The socket outlives its vport: the claim goes with the vport, and the tuple can be claimed again for another.
TEST_P(Lifetime, AClaimEndsWithItsVport) {
  const Fd socket = bound_as(alice, protocol(), service);
  {
    Stack stack(world());
    const Claim claim = stack.claim(socket);
    become();
    EXPECT_TRUE(claimed());
  }
  // Only mstackd removes a vport: without one, the tuple stays its owner's.
  if (std::get<0>(GetParam()) == Then::dead) {
    EXPECT_TRUE(claimed());
    start();
  }
  EXPECT_TRUE(eventually([&] { return pins().claims().empty() && pins().vports().empty(); }));
  Stack next(world());
  const Claim again = next.claim(socket);
  EXPECT_TRUE(claimed());
}

// shutdown() is not the end of a socket.
TEST_P(Lifetime, ShutdownIsNotTheEnd) {
  Stack stack(world());
  Fd socket = bound_as(alice, protocol(), service);
  const Claim claim = stack.claim(socket);
  become();
  ::shutdown(socket.get(), SHUT_RDWR);
  EXPECT_TRUE(claimed());
  socket.reset();
  expect_released();
}

}  // namespace
}  // namespace mstack::test
