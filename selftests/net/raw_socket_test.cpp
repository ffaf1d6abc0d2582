// SPDX-License-Identifier: BSD-2-Clause
//
// AF_XDP sockets of somebody else's, root's, on queues of the uplink itself: a DPDK program, say. MultiStack's own are
// on veths. Such a socket gets what an XDP program gives it, and the uplink's is MultiStack's; but it changes what
// memory the driver receives into, which with zero-copy is the socket's.
#include <gtest/gtest.h>

#include <cstdlib>
#include <list>
#include <system_error>

#include "bpf/xsk.hpp"
#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

struct Kind {
  const char* name;
  const char* xdp_mode;
  std::uint16_t flag;  // of the sockets
};

class RawSockets : public NetTest, public ::testing::WithParamInterface<Kind> {
 protected:
  RawSockets() : NetTest({.queues = 2}) {}
  void SetUp() override { start({.arguments = {}, .xdp_mode = GetParam().xdp_mode, .environment = {}}); }

  // On the uplink's next queue. The errno, or 0.
  int bind_next() {
    try {
      world().host().run(
          [&] { sockets_.emplace_back(uplink, static_cast<std::uint32_t>(sockets_.size()), GetParam().flag); });
      EXPECT_EQ(sockets_.back().zero_copy(), GetParam().flag == XDP_ZEROCOPY);
      return 0;
    } catch (const std::system_error& error) {
      return error.code().value();
    }
  }

  // Enough flows that a NIC which spreads them uses all its queues, more packets than the sockets have frames.
  void expect_traffic(Stack& stack, const Endpoint& service, const Fd& server) {
    const auto capture = world().capture();
    for (int flow = 0; flow < 48; ++flow) {
      const std::string name = std::to_string(sockets_.size()) + " sockets, flow " + std::to_string(flow);
      const Endpoint remote{service.ipv6() ? wire6 : wire4, static_cast<std::uint16_t>(10000 + flow)};
      world().send(World::udp(remote, service, name));
      ASSERT_TRUE(stack.receive(udp_payload(name))) << name;
      stack.send(World::udp(service, remote, "answer, " + name));
      ASSERT_TRUE(capture->wait(udp_payload("answer, " + name))) << name;
      world().send(World::udp(remote, local_endpoint(server.get()), name));
      const auto got = receive_from(server.get());
      ASSERT_TRUE(got) << name;
      EXPECT_EQ(got->payload, name);
    }
  }

  std::list<bpf_test::Xsk> sockets_;
};

INSTANTIATE_TEST_SUITE_P(Modes, RawSockets,
                         ::testing::Values(Kind{"native_copying", "native", XDP_COPY},
                                           Kind{"native_zero_copy", "native", XDP_ZEROCOPY},
                                           Kind{"generic_copying", "generic", XDP_COPY}),
                         [](const auto& chosen) { return std::string(chosen.param.name); });

// One more queue after the other, until all have one, and then one less after the other.
TEST_P(RawSockets, OnAnyQueuesOfTheUplinkChangeNothing) {
  Stack stack(world());
  const Endpoint service{host4, 7000};
  const Claim claim = stack.claim(IPPROTO_UDP, service);
  const Fd server = bound_as(bob, IPPROTO_UDP, {host4, 7001});
  int error = bind_next();
  if (GetParam().flag == XDP_ZEROCOPY && error == EOPNOTSUPP && std::getenv("MSTACK_TEST_ZERO_COPY") == nullptr)
    GTEST_SKIP() << "the uplink's driver has no AF_XDP without copying: " << std::generic_category().message(error);
  for (; error == 0; error = bind_next()) expect_traffic(stack, service, server);
  EXPECT_EQ(error, EINVAL) << "not for want of queues: " << std::generic_category().message(error);
  EXPECT_GE(sockets_.size(), 1U);
  // No packet is theirs.
  for (const bpf_test::Xsk& socket : sockets_) EXPECT_FALSE(wait_for(socket.fd(), POLLIN, Deadline{0ms}));
  while (!sockets_.empty()) {
    sockets_.pop_front();
    expect_traffic(stack, service, server);
  }
}

}  // namespace
}  // namespace mstack::test
