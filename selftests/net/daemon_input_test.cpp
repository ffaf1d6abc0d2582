// SPDX-License-Identifier: BSD-2-Clause
//
// Clients that say what no client should. Each test ends as all do: mstackd alive, nothing left, no descriptor more.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <random>

#include "support/fixture.hpp"

namespace mstack::test {
namespace {

using protocol::Type;

class DaemonInput : public NetTest {
 protected:
  template <typename Message>
  static std::vector<std::uint8_t> bytes_of(const Message& message) {
    const auto* data = reinterpret_cast<const std::uint8_t*>(&message);
    return {data, data + sizeof(message)};
  }

  // What is malformed ends the connection, and only that connection.
  void expect_ended(const std::vector<std::uint8_t>& bytes, std::span<const int> fds = {}) {
    const RawClient bystander = raw_client(bob);
    const RawClient client = raw_client();
    const int error = client.send(bytes, fds);
    EXPECT_TRUE(error == 0 || error == EPIPE || error == ECONNRESET) << error;
    // It may be told why before that.
    std::optional<RawClient::Answer> answer = client.receive();
    if (answer) {
      EXPECT_NE(answer->error(), 0);
      EXPECT_TRUE(answer->fds.empty());
      EXPECT_TRUE(client.ends());
    }
    EXPECT_EQ(bystander.open_vport().error(), 0);
  }
};

TEST_F(DaemonInput, EveryTruncationOfEveryRequest) {
  const auto all = {
      bytes_of(RawClient::open_request()), bytes_of(protocol::BindVport{.header = RawClient::header(Type::bind_vport)}),
      bytes_of(protocol::ResumeVport{.header = RawClient::header(Type::resume_vport), .vport = 1, .zero = 0}),
      bytes_of(protocol::Claim{.header = RawClient::header(Type::claim), .count = 0, .flags = 0}),
      bytes_of(protocol::Uplink{.header = RawClient::header(Type::attach_uplink),
                                .name = {'u', 'p', '0'},
                                .mode = protocol::XdpMode::automatic,
                                .flags = 0})};
  for (const auto& whole : all) {
    for (std::size_t size = 1; size < whole.size(); ++size) {
      const RawClient client = raw_client();
      ASSERT_EQ(client.send({whole.data(), size}), 0);
      EXPECT_FALSE(client.receive()) << size << " bytes of a message are answered";
    }
  }
}

TEST_F(DaemonInput, TruncatedRelease) {
  const auto whole = bytes_of(protocol::Release{
      .header = RawClient::header(Type::release), .count = protocol::max_descriptors, .zero = 0, .tuples = {}});
  for (const std::size_t size : {16UL, 23UL, 24UL, 44UL, whole.size() - 20, whole.size() - 1}) {
    expect_ended({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)});
  }
}

TEST_F(DaemonInput, Oversized) {
  for (const std::size_t extra : {1UL, 8UL, 4096UL, 60000UL, 150000UL}) {
    auto bytes = bytes_of(RawClient::open_request());
    bytes.resize(bytes.size() + extra);
    expect_ended(bytes);
  }
}

// A message of no bytes is what the end of a connection looks like to recvmsg().
TEST_F(DaemonInput, Empty) {
  const RawClient client = raw_client();
  EXPECT_EQ(client.send({}), 0);
  EXPECT_TRUE(client.ends());
  const Fd event{::eventfd(0, EFD_CLOEXEC)};
  const int fd = event.get();
  const RawClient with_descriptor = raw_client();
  EXPECT_EQ(with_descriptor.send({}, {&fd, 1}), 0);
  EXPECT_TRUE(with_descriptor.ends());
}

TEST_F(DaemonInput, Random) {
  std::mt19937 random(20240901);  // the same on every run, so that a failure can be had again
  for (int round = 0; round < 400; ++round) {
    std::vector<std::uint8_t> bytes(1 + random() % 6000);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
    // Half of them get far enough to be taken for a request of some type.
    if (round % 2 == 0 && bytes.size() >= sizeof(protocol::Header)) {
      const auto header = RawClient::header(static_cast<Type>(random() % 8));
      std::memcpy(bytes.data(), &header, sizeof(header));
      if (const auto size = protocol::request_size(header.type); size != 0) bytes.resize(size);
    }
    const RawClient client = raw_client();
    ASSERT_EQ(client.send(bytes), 0);
    const auto answer = client.receive();
    if (answer && answer->error() == 0) {
      // Nothing random is worth a vport but an open_vport that happens to be right.
      EXPECT_EQ(answer->reply().header.type, Type::open_vport);
    }
  }
  ASSERT_TRUE(daemon().running());
}

TEST_F(DaemonInput, UnknownVersionIsToldWhichOneIsSpoken) {
  for (const std::uint32_t version : {0U, protocol::version - 1, protocol::version + 1, 0xffffffffU}) {
    auto request = RawClient::open_request();
    request.header.version = version;
    const RawClient client = raw_client();
    ASSERT_EQ(client.send(request), 0);
    const auto answer = client.receive();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->error(), EPROTONOSUPPORT) << answer->text();
    EXPECT_NE(answer->text().find("version"), std::string::npos) << answer->text();
    EXPECT_TRUE(client.ends());
  }
}

