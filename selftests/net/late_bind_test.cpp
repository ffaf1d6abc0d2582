// SPDX-License-Identifier: BSD-2-Clause
//
// Linux before 6.4 maps no rings of a bound AF_XDP socket, so there a client has its sockets for a moment before they
// are bound. What could it do with them?
#include <gtest/gtest.h>
#include <linux/if_xdp.h>
#include <sys/socket.h>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

class LateBind : public NetTest {
 protected:
  struct Opened {
    protocol::OpenVportReply reply;
    std::vector<Fd> fds;  // packet memory, then sockets
    [[nodiscard]] bool bound() const { return (reply.flags & protocol::open_reply_unbound) == 0; }
  };
  static Opened open(const RawClient& client, std::uint32_t queues = 1) {
    auto answer = client.ask(RawClient::open_request(queues));
    EXPECT_EQ(answer.error(), 0) << answer.text();
    return {.reply = answer.as<protocol::OpenVportReply>(), .fds = std::move(answer.fds)};
  }
  static int ask_to_bind(const RawClient& client) {
    return client.ask(protocol::BindVport{.header = RawClient::header(protocol::Type::bind_vport)}).error();
  }
  static int bind_itself(const Fd& xsk, std::uint32_t ifindex) {
    sockaddr_xdp address{};
    address.sxdp_family = AF_XDP;
    address.sxdp_flags = XDP_COPY;
    address.sxdp_ifindex = ifindex;
    return ::bind(xsk.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ? 0 : errno;
  }
};

#define SKIP_IF_BOUND(opened) \
  if ((opened).bound()) GTEST_SKIP() << "this kernel maps the rings of bound sockets: clients get no others"

TEST_F(LateBind, ThereIsNothingToBind) {
  const RawClient client = raw_client();
  EXPECT_EQ(ask_to_bind(client), ENODEV);
  const Opened opened = open(client);
  EXPECT_EQ(ask_to_bind(client), opened.bound() ? ENODEV : 0);
  EXPECT_EQ(ask_to_bind(client), ENODEV);
  EXPECT_EQ(pins().vports().size(), 1U);
}

// On every kernel: what a client has once it can claim is bound, and can be bound no further.
TEST_F(LateBind, ABoundSocketIsBoundNoFurther) {
  const RawClient client = raw_client();
  const Opened opened = open(client, 2);
  if (!opened.bound()) {
    ASSERT_EQ(ask_to_bind(client), 0);
  }
  for (std::uint32_t queue = 0; queue < 2; ++queue)
    for (std::uint32_t ifindex = 1; ifindex < MSTACK_MAX_SLOTS; ++ifindex)
      EXPECT_NE(bind_itself(opened.fds.at(1 + queue), ifindex), 0) << "interface " << ifindex;
}

TEST_F(LateBind, AnUnboundVportOwnsNothing) {
  const RawClient client = raw_client();
  const Opened opened = open(client);
  SKIP_IF_BOUND(opened);
  const Fd socket = bound_as(alice, IPPROTO_UDP, {host4, 7000});
  EXPECT_EQ(client.claim(socket.get()).error(), ENODEV);
  const mstack_tuple tuples[] = {tuple(IPPROTO_UDP, {host4, 7000})};
  EXPECT_EQ(client.release(tuples).error(), ENODEV);
  EXPECT_TRUE(pins().vports().empty());
  EXPECT_EQ(client.ask(RawClient::open_request()).error(), EEXIST);
  EXPECT_EQ(ask_to_bind(client), 0);
  EXPECT_EQ(client.claim(socket.get()).error(), 0);
}

TEST_F(LateBind, AnUnboundSocketReachesNoOtherVport) {
  Stack victim(world());
  const RawClient client = raw_client(bob);
  const Opened opened = open(client, 2);
  SKIP_IF_BOUND(opened);
  const std::uint32_t own = opened.reply.slot;
  for (std::uint32_t ifindex = 2; ifindex < MSTACK_MAX_SLOTS; ++ifindex)
    if (ifindex != own && ifindex != own + 1) {
      EXPECT_EQ(bind_itself(opened.fds.at(1), ifindex), ENODEV) << "interface " << ifindex;
    }
  EXPECT_EQ(ask_to_bind(client), 0);
}

TEST_F(LateBind, WhoBindsItselfLosesTheVport) {
  for (const std::uint32_t queue : {0U, 1U}) {
    const RawClient client = raw_client();
    const Opened opened = open(client, 2);
    SKIP_IF_BOUND(opened);
    // To its own stack end, or with the queues the wrong way round.
    EXPECT_EQ(bind_itself(opened.fds.at(1 + queue), opened.reply.slot), 0);
    EXPECT_NE(ask_to_bind(client), 0);
    EXPECT_EQ(ask_to_bind(client), ENODEV);
    EXPECT_TRUE(pins().vports().empty());
    EXPECT_EQ(open(client).bound(), false) << "the connection is as good as new";
  }
}

TEST_F(LateBind, WhoLeavesBeforeLeavesNothing) {
  const RawClient client = raw_client();
  const Opened opened = open(client, 4);
  SKIP_IF_BOUND(opened);
  RawClient other = raw_client();
  (void)open(other, 4);
  other.close();
}

// Slots and memory of who keeps the sockets of a vport that never was are not given to anybody else.
TEST_F(LateBind, WhoKeepsUnboundSocketsKeepsTheirQuota) {
  RawClient client = raw_client();
  Opened opened = open(client);
  SKIP_IF_BOUND(opened);
  const std::uint32_t slot = opened.reply.slot;
  client.close();
  const RawClient next = raw_client();
  EXPECT_NE(open(next).reply.slot, slot);
  opened.fds.clear();
}

}  // namespace
}  // namespace mstack::test
