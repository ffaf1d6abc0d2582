// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <gtest/gtest.h>

#include <optional>

#include "support/raw_client.hpp"
#include "support/world.hpp"

namespace mstack::test {

// A world with a running mstackd. At the end of each test, when all that the test made is closed, mstackd must be alive
// with no descriptor more than at its start, nothing may be left of any client, and a SIGTERM must end it cleanly.
class NetTest : public ::testing::Test {
 protected:
  explicit NetTest(const WorldOptions& options = {}) : world_(options) {}

  void SetUp() override { start(); }
  void TearDown() override;

  void start(const DaemonOptions& options = {});
  // SIGKILL; the next start(), or TearDown(), takes over what it leaves.
  void crash();
  void restart(const DaemonOptions& options = {}) {
    crash();
    start(options);
  }
  // mstackd is alive, and by now nothing is left of any client in the maps, on the host or in mstackd.
  void expect_idle();

  const World& world() const { return world_; }
  Daemon& daemon() { return *daemon_; }
  Pins pins() const { return world_.pins(); }

  // In the host namespace, as that uid.
  template <typename Body>
  auto as_user(uid_t uid, Body&& body) const {
    return as({.netns = &world_.host(), .uid = uid}, std::forward<Body>(body));
  }
  RawClient raw_client(uid_t uid = alice) const {
    return as_user(uid, [&] { return RawClient{world_.run_dir()}; });
  }
  Fd bound_as(uid_t uid, int protocol, const Endpoint& endpoint, const BindOptions& options = {}) const {
    return as_user(uid, [&] { return bound(protocol, endpoint, options); });
  }

 private:
  World world_;
  std::optional<Daemon> daemon_;
  std::size_t idle_descriptors_ = 0;
};

}  // namespace mstack::test
