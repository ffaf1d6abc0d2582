// SPDX-License-Identifier: BSD-2-Clause
//
// mstackd serves all its clients by one thread. Descriptors that came from a client, and what is behind them, must not
// be able to stop it: to close a file may wait for its server, to close a connection for its peer, and to look at a
// socket for whoever holds its lock. In each test alice tries, and bob must be served meanwhile.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_xdp.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>

#include <array>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#include "support/fixture.hpp"
#include "support/hostile_fuse.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

using protocol::Type;

protocol::Claim claim_request(std::size_t count) {
  return {.header = RawClient::header(Type::claim), .count = static_cast<std::uint32_t>(count), .flags = 0};
}

template <typename Message>
Bytes bytes_of(const Message& message) {
  const auto* begin = reinterpret_cast<const std::uint8_t*>(&message);
  return Bytes(begin, begin + sizeof(message));
}

class Hang : public NetTest {
 protected:
  // The usual things of another user's; RawClient gives up, with an exception, if no answer comes.
  void expect_bob_is_served() {
    RawClient bob_client = raw_client(bob);
    EXPECT_EQ(bob_client.open_vport().error(), 0);
    const Fd socket = bound_as(bob, IPPROTO_UDP, {host4, 0});
    EXPECT_EQ(bob_client.claim(socket.get()).error(), 0);
  }

  // The body, as alice, in a process that is gone at its end: the last who has what it sent is mstackd then. A process
  // that ends does not wait for its own connections, so it must end within the body.
  void gone_afterwards(const std::function<void()>& body) {
    listen();
    Process process = Process::function(
        [&](Channel&) {
          body();
          ::_exit(0);
          return 1;
        },
        {.who = {.netns = &world().host(), .uid = alice, .cgroup = {}}, .environment = {}, .keep = {}});
    EXPECT_EQ(process.wait(), (Exit{.code = 0, .signal = 0})) << process.err();
  }
  // Only within that body: objects that it leaves to the end of the process.
  template <typename T>
  static T& left(T object) {
    return *new T(std::move(object));
  }

  // A TCP connection whose close() waits: there are bytes that the peer has no room for, and SO_LINGER says to wait
  // for them, for ten minutes.
  static int lingering() {
    const int made = left(connected()).get();
    const linger on{.l_onoff = 1, .l_linger = 600};
    check(::setsockopt(made, SOL_SOCKET, SO_LINGER, &on, sizeof(on)), "SO_LINGER");
    const std::vector<char> much(1 << 20);
    while (::send(made, much.data(), much.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
    }
    return made;
  }

  // To a peer that reads nothing; after listen().
  static Fd connected() {
    Fd made = make_socket(IPPROTO_TCP, false);
    const SocketAddress to{{wire4, 4000}};
    check(::connect(made.get(), to.get(), to.size), "connect");
    return made;
  }
  void listen() {
    if (listener_) return;
    listener_ = world().wire().run([] {
      Fd made = make_socket(IPPROTO_TCP, false);
      const int little = 1;
      check(::setsockopt(made.get(), SOL_SOCKET, SO_RCVBUF, &little, sizeof(little)), "SO_RCVBUF");
      EXPECT_EQ(bind_error(made.get(), {wire4, 4000}), 0);
      check(::listen(made.get(), 1024), "listen");
      return made;
    });
  }

  Fd listener_;
};

class HangFuse : public Hang {
 protected:
  void SetUp() override {
    if (!HostileFuse::available()) GTEST_SKIP() << "no FUSE here: " << std::generic_category().message(errno);
    Hang::SetUp();
    fuse_.emplace();
  }
  void TearDown() override {
    const bool skipped = !fuse_;
    fuse_.reset();  // whoever was stuck is free
    if (!skipped) Hang::TearDown();
  }
  void send(const RawClient& client, const Bytes& message, std::size_t count) {
    std::vector<Fd> files;
    std::vector<int> fds;
    for (std::size_t i = 0; i < count; ++i) fds.push_back(files.emplace_back(fuse_->open()).get());
    EXPECT_EQ(client.send(message, fds), 0);
  }
  void expect_asked() {
    EXPECT_TRUE(eventually([&] { return fuse_->unanswered() > 0; })) << "mstackd closed no file: nothing was tried";
  }
  std::optional<HostileFuse> fuse_;
};

TEST_F(HangFuse, ClaimOfAFile) {
  const RawClient client = raw_client();
  EXPECT_EQ(client.open_vport().error(), 0);
  send(client, bytes_of(claim_request(1)), 1);
  expect_asked();
  expect_bob_is_served();
}

TEST_F(HangFuse, ResumeWithAFile) {
  const RawClient client = raw_client();
  send(client, bytes_of(protocol::ResumeVport{.header = RawClient::header(Type::resume_vport), .vport = 1, .zero = 0}),
       1);
  expect_asked();
  expect_bob_is_served();
}

TEST_F(HangFuse, MalformedMessagesWithFiles) {
  Bytes unknown_version = bytes_of(claim_request(1));
  unknown_version[0] = 99;
  const std::vector<Bytes> messages{{},
                                    {1},
                                    Bytes(10000),
                                    bytes_of(RawClient::open_request()),
                                    unknown_version,
                                    bytes_of(claim_request(2)),
                                    bytes_of(claim_request(0))};
  for (const Bytes& message : messages) {
    SCOPED_TRACE(message.size());
    const RawClient client = raw_client();
    send(client, message, 1);
    expect_asked();  // by the first; those after it wait for that
    expect_bob_is_served();
  }
}

TEST_F(HangFuse, MoreFilesThanAMessageMayHave) {
  const RawClient client = raw_client();
  EXPECT_EQ(client.open_vport().error(), 0);
  send(client, bytes_of(claim_request(250)), 253);
  expect_asked();
  expect_bob_is_served();
}

// Many, over many connections: what waits to be closed is bounded, and so is what alice may go on to do.
TEST_F(HangFuse, ManyFiles) {
  std::vector<Fd> files;
  std::vector<int> fds;
  for (int i = 0; i < 250; ++i) fds.push_back(files.emplace_back(fuse_->open()).get());
  std::vector<RawClient> clients;
  for (int i = 0; i < 200; ++i) clients.push_back(raw_client());
  const std::size_t before = daemon().descriptors();
  for (const RawClient& client : clients) client.send(claim_request(250), fds);  // refused from some number on
  expect_asked();
  expect_bob_is_served();
  EXPECT_TRUE(eventually([&] { return clients.back().ends(); }));
  EXPECT_LT(daemon().descriptors(), before + 2000);
}

// Its main thread has ended; others may hang.
bool is_zombie(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("State:")) return line.find('Z') != std::string::npos;
  return false;
}

