// SPDX-License-Identifier: BSD-2-Clause
#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "client.hpp"
#include "lib_fake_server.hpp"
#include "messages.hpp"

namespace mstack {
namespace {

using test::FakeServer;
using test::Peer;

protocol::Uplink attach() {
  protocol::Uplink request = {};
  request.header.type = protocol::Type::attach_uplink;
  return request;
}

// What a client makes of one answer.
Expected<std::vector<Fd>> call_against(const test::Script& script, std::size_t max_descriptors = 0) {
  const FakeServer server({script});
  auto client = Client::connect(server.run_dir());
  if (!client) return std::unexpected(client.error());
  auto request = attach();
  protocol::Reply reply = {};
  auto answer = client->call(request, reply, {}, max_descriptors);
  // Whatever comes after an error would be out of step; after a refusal it is not.
  if (!answer) {
    EXPECT_EQ(client->connected(), answer.error().code == EPERM);
  }
  return answer;
}

int code_of(const Expected<std::vector<Fd>>& answer) {
  return answer ? 0 : answer.error().code;
}

TEST(Client, TakesAnAnswer) {
  EXPECT_TRUE(call_against([](Peer& peer) {
    ASSERT_TRUE(peer.next());
    EXPECT_EQ(peer.size, sizeof(protocol::Uplink));
    EXPECT_EQ(peer.header().version, protocol::version);
    peer.send(peer.answer<protocol::Reply>());
  }));
}

TEST(Client, PassesOnARefusalWithItsText) {
  const auto answer = call_against([](Peer& peer) {
    ASSERT_TRUE(peer.next());
    auto reply = peer.answer<protocol::Reply>();
    reply.error = EPERM;
    Peer::set_text(reply, "only for root; use sudo");
    peer.send(reply);
  });
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, EPERM);
  EXPECT_EQ(answer.error().what, "only for root; use sudo");
}

TEST(Client, SpeaksManyTimesInTurn) {
  const FakeServer server({[](Peer& peer) {
    for (std::uint32_t i = 1; peer.next(); ++i) {
      EXPECT_EQ(peer.header().sequence, i);
      peer.send(peer.answer<protocol::Reply>());
    }
  }});
  auto client = Client::connect(server.run_dir());
  ASSERT_TRUE(client);
  for (int i = 0; i < 100; ++i) {
    auto request = attach();
    protocol::Reply reply = {};
    ASSERT_TRUE(client->call(request, reply));
  }
}

TEST(Client, RefusesMalformedAnswers) {
  const auto answer_with = [](const std::function<void(protocol::Reply&)>& change, std::size_t bytes) {
    return code_of(call_against([&](Peer& peer) {
      ASSERT_TRUE(peer.next());
      auto reply = peer.answer<protocol::Reply>();
      change(reply);
      peer.send(reply, {}, bytes);
    }));
  };
  const auto as_is = [](protocol::Reply&) {};
  for (const std::size_t size : {1u, 15u, 16u, 24u, 215u}) EXPECT_EQ(answer_with(as_is, size), EPROTO) << size;
  EXPECT_EQ(answer_with([](protocol::Reply& reply) { ++reply.header.sequence; }, sizeof(protocol::Reply)), EPROTO);
  EXPECT_EQ(answer_with([](protocol::Reply& reply) { reply.text.fill('a'); }, sizeof(protocol::Reply)), EPROTO);
  EXPECT_EQ(answer_with([](protocol::Reply& reply) { reply.header.version = 9; }, sizeof(protocol::Reply)),
            EPROTONOSUPPORT);
}

TEST(Client, RefusesAnOversizedAnswer) {
  EXPECT_EQ(code_of(call_against([](Peer& peer) {
              ASSERT_TRUE(peer.next());
              peer.send(peer.answer<protocol::OpenVportReply>());
            })),
            EPROTO);
}

TEST(Client, RefusesDescriptorsItDidNotAskFor) {
  const auto script = [](Peer& peer) {
    ASSERT_TRUE(peer.next());
    const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const std::array fds = {null.get(), null.get()};
    peer.send(peer.answer<protocol::Reply>(), fds);
  };
  EXPECT_EQ(code_of(call_against(script, 0)), EPROTO);
  EXPECT_EQ(code_of(call_against(script, 1)), EPROTO);
  const auto answer = call_against(script, 2);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->size(), 2u);
}

TEST(Client, TellsThatTheConnectionEnded) {
  EXPECT_EQ(code_of(call_against([](Peer&) {})), ECONNRESET) << "at once";
  EXPECT_EQ(code_of(call_against([](Peer& peer) { ASSERT_TRUE(peer.next()); })), ECONNRESET) << "after the request";
}

TEST(Client, DoesNotWaitForEver) {
  auto pair = unix_socket::pair();
  ASSERT_TRUE(pair);
  Client client(std::move(pair->first), std::chrono::milliseconds(1));
  auto request = attach();
  protocol::Reply reply = {};
  EXPECT_EQ(code_of(client.call(request, reply)), ETIMEDOUT);
  EXPECT_FALSE(client.connected());
  EXPECT_EQ(code_of(client.call(request, reply)), ECONNRESET);
}

TEST(Client, SaysWhereItLookedForMstackd) {
  const auto client = Client::connect("/nonexistent/mstack-test");
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().code, ENOENT);
  EXPECT_EQ(client.error().what,
            "no mstackd at /nonexistent/mstack-test/mstackd.sock: No such file or directory; start mstackd, or set "
            "MSTACK_RUN_DIR");
}

TEST(Client, SaysThatASocketIsLeftOver) {
  std::string directory;
  std::optional<FakeServer> server(std::in_place, std::vector<test::Script>{[](Peer&) {}});
  directory = server->run_dir();
  const std::string copy = directory + "-kept";
  std::filesystem::rename(directory, copy);
  server.reset();
  const auto client = Client::connect(copy);
  std::filesystem::remove_all(copy);
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().code, ECONNREFUSED);
}

}  // namespace
}  // namespace mstack
