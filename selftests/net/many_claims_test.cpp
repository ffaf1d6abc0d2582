// SPDX-License-Identifier: BSD-2-Clause
//
// A client stack may own thousands of local ports.
#include <gtest/gtest.h>

#include <array>
#include <set>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

const Endpoint remote{wire4, 4000};

class ManyClaims : public NetTest {
 protected:
  std::vector<Fd> sockets(int protocol, std::size_t count, const std::string& address = host4) const {
    return as_user(alice, [&] {
      std::vector<Fd> out;
      for (std::size_t i = 0; i < count; ++i) out.push_back(bound(protocol, {address, 0}));
      return out;
    });
  }
  static std::vector<int> numbers(const std::vector<Fd>& sockets) {
    std::vector<int> out;
    out.reserve(sockets.size());
    for (const auto& socket : sockets) out.push_back(socket.get());
    return out;
  }
};

TEST_F(ManyClaims, AFullMessage) {
  const RawClient client = raw_client();
  ASSERT_EQ(client.open_vport().error(), 0);
  auto owners = sockets(IPPROTO_UDP, protocol::max_descriptors);
  const auto reply = client.claim(numbers(owners)).as<protocol::TuplesReply>();
  EXPECT_EQ(reply.reply.error, 0) << reply.reply.text.data();
  ASSERT_EQ(reply.count, protocol::max_descriptors);
  for (std::size_t i = 0; i < owners.size(); ++i) {
    EXPECT_EQ(reply.results[i].error, 0);
    EXPECT_TRUE(same(reply.results[i].tuple, tuple(IPPROTO_UDP, local_endpoint(owners[i].get()))));
  }
  EXPECT_EQ(pins().claims().size(), protocol::max_descriptors);
  EXPECT_EQ(pins().gate_sum(), protocol::max_descriptors);
  // In one message too, and not all of them: the order of the results is that of the tuples.
  std::array<mstack_tuple, 3> some{reply.results[5].tuple, tuple(IPPROTO_UDP, {host4, 1}), reply.results[7].tuple};
  const auto released = client.release(some).as<protocol::TuplesReply>();
  ASSERT_EQ(released.count, 3U);
  EXPECT_EQ(released.results[0].error, 0);
  EXPECT_NE(released.results[1].error, 0);
  EXPECT_EQ(released.results[2].error, 0);
  EXPECT_EQ(pins().claims().size(), protocol::max_descriptors - 2);
  owners.clear();
  EXPECT_TRUE(pins().claims().empty());
}

TEST_F(ManyClaims, ThousandsOfPorts) {
  constexpr std::size_t count = 4000;
  Stack stack(world());
  auto owners = sockets(IPPROTO_UDP, count);
  {
    const auto claims = stack.try_claim_all(numbers(owners));
    ASSERT_EQ(claims.size(), count);
    for (std::size_t i = 0; i < count; ++i) {
      ASSERT_TRUE(claims[i]) << claims[i].error().what;
      EXPECT_EQ(claims[i]->tuple().port, local_endpoint(owners[i].get()).port);
    }
  }
  EXPECT_EQ(pins().claims().size(), count);
  for (std::size_t i = 0; i < count; i += 97) {
    const Endpoint to = local_endpoint(owners[i].get());
    world().send(World::udp(remote, to, std::to_string(i)));
    const auto got = stack.receive(udp_payload(std::to_string(i)));
    ASSERT_TRUE(got) << i;
    EXPECT_EQ(got->to, to);
  }
  // Every second one goes; the others stay.
  for (std::size_t i = 0; i < count; i += 2) owners[i].reset();
  EXPECT_EQ(pins().claims().size(), count / 2);
  EXPECT_EQ(pins().gate_sum(), count / 2);
  EXPECT_EQ(pins().slot_claims_sum(), count / 2);
  EXPECT_TRUE(pins().claimed(IPPROTO_UDP, local_endpoint(owners[1].get())));
}

TEST_F(ManyClaims, EphemeralPortsAreTold) {
  Stack stack(world());
  std::vector<Claim> claims;
  std::set<std::uint16_t> ports;
  for (const int protocol : {IPPROTO_UDP, IPPROTO_TCP}) {
    for (const auto& address : {host4, host6, std::string("0.0.0.0"), std::string("::")}) {
      claims.push_back(stack.claim(protocol, {address, 0}));
      const auto& claim = claims.back();
      EXPECT_NE(claim.tuple().port, 0);
      EXPECT_EQ(claim.tuple().port, local_endpoint(claim.fd()).port);
      EXPECT_TRUE(pins().claimed(protocol, {address, claim.tuple().port}));
    }
  }
}

TEST_F(ManyClaims, ReleasedWithoutClosing) {
  Stack stack(world());
  const Endpoint service{host4, 7000};
  const Fd socket = bound_as(alice, IPPROTO_UDP, service);
  for (int round = 0; round < 20; ++round) {
    Claim claim = stack.claim(socket);
    world().send(World::udp(remote, service, "to the stack"));
    ASSERT_TRUE(stack.receive(udp_payload("to the stack")));
    EXPECT_FALSE(pending(socket.get()));
    const auto released = stack.try_release(claim);
    ASSERT_TRUE(released) << released.error().what;
    EXPECT_TRUE(pins().claims().empty());
    // The socket is as good as before: the kernel's stack serves it.
    world().send(World::udp(remote, service, "to the socket"));
    const auto got = receive_from(socket.get());
    ASSERT_TRUE(got);
    EXPECT_EQ(got->payload, "to the socket");
    EXPECT_EQ(stack.seen().size(), static_cast<std::size_t>(round) + 1);
    // And the stack sends from it no more.
    stack.send(World::udp(service, remote, "too late"));
  }
  EXPECT_EQ(pins().counter(MSTACK_TX_DROP_UNCLAIMED), 20U);
}

TEST_F(ManyClaims, AReleasedTupleMayGoToAnotherVport) {
  Stack first(world(), alice), second(world(), alice);
  const Endpoint service{host4, 7000};
  const Fd socket = bound_as(alice, IPPROTO_UDP, service);
  Claim claim = first.claim(socket);
  EXPECT_FALSE(second.try_claim(socket));
  ASSERT_TRUE(first.try_release(claim));
  const Claim next = second.claim(socket);
  // A release by who had it once does not take it from who has it now.
  EXPECT_TRUE(first.try_release(claim)) << "what is released already needs nothing more";
  EXPECT_TRUE(pins().claimed(IPPROTO_UDP, service));
  world().send(World::udp(remote, service, "second"));
  EXPECT_TRUE(second.receive(udp_payload("second")));
  EXPECT_TRUE(first.seen().empty());
}

}  // namespace
}  // namespace mstack::test