// The kernel does not let a process go that has a thread in such a close(). What it held must be free all the same: the
// pins, the devices and the locks, for another mstackd to start.
TEST_F(HangFuse, TheNextOneStartsWhileTheLastIsStuck) {
  for (const int signal : {SIGTERM, SIGKILL}) {
    SCOPED_TRACE(signal);
    const RawClient client = raw_client();
    send(client, bytes_of(claim_request(1)), 1);
    expect_asked();
    // With no vport to claim for; but not never.
    EXPECT_EQ(client.receive().value().error(), ENODEV) << "mstackd waits for the thread that hangs";
    ::kill(daemon().pid(), signal);
    EXPECT_TRUE(eventually([&] { return is_zombie(daemon().pid()); }));
    if (signal == SIGTERM) {
      EXPECT_TRUE(eventually([&] { return world().leftovers_after_end().empty(); }));
    }
    std::optional<Daemon> next;
    EXPECT_NO_THROW(next.emplace(world()));
    if (next) {
      expect_bob_is_served();
      next->stop();
    }
    fuse_.reset();  // lets the old one go
    start();
    fuse_.emplace();
  }
}

// A send() that waits for its own memory holds the socket's lock.
TEST_F(HangFuse, ASocketWhoseLockIsHeld) {
  const Fd socket = bound_as(alice, IPPROTO_UDP, {host4, 7000});
  const RawClient client = raw_client();
  EXPECT_EQ(client.open_vport().error(), 0);
  std::thread holder([&] {
    const SocketAddress to{{wire4, 4000}};
    ::sendto(socket.get(), fuse_->memory(), 64, MSG_MORE, to.get(), to.size);
  });
  EXPECT_TRUE(eventually([&] { return fuse_->reads() > 0; })) << "the sender does not wait for memory";
  EXPECT_EQ(client.send(claim_request(1), std::array{socket.get()}), 0);
  expect_bob_is_served();
  client.receive();  // whatever it says
  const mstack_tuple tuple = test::tuple(IPPROTO_UDP, {host4, 7000});
  client.release({&tuple, 1});
  expect_bob_is_served();
  fuse_.reset();  // lets the sender go
  holder.join();
  fuse_.emplace();
}

