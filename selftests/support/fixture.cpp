// SPDX-License-Identifier: BSD-2-Clause
#include "support/fixture.hpp"

#include <signal.h>

#include <algorithm>

namespace mstack::test {

namespace {

std::string lines(const std::vector<std::string>& parts) {
  std::string out;
  for (const auto& part : parts) out += part + '\n';
  return out;
}

}  // namespace

void NetTest::start(const DaemonOptions& options) {
  if (options.xdp_mode == "native" && !world_.no_native_xdp().empty())
    GTEST_SKIP() << "the driver of the uplink has no native XDP: " << world_.no_native_xdp();
  daemon_.emplace(world_, options);
  // After a first client, so that what mstackd opens once and keeps does not count as a leak. The claim is of a port
  // that no test uses, by a uid that no test uses.
  RawClient first = raw_client(nobody);
  EXPECT_EQ(first.open_vport().error(), 0);
  const Fd socket = bound_as(nobody, IPPROTO_UDP, {host4, 0});
  EXPECT_EQ(first.claim(socket.get()).error(), 0);
  first.close();
  const mstack_tuple claimed = tuple(IPPROTO_UDP, local_endpoint(socket.get()));
  EXPECT_TRUE(eventually([&] {
    const auto claims = pins().claims();
    const auto vports = pins().vports();
    return std::ranges::none_of(claims, [&](const auto& entry) { return same(entry.first, claimed); }) &&
           std::ranges::none_of(vports, [&](const auto& entry) { return entry.second.uid == nobody; });
  })) << "a client's vport and claim outlive its connection";
  idle_descriptors_ = daemon_->descriptors();
}

void NetTest::crash() {
  EXPECT_EQ(daemon_->kill().signal, SIGKILL);
  daemon_.reset();
}

void NetTest::expect_idle() {
  ASSERT_TRUE(daemon_->running()) << "mstackd is gone";
  std::vector<std::string> left;
  eventually([&] {
    left = world_.leftovers_while_running();
    if (const auto now = daemon_->descriptors(); now > idle_descriptors_) {
      left.push_back(std::to_string(now - idle_descriptors_) + " descriptors more in mstackd");
    }
    return left.empty();
  });
  EXPECT_TRUE(left.empty()) << lines(left);
}

void NetTest::TearDown() {
  if (!daemon_ && IsSkipped()) return;
  if (!daemon_) start();
  expect_idle();
  const Exit exit = daemon_->stop();
  EXPECT_EQ(exit, (Exit{.code = 0, .signal = 0}));
  const auto left = world_.leftovers_after_end();
  EXPECT_TRUE(left.empty()) << lines(left);
  daemon_.reset();
}

}  // namespace mstack::test
