// SPDX-License-Identifier: BSD-2-Clause
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <filesystem>
#include <string>
#include <vector>

#include "fd.hpp"
#include "protocol.hpp"
#include "unix_socket.hpp"

namespace mstack {
namespace {

std::size_t open_descriptors() {
  const auto entries = std::filesystem::directory_iterator("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

std::span<const std::byte> text(std::string_view view) {
  return std::as_bytes(std::span(view));
}

class UnixSocket : public testing::Test {
 protected:
  void SetUp() override {
    auto made = unix_socket::pair();
    ASSERT_TRUE(made) << made.error().what;
    left = std::move(made->first);
    right = std::move(made->second);
  }
  Fd left, right;
  std::array<std::byte, 64> buffer = {};
};

TEST(Fd, HasOneOwner) {
  Fd first(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int number = first.get();
  Fd second = std::move(first);
  EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move): that is what is tested
  EXPECT_EQ(second.get(), number);
  second.reset();
  EXPECT_EQ(::fcntl(number, F_GETFD), -1);
}

TEST_F(UnixSocket, CarriesMessagesAndDescriptors) {
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const std::vector<int> fds(protocol::max_descriptors, null.get());
  ASSERT_TRUE(unix_socket::send(left.get(), text("hello"), fds));
  ASSERT_TRUE(unix_socket::send(left.get(), text("again")));
  auto first = unix_socket::receive(right.get(), buffer, protocol::max_descriptors);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->size, 5u);
  EXPECT_FALSE(first->truncated);
  EXPECT_EQ(first->descriptors.size(), protocol::max_descriptors);
  for (const Fd& fd : first->descriptors) EXPECT_EQ(::fcntl(fd.get(), F_GETFD), FD_CLOEXEC);
  auto second = unix_socket::receive(right.get(), buffer, 0);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->size, 5u);
  EXPECT_TRUE(second->descriptors.empty());
}

TEST_F(UnixSocket, RefusesToSendMoreDescriptorsThanAMessageMayCarry) {
  const std::vector<int> fds(protocol::max_descriptors + 1, left.get());
  const auto sent = unix_socket::send(left.get(), text("x"), fds);
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, EINVAL);
}

TEST_F(UnixSocket, HandsBackSurplusDescriptors) {
  const auto before = open_descriptors();
  // To close them may take long: that is for the caller to arrange.
  for (const std::size_t limit : {0u, 1u, 2u, 3u, 249u}) {
    const std::vector<int> fds(limit + 1, left.get());
    ASSERT_TRUE(unix_socket::send(left.get(), text("x"), fds));
    auto received = unix_socket::receive(right.get(), buffer, limit);
    ASSERT_TRUE(received);
    EXPECT_TRUE(received->truncated) << limit;
    EXPECT_EQ(received->descriptors.size(), limit + 1);
    received->descriptors.clear();
    EXPECT_EQ(open_descriptors(), before) << limit;
  }
}

TEST_F(UnixSocket, ClosesEverythingWhenDescriptorsRunOut) {
  rlimit limit = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const auto before = open_descriptors();
  const std::vector<int> fds(20, left.get());
  ASSERT_TRUE(unix_socket::send(left.get(), text("x"), fds));
  // The lowest number that is free, and at most four more: others may be in use above it.
  const int lowest = Fd(::dup(left.get())).get();
  const rlimit few = {.rlim_cur = static_cast<rlim_t>(lowest) + 5, .rlim_max = limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  auto received = unix_socket::receive(right.get(), buffer, 250);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  ASSERT_TRUE(received);
  EXPECT_TRUE(received->truncated);
  received->descriptors.clear();
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(UnixSocket, TellsALongMessageFromAWholeOne) {
  const std::vector<std::byte> exact(64), longer(65);
  ASSERT_TRUE(unix_socket::send(left.get(), exact));
  ASSERT_TRUE(unix_socket::send(left.get(), longer));
  EXPECT_FALSE(unix_socket::receive(right.get(), buffer, 0)->truncated);
  EXPECT_TRUE(unix_socket::receive(right.get(), buffer, 0)->truncated);
}

TEST_F(UnixSocket, TellsTheEnd) {
  EXPECT_EQ(unix_socket::receive(right.get(), buffer, 0).error().code, EAGAIN);
  left.reset();
  ASSERT_TRUE(unix_socket::wait(right.get(), POLLIN, std::chrono::steady_clock::now()));
  EXPECT_TRUE(unix_socket::receive(right.get(), buffer, 0)->end);
  EXPECT_EQ(unix_socket::send(right.get(), text("x")).error().code, EPIPE);
}

TEST_F(UnixSocket, OwnsTheDescriptorsOfAnEmptyMessage) {
  const auto before = open_descriptors();
  const int fds[] = {left.get()};
  ASSERT_TRUE(unix_socket::send(left.get(), {}, fds));
  auto received = unix_socket::receive(right.get(), buffer, 1);
  ASSERT_TRUE(received);
  EXPECT_TRUE(received->end);
  EXPECT_EQ(received->descriptors.size(), 1u);
  received->descriptors.clear();
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(UnixSocket, NeverBlocksOnAPeerThatDoesNotRead) {
  for (int i = 0; i < 100000; ++i)
    if (const auto sent = unix_socket::send(left.get(), text("x")); !sent) {
      EXPECT_EQ(sent.error().code, EAGAIN);
      EXPECT_EQ(unix_socket::wait(left.get(), POLLOUT, std::chrono::steady_clock::now()).error().code, ETIMEDOUT);
      return;
    }
  FAIL() << "the queue has no end";
}

TEST(UnixSocketPath, MustFit) {
  for (const auto& path : {std::string(), std::string(108, 'x'), std::string(5000, 'x'), std::string("a\0b", 3)}) {
    EXPECT_EQ(unix_socket::connect(path, std::chrono::milliseconds(1)).error().code, ENAMETOOLONG);
    EXPECT_EQ(unix_socket::listen(path, 1).error().code, ENAMETOOLONG);
  }
}

TEST(UnixSocketPath, AFullListenerEndsTheWait) {
  std::string directory = std::filesystem::temp_directory_path() / "mstack-test-XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  const std::string path = directory + "/socket";
  const auto listener = unix_socket::listen(path, 0);
  ASSERT_TRUE(listener) << listener.error().what;
  std::vector<Fd> connected;
  int code = 0;
  for (int i = 0; i < 16 && code == 0; ++i) {
    auto fd = unix_socket::connect(path, std::chrono::milliseconds(1));
    if (fd)
      connected.push_back(std::move(*fd));
    else
      code = fd.error().code;
  }
  std::filesystem::remove_all(directory);
  EXPECT_EQ(code, EAGAIN);
  ASSERT_FALSE(connected.empty());
  EXPECT_TRUE(::fcntl(connected.front().get(), F_GETFL) & O_NONBLOCK);
}

}  // namespace
}  // namespace mstack