TEST_F(DaemonInput, UnknownType) {
  for (const std::uint32_t type : {0U, 8U, 0x80000000U}) {
    for (const std::size_t size : {sizeof(protocol::Header), sizeof(protocol::OpenVport), sizeof(protocol::Release)}) {
      std::vector<std::uint8_t> bytes(size);
      const auto header = RawClient::header(static_cast<Type>(type));
      std::memcpy(bytes.data(), &header, sizeof(header));
      expect_ended(bytes);
    }
  }
}

TEST_F(DaemonInput, NumbersOutOfRange) {
  const auto refused = [&](auto change) {
    auto request = RawClient::open_request();
    change(request);
    const RawClient client = raw_client();
    ASSERT_EQ(client.send(request), 0);
    const auto answer = client.receive();
    if (!answer) return;
    EXPECT_NE(answer->error(), 0);
    EXPECT_TRUE(answer->fds.empty());
    EXPECT_FALSE(answer->text().empty());
  };
  for (const std::uint32_t value : {0U, 17U, 0x80000000U, 0xffffffffU}) {
    refused([&](auto& request) { request.queues = value; });
  }
  for (const std::uint32_t value : {0U, 1U, 63U, 65U, 100U, 1U << 19, 0x80000000U, 0xffffffffU}) {
    refused([&](auto& request) { request.frames = value; });
  }
  for (const std::uint32_t value : {0U, 1U, 1024U, 2047U, 4095U, 8192U, 0xffffffffU}) {
    refused([&](auto& request) { request.frame_size = value; });
  }
  for (const std::uint32_t value : {0U, 1U, 63U, 65U, 128U, 0xffffffffU}) {
    refused([&](auto& request) { request.ring_size = value; });  // at most the 64 frames
  }
  for (const std::uint32_t value : {4U, 0x80000000U, 0xffffffffU}) {
    refused([&](auto& request) { request.flags = value; });
  }
  refused([&](auto& request) { request.zero = 1; });
  refused([&](auto& request) { request.header.zero = 1; });
}

TEST_F(DaemonInput, WrongDescriptorCounts) {
  std::vector<Fd> events;
  std::vector<int> fds;
  for (int i = 0; i < 253; ++i) fds.push_back(events.emplace_back(::eventfd(0, EFD_CLOEXEC)).get());
  const std::span<const int> all{fds};
  const auto claim = [&](std::uint32_t count, std::size_t sent) {
    SCOPED_TRACE(testing::Message() << "count " << count << ", sent " << sent);
    expect_ended(bytes_of(protocol::Claim{.header = RawClient::header(Type::claim), .count = count, .flags = 0}),
                 all.first(sent));
  };
  claim(0, 0);
  claim(0, 1);
  claim(1, 0);
  claim(1, 2);
  claim(2, 1);
  claim(250, 249);
  claim(250, 251);
  claim(251, 251);
  claim(253, 253);
  claim(0xffffffff, 1);
  claim(0x80000001, 1);
  expect_ended(bytes_of(RawClient::open_request()), all.first(1));
  expect_ended(bytes_of(RawClient::open_request()), all.first(253));
  const protocol::ResumeVport resume{.header = RawClient::header(Type::resume_vport), .vport = 1, .zero = 0};
  expect_ended(bytes_of(resume), all.first(0));
  expect_ended(bytes_of(resume), all.first(2));
  for (const std::uint32_t count : {251U, 0x80000000U, 0xffffffffU}) {
    expect_ended(bytes_of(
        protocol::Release{.header = RawClient::header(Type::release), .count = count, .zero = 0, .tuples = {}}));
  }
}