TEST_F(HangFuse, ATcpSocketWhoseLockIsHeld) {
  listen();
  const Fd fresh = as_user(alice, [] { return connected(); });
  const RawClient client = raw_client();
  EXPECT_EQ(client.open_vport().error(), 0);
  std::thread holder([&] { ::send(fresh.get(), fuse_->memory(), 64, MSG_NOSIGNAL); });
  EXPECT_TRUE(eventually([&] { return fuse_->reads() > 0; })) << "the sender does not wait for memory";
  EXPECT_EQ(client.send(claim_request(1), std::array{fresh.get()}), 0);
  expect_bob_is_served();
  fuse_.reset();
  holder.join();
  fuse_.emplace();
}

// MPTCP takes the lock for its options of IPv6 too.
TEST_F(HangFuse, AnMptcpSocketWhoseLockIsHeld) {
  const Fd socket = as_user(alice, [] { return Fd{::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP)}; });
  if (!socket) GTEST_SKIP() << "no MPTCP here: " << std::generic_category().message(errno);
  const Fd listener = as_user(alice, [] { return bound(IPPROTO_TCP, {host6, 7000}); });
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  const SocketAddress to{{host6, 7000}};
  ASSERT_EQ(::connect(socket.get(), to.get(), to.size), 0);
  const RawClient client = raw_client();
  EXPECT_EQ(client.open_vport().error(), 0);
  std::thread holder([&] { ::send(socket.get(), fuse_->memory(), 64, MSG_NOSIGNAL); });
  EXPECT_TRUE(eventually([&] { return fuse_->reads() > 0; })) << "the sender does not wait for memory";
  EXPECT_EQ(client.send(claim_request(1), std::array{socket.get()}), 0);
  expect_bob_is_served();
  fuse_.reset();
  holder.join();
  fuse_.emplace();
}

// A UDP socket leaves its groups one by one when it is closed.
TEST_F(Hang, SocketsOfManyGroups) {
  constexpr int groups = 300;
  const RawClient client{world().run_dir()};
  EXPECT_EQ(client.open_vport().error(), 0);
  std::vector<Fd> sockets = as_user(alice, [] {
    std::vector<Fd> made;
    for (int i = 0; i < 250; ++i) {
      const Fd& socket = made.emplace_back(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      for (int group = 0; group < groups; ++group) {
        ipv6_mreq request{.ipv6mr_multiaddr = {}, .ipv6mr_interface = 1};
        ::inet_pton(AF_INET6, "ff05::1:0", &request.ipv6mr_multiaddr);
        request.ipv6mr_multiaddr.s6_addr[14] = static_cast<std::uint8_t>(group >> 8);
        request.ipv6mr_multiaddr.s6_addr[15] = static_cast<std::uint8_t>(group);
        ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_JOIN_GROUP, &request, sizeof(request));
      }
    }
    return made;
  });
  std::vector<int> fds;
  for (const Fd& socket : sockets) fds.push_back(socket.get());
  EXPECT_EQ(client.send(claim_request(250), fds), 0);
  sockets.clear();  // mstackd's copies are the last
  expect_bob_is_served();
}

TEST_F(Hang, ClaimOfALingeringConnection) {
  gone_afterwards([&] {
    const RawClient& client = left(RawClient{world().run_dir()});
    client.open_vport();
    client.send(claim_request(1), std::array{lingering()});
  });
  expect_bob_is_served();
}

// Those beyond the last that is taken are dropped by the kernel, in mstackd's thread.
TEST_F(Hang, LingeringConnectionsBeyondTheLastDescriptor) {
  gone_afterwards([&] {
    std::vector<int> fds(250, ::eventfd(0, EFD_CLOEXEC));
    for (int i = 0; i < 3; ++i) fds.push_back(lingering());
    left(RawClient{world().run_dir()}).send(claim_request(250), fds);
  });
  expect_bob_is_served();
}

// So is what waits in a connection that mstackd ends.
TEST_F(Hang, LingeringConnectionsBehindAMalformedMessage) {
  gone_afterwards([&] {
    for (int i = 0; i < 4; ++i) {
      const int socket = lingering();
      const RawClient& client = left(RawClient{world().run_dir()});
      // mstackd has something else to do until all of it is in the queue.
      left(RawClient{world().run_dir()}).send(RawClient::open_request(16, 256));
      client.send(Bytes{1, 2, 3});
      for (int more = 0; more < 4; ++more) client.send(claim_request(1), std::array{socket});
    }
  });
  expect_bob_is_served();
}

