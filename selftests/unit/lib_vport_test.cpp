// SPDX-License-Identifier: BSD-2-Clause
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "control.hpp"
#include "lib_fake_server.hpp"
#include "mstack/vport.hpp"

namespace mstack {
namespace {

using test::FakeServer;
using test::Peer;

Fd some_socket() {
  return Fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

Fd memory(std::size_t size) {
  Fd fd(::memfd_create("umem", MFD_CLOEXEC));
  EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
  return fd;
}

protocol::OpenVportReply granted(const Peer& peer) {
  const auto request = peer.as<protocol::OpenVport>();
  auto reply = peer.answer<protocol::OpenVportReply>();
  reply.vport = 3;
  reply.queues = request.queues;
  reply.frames = request.frames;
  reply.frame_size = request.frame_size;
  reply.ring_size = request.ring_size;
  reply.mtu = 1500;
  reply.slot = 1;
  return reply;
}

int open_against(const test::Script& script, VportOptions options = {}) {
  const FakeServer server({script});
  options.run_dir = server.run_dir();
  const auto vport = Vport::open(options);
  EXPECT_FALSE(vport);
  return vport ? 0 : vport.error().code;
}

TEST(VportOpen, RefusesOptionsOutOfTheirLimitsItself) {
  const VportOptions wrong[] = {{.queues = 0},        {.queues = 17},
                                {.frames = 0},        {.frames = 32},
                                {.frames = 100},      {.frames = 1u << 19},
                                {.frame_size = 0},    {.frame_size = 1024},
                                {.frame_size = 3000}, {.frame_size = 8192},
                                {.ring_size = 32},    {.ring_size = 100},
                                {.ring_size = 8192},  {.frames = 64, .ring_size = 128}};
  for (VportOptions options : wrong) {
    options.run_dir = "/nonexistent/mstack-test";
    const auto vport = Vport::open(options);
    ASSERT_FALSE(vport);
    EXPECT_EQ(vport.error().code, EINVAL) << vport.error().what;
  }
  for (VportOptions options : {VportOptions{}, VportOptions{.queues = 16, .frames = 64, .frame_size = 4096},
                               VportOptions{.frames = 1u << 18, .ring_size = 1u << 18}}) {
    options.run_dir = "/nonexistent/mstack-test";
    EXPECT_EQ(Vport::open(options).error().code, ENOENT);
  }
}

TEST(VportOpen, AsksForWhatTheOptionsSay) {
  EXPECT_EQ(open_against(
                [](Peer& peer) {
                  ASSERT_TRUE(peer.next());
                  const auto request = peer.as<protocol::OpenVport>();
                  EXPECT_EQ(peer.size, sizeof(request));
                  EXPECT_EQ(request.queues, 4u);
                  EXPECT_EQ(request.frames, 1024u);
                  EXPECT_EQ(request.frame_size, 4096u);
                  EXPECT_EQ(request.ring_size, 512u);
                  EXPECT_EQ(request.flags, std::uint32_t{MSTACK_VPORT_THROUGHPUT});
                  auto reply = peer.answer<protocol::Reply>();
                  reply.error = EDQUOT;
                  peer.send(reply);
                },
                {.queues = 4, .frames = 1024, .frame_size = 4096, .throughput = true}),
            EDQUOT);
}

TEST(VportOpen, RefusesAWrongNumberOfDescriptors) {
  for (const std::size_t count : {0u, 1u, 2u, 4u, 5u})
    EXPECT_EQ(open_against(
                  [&](Peer& peer) {
                    ASSERT_TRUE(peer.next());
                    const Fd umem = memory(2 * 4096 * 2048);
                    const std::vector<int> fds(count, umem.get());
                    peer.send(granted(peer), fds);
                  },
                  {.queues = 2}),
              EPROTO)
        << count;
}

TEST(VportOpen, RefusesDescriptorsThatAreNotWhatTheyShouldBe) {
  const auto with = [](const Fd& umem, const Fd& socket) {
    return open_against([&](Peer& peer) {
      ASSERT_TRUE(peer.next());
      const std::array fds = {umem.get(), socket.get()};
      peer.send(granted(peer), fds);
    });
  };
  EXPECT_EQ(with(memory(4096 * 2048), some_socket()), EPROTO) << "not AF_XDP";
  EXPECT_EQ(with(memory(4096 * 2048), memory(1)), EPROTO) << "not a socket";
  EXPECT_EQ(with(memory(4096 * 2048 - 1), some_socket()), EPROTO) << "a UMEM that is too small";
  EXPECT_EQ(with(some_socket(), some_socket()), EPROTO) << "a UMEM that is no file";
}

TEST(VportOpen, RefusesOtherSizesThanItAskedFor) {
  const std::function<void(protocol::OpenVportReply&)> changes[] = {
      [](auto& reply) { reply.queues = 2; },        [](auto& reply) { reply.frames = 1u << 31; },
      [](auto& reply) { reply.frame_size = 4096; }, [](auto& reply) { reply.ring_size = 4096; },
      [](auto& reply) { reply.slot = 0; },          [](auto& reply) { reply.mtu = 9000; }};
  for (const auto& change : changes)
    EXPECT_EQ(open_against([&](Peer& peer) {
                ASSERT_TRUE(peer.next());
                auto reply = granted(peer);
                change(reply);
                const Fd umem = memory(4096 * 2048), socket = some_socket();
                const std::array fds = {umem.get(), socket.get()};
                peer.send(reply, fds);
              }),
              EPROTO);
}

// The control connection by itself, over a server that answers claims.
class ControlTest : public testing::Test {
 protected:
  static void grant(Peer& peer) {
    auto reply = peer.answer<protocol::TuplesReply>();
    reply.count = static_cast<std::uint32_t>(peer.descriptors.size());
    for (std::size_t i = 0; i < peer.descriptors.size(); ++i)
      reply.results[i].tuple = protocol::to_wire(*udp("192.0.2.1", static_cast<std::uint16_t>(1000 + i)));
    peer.send(reply);
  }
  static std::unique_ptr<detail::Control> control(const FakeServer& server) {
    auto client = Client::connect(server.run_dir());
    EXPECT_TRUE(client);
    return std::make_unique<detail::Control>(server.run_dir(), std::move(*client), 42, some_socket());
  }
  const Fd socket = some_socket();
  const std::array<int, 2> two = {socket.get(), socket.get()};
};

TEST_F(ControlTest, ClaimsInBatches) {
  const FakeServer server({[](Peer& peer) {
    while (peer.next()) {
      EXPECT_EQ(peer.as<protocol::Claim>().count, peer.descriptors.size());
      grant(peer);
    }
  }});
  const auto connection = control(server);
  for (const std::size_t count : {1u, 2u, 250u}) {
    const std::vector<int> sockets(count, socket.get());
    const auto results = connection->claim(sockets);
    ASSERT_TRUE(results);
    ASSERT_EQ(results->size(), count);
    EXPECT_EQ(*results->back(), *udp("192.0.2.1", static_cast<std::uint16_t>(999 + count)));
  }
}

TEST_F(ControlTest, GivesEachDescriptorItsOwnResult) {
  const FakeServer server({[](Peer& peer) {
    ASSERT_TRUE(peer.next());
    auto reply = peer.answer<protocol::TuplesReply>();
    reply.count = 2;
    reply.results[0].tuple = protocol::to_wire(*udp("192.0.2.1", 1));
    reply.results[1].error = EADDRINUSE;
    reply.reply.error = EADDRINUSE;
    Peer::set_text(reply.reply, "claimed by vport 9");
    peer.send(reply);
  }});
  const auto results = control(server)->claim(two);
  ASSERT_TRUE(results);
  EXPECT_EQ((*results)[0], *udp("192.0.2.1", 1));
  ASSERT_FALSE((*results)[1]);
  EXPECT_EQ((*results)[1].error().code, EADDRINUSE);
  EXPECT_EQ((*results)[1].error().what, "claimed by vport 9");
}

TEST_F(ControlTest, RefusesAWrongNumberOfResults) {
  for (const std::uint32_t count : {1u, 3u, 251u, 0xffffffffu}) {
    const FakeServer server({[&](Peer& peer) {
      ASSERT_TRUE(peer.next());
      auto reply = peer.answer<protocol::TuplesReply>();
      reply.count = count;
      for (auto& result : reply.results) result.tuple.protocol = 17;
      peer.send(reply);
    }});
    const auto results = control(server)->claim(two);
    ASSERT_FALSE(results) << count;
    EXPECT_EQ(results.error().code, EPROTO);
  }
}

TEST_F(ControlTest, TakesTheVportBackAfterARestart) {
  const FakeServer server({[](Peer& peer) { ASSERT_TRUE(peer.next()); },  // and ends without a word
                           [](Peer& peer) {
                             ASSERT_TRUE(peer.next());
                             EXPECT_EQ(peer.header().type, protocol::Type::resume_vport);
                             EXPECT_EQ(peer.as<protocol::ResumeVport>().vport, 42u);
                             EXPECT_EQ(peer.descriptors.size(), 1u);
                             peer.send(peer.answer<protocol::Reply>());
                             ASSERT_TRUE(peer.next());
                             EXPECT_EQ(peer.header().type, protocol::Type::claim);
                             EXPECT_EQ(peer.as<protocol::Claim>().flags, protocol::claim_repeated);
                             EXPECT_EQ(peer.descriptors.size(), 2u);
                             grant(peer);
                           }});
  const auto results = control(server)->claim(two);
  ASSERT_TRUE(results) << results.error().what;
  EXPECT_TRUE((*results)[0] && (*results)[1]);
}

TEST_F(ControlTest, TriesOnceOnly) {
  const FakeServer server({[](Peer& peer) { peer.next(); },
                           [](Peer& peer) {
                             ASSERT_TRUE(peer.next());
                             peer.send(peer.answer<protocol::Reply>());
                             ASSERT_TRUE(peer.next());
                           },
                           [](Peer&) { ADD_FAILURE() << "a third connection"; }});
  const auto connection = control(server);
  const auto results = connection->claim(two);
  ASSERT_FALSE(results);
  EXPECT_EQ(results.error().code, ECONNRESET);
}

TEST_F(ControlTest, SaysWhyTheVportCannotBeTakenBack) {
  const FakeServer server({[](Peer& peer) { peer.next(); },
                           [](Peer& peer) {
                             ASSERT_TRUE(peer.next());
                             auto reply = peer.answer<protocol::Reply>();
                             reply.error = ENOENT;
                             Peer::set_text(reply, "no such vport");
                             peer.send(reply);
                           }});
  const auto released = control(server)->release(*udp("192.0.2.1", 1));
  ASSERT_FALSE(released);
  EXPECT_EQ(released.error().code, ENOENT);
  EXPECT_EQ(released.error().what, "cannot take vport 42 back: no such vport");
}

TEST_F(ControlTest, IsOverAfterClose) {
  const FakeServer server({[](Peer& peer) { EXPECT_FALSE(peer.next()); }});
  const auto connection = control(server);
  connection->close();
  EXPECT_EQ(connection->release(*udp("192.0.2.1", 1)).error().code, ENOTCONN);
  EXPECT_EQ(connection->claim(two).error().code, ENOTCONN);
}

TEST_F(ControlTest, TakesTurnsBetweenThreads) {
  const FakeServer server({[](Peer& peer) {
    while (peer.next()) grant(peer);
  }});
  const auto connection = control(server);
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int call = 0; call < 50; ++call) EXPECT_TRUE(connection->claim(two));
    });
}

}  // namespace
}  // namespace mstack