TEST_F(DaemonInput, ASecondVportOnOneConnection) {
  const RawClient client = raw_client();
  ASSERT_EQ(client.open_vport().error(), 0);
  const auto again = client.open_vport();
  EXPECT_NE(again.error(), 0);
  EXPECT_TRUE(again.fds.empty());
  EXPECT_EQ(pins().vports().size(), 1U);
}

TEST_F(DaemonInput, AnotherClientsVportCannotBeResumed) {
  const RawClient owner = raw_client();
  const auto opened = owner.open_vport();
  ASSERT_EQ(opened.error(), 0);
  const auto vport = opened.as<protocol::OpenVportReply>().vport;
  const RawClient thief = raw_client(bob);
  const protocol::ResumeVport request{.header = RawClient::header(Type::resume_vport), .vport = vport, .zero = 0};
  const Fd no_socket{::eventfd(0, EFD_CLOEXEC)};
  const Fd udp = bound_as(bob, IPPROTO_UDP, {host4, 7000});
  for (const int fd : {no_socket.get(), udp.get(), thief.fd()}) {
    EXPECT_NE(thief.ask(request, {&fd, 1}).error(), 0);
  }
  // Not even with the right socket while its connection lives.
  const int right = opened.fds.at(1).get();
  EXPECT_NE(thief.ask(request, {&right, 1}).error(), 0);
  EXPECT_EQ(pins().vports().size(), 1U);
}

TEST_F(DaemonInput, UplinksAreNotForClients) {
  const RawClient client = raw_client();
  for (const Type type : {Type::attach_uplink, Type::detach_uplink}) {
    const auto answer = client.uplink(type, uplink);
    EXPECT_TRUE(answer.error() == EPERM || answer.error() == EACCES) << answer.text();
    EXPECT_FALSE(answer.text().empty());
  }
  EXPECT_EQ(pins().uplinks().size(), 1U);
}

TEST_F(DaemonInput, AClientThatNeverReadsItsReplies) {
  const RawClient deaf = raw_client();
  ASSERT_EQ(deaf.open_vport().error(), 0);
  const protocol::Release request{
      .header = RawClient::header(Type::release), .count = protocol::max_descriptors, .zero = 0, .tuples = {}};
  const auto bytes = bytes_of(request);
  // Until the socket is full, or mstackd has had enough of it. Others are served all the while.
  int error = 0;
  for (int sent = 0; error == 0 && sent < 100'000; ++sent) {
    error = deaf.send(bytes, {}, MSG_DONTWAIT);
    if (sent % 64 == 0) {
      const RawClient other = raw_client(bob);
      EXPECT_EQ(other.open_vport().error(), 0);
    }
  }
  EXPECT_TRUE(error == EAGAIN || error == EPIPE || error == ECONNRESET) << error;
  const RawClient other = raw_client(bob);
  EXPECT_EQ(other.open_vport().error(), 0);
}

TEST_F(DaemonInput, AThousandConnectionsAtOnce) {
  constexpr std::size_t connections_of_a_user = 256;  // which mstackd takes; the others it closes
  std::vector<RawClient> clients;
  as_user(alice, [&] {
    for (int i = 0; i < 1000; ++i) clients.emplace_back(world().run_dir());
  });
  // Another user is served in any case.
  const RawClient other = raw_client(bob);
  EXPECT_EQ(other.open_vport().error(), 0);
  std::size_t answered = 0;
  for (const auto& client : clients) {
    if (client.send(protocol::Uplink{.header = RawClient::header(Type::detach_uplink),
                                     .name = {'u', 'p', '0'},
                                     .mode = protocol::XdpMode::automatic,
                                     .flags = 0}) != 0) {
      continue;
    }
    if (const auto answer = client.receive()) {
      EXPECT_NE(answer->error(), 0);
      ++answered;
    }
  }
  EXPECT_EQ(answered, connections_of_a_user);
}