// And what waits in one that it does not let in.
TEST_F(Hang, LingeringConnectionsInARefusedConnection) {
  gone_afterwards([&] {
    for (int i = 0; i < 300; ++i) {
      const RawClient& client = left(RawClient{world().run_dir()});
      if (i % 10 == 0) client.send(claim_request(1), std::array{lingering()});
    }
  });
  expect_bob_is_served();
}

// A connection that waits in itself: its descriptor is in its own queue.
TEST_F(Hang, AConnectionInItsOwnQueue) {
  for (int i = 0; i < 20; ++i) {
    RawClient client = raw_client(), other = raw_client();
    const std::array fds{client.fd(), other.fd()};
    EXPECT_EQ(client.send(claim_request(2), fds), 0);
    other.send(claim_request(2), fds);
    other.send(Bytes{1, 2, 3}, fds);
    client.send(claim_request(2), fds);
  }
  expect_bob_is_served();
}

struct Made {
  const char* name;
  Fd (*make)();
};

Fd xsk() {
  return Fd{::socket(44 /* AF_XDP */, SOCK_RAW | SOCK_CLOEXEC, 0)};
}
Fd ring() {
  io_uring_params parameters{};
  return Fd{static_cast<int>(::syscall(SYS_io_uring_setup, 4, &parameters))};
}

// Everything that a descriptor can be, made by root where alice could not.
TEST_F(Hang, ClaimsOfWhatIsNoSocketOfOurs) {
  const std::array kinds{
      Made{"directory", [] { return Fd{::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)}; }},
      Made{"path", [] { return Fd{::open("/", O_PATH | O_CLOEXEC)}; }},
      Made{"null", [] { return Fd{::open("/dev/null", O_RDWR | O_CLOEXEC)}; }},
      Made{"epoll", [] { return Fd{::epoll_create1(EPOLL_CLOEXEC)}; }},
      Made{"eventfd", [] { return Fd{::eventfd(0, EFD_CLOEXEC)}; }},
      Made{"timerfd", [] { return Fd{::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)}; }},
      Made{"inotify", [] { return Fd{::inotify_init1(IN_CLOEXEC)}; }},
      Made{"memfd", [] { return Fd{::memfd_create("m", MFD_CLOEXEC)}; }},
      Made{"pidfd", [] { return Fd{static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0))}; }},
      Made{"io_uring", ring},
      Made{"AF_XDP", xsk},
      Made{"netlink", [] { return Fd{::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0)}; }},
      Made{"packet", [] { return Fd{::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)}; }},
      Made{"ICMP", [] { return Fd{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_ICMP)}; }},
      Made{"MPTCP", [] { return Fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 262)}; }},
      Made{"vsock", [] { return Fd{::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0)}; }},
      Made{"alg", [] { return Fd{::socket(AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)}; }},
  };
  const RawClient client = raw_client();
  ASSERT_EQ(client.open_vport().error(), 0);
  const auto refused = [&](const char* name, int fd) {
    if (client.send(claim_request(1), std::array{fd}) != 0) return;  // the kernel itself does not pass it on: io_uring
    const auto answer = client.receive();
    ASSERT_TRUE(answer) << name;
    const auto reply = answer->as<protocol::TuplesReply>();
    EXPECT_TRUE(reply.results[0].error == ENOTSOCK || reply.results[0].error == ESOCKTNOSUPPORT ||
                reply.results[0].error == EAFNOSUPPORT)
        << name << ": " << reply.results[0].error << ' ' << reply.reply.text.data();
  };
  for (const Made& kind : kinds) {
    const Fd made = kind.make();
    if (made) refused(kind.name, made.get());
  }
  std::array<int, 2> ends{};
  check(::pipe2(ends.data(), O_CLOEXEC), "pipe");
  const Fd reader{ends[0]}, writer{ends[1]};
  refused("pipe", reader.get());
  refused("pipe", writer.get());
  refused("mstackd's own connection", client.fd());
  refused("BPF map", pins().open("claims").get());
  const auto vport = raw_client().open_vport();
  for (const Fd& fd : vport.fds) refused("a vport's descriptor", fd.get());
  EXPECT_TRUE(pins().claims().empty());
  expect_bob_is_served();
}

}  // namespace
}  // namespace mstack::test