// Whoever asks for much, on however many connections, delays another user by one request.
TEST_F(DaemonInput, UsersTakeTurns) {
  std::vector<RawClient> greedy;
  as_user(alice, [&] {
    for (int i = 0; i < 60; ++i) greedy.emplace_back(world().run_dir());
  });
  const RawClient modest = raw_client(bob);
  for (const RawClient& client : greedy) EXPECT_EQ(client.uplink(Type::detach_uplink, "up0").error(), EPERM);
  EXPECT_EQ(modest.uplink(Type::detach_uplink, "up0").error(), EPERM);

  ASSERT_EQ(::kill(daemon().pid(), SIGSTOP), 0);
  for (const RawClient& client : greedy) EXPECT_EQ(client.send(RawClient::open_request()), 0);
  EXPECT_EQ(modest.send(RawClient::open_request()), 0);
  ASSERT_EQ(::kill(daemon().pid(), SIGCONT), 0);
  const auto answer = modest.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->error(), 0) << answer->text();
  // Each takes milliseconds, so of those that come after ours few can have been answered by now.
  const auto answered = std::ranges::count_if(greedy, [](const RawClient& client) {
    pollfd ready{.fd = client.fd(), .events = POLLIN, .revents = 0};
    return ::poll(&ready, 1, 0) == 1;
  });
  EXPECT_LT(answered, 30) << "of 60 requests that were there before";
  for (const RawClient& client : greedy) EXPECT_EQ(client.receive().value().error(), 0);
}

TEST_F(DaemonInput, DisconnectsAtEveryStep) {
  for (int round = 0; round < 10; ++round) {
    { const RawClient nothing_said = raw_client(); }
    {
      const RawClient asked = raw_client();
      ASSERT_EQ(asked.send(RawClient::open_request()), 0);
    }
    {
      const RawClient half = raw_client();
      ASSERT_EQ(half.send(RawClient::open_request()), 0);
      ASSERT_EQ(::shutdown(half.fd(), SHUT_WR), 0);
      half.receive();
    }
    {
      const RawClient deaf = raw_client();
      ASSERT_EQ(::shutdown(deaf.fd(), SHUT_RD), 0);
      deaf.send(RawClient::open_request());
    }
    {
      const RawClient opened = raw_client();
      ASSERT_EQ(opened.open_vport().error(), 0);
    }
    const Fd socket = bound_as(alice, IPPROTO_UDP, {host4, 7000});
    const int fd = socket.get();
    {
      const RawClient claiming = raw_client();
      ASSERT_EQ(claiming.open_vport().error(), 0);
      ASSERT_EQ(
          claiming.send(protocol::Claim{.header = RawClient::header(Type::claim), .count = 1, .flags = 0}, {&fd, 1}),
          0);
    }
    EXPECT_TRUE(eventually([&] { return pins().claims().empty(); }));
    {
      const RawClient claimed = raw_client();
      ASSERT_EQ(claimed.open_vport().error(), 0);
      const auto answer = claimed.claim(fd);
      ASSERT_EQ(answer.error(), 0) << answer.text();
      ASSERT_EQ(claimed.send(protocol::Release{.header = RawClient::header(Type::release),
                                               .count = 1,
                                               .zero = 0,
                                               .tuples = {tuple(IPPROTO_UDP, {host4, 7000})}}),
                0);
    }
    EXPECT_TRUE(eventually([&] { return pins().claims().empty() && pins().vports().empty(); }));
  }
}

TEST_F(DaemonInput, ManyRequestsInOneGoAreAnsweredInOrder) {
  const RawClient client = raw_client();
  std::uint32_t sequence = 0;
  for (; sequence < 20; ++sequence) {
    auto request = RawClient::open_request();
    request.header.sequence = sequence;
    ASSERT_EQ(client.send(request), 0);
  }
  for (std::uint32_t expected = 0; expected < sequence; ++expected) {
    const auto answer = client.receive();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->reply().header.sequence, expected);
    EXPECT_EQ(answer->error() == 0, expected == 0) << answer->text();
  }
}

}  // namespace
}  // namespace mstack::test
