// SPDX-License-Identifier: BSD-2-Clause
//
// What lwIP's connections share, its segments, no host can take from the others.
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <sstream>

#include "net/lwip_fixture.hpp"

namespace mstack::test {
namespace {

class LwipShare : public LwipTest {
 protected:
  // A connection of whoever has no TCP: an address of the wire that is nobody's, so that nobody resets it.
  struct Segments {
    Segment next;
    // The data is at the offset from the first byte.
    void send(const World& world, const std::string& data, std::uint32_t offset) const {
      Segment segment = next;
      segment.sequence += offset;
      segment.payload = data;
      world.send(segment);
    }
  };
  static constexpr const char* stranger = "192.0.2.77";

  void SetUp() override {
    LwipTest::SetUp();
    if (IsSkipped()) return;
    World::in(world().host(),
              std::string("ip neigh add ") + stranger + " lladdr " + text(world().wire_mac()) + " dev " + uplink);
  }

  // From so many ports in a row.
  std::vector<Segments> open(std::uint16_t first_port, std::uint16_t count) const {
    std::vector<Segments> connections;
    const auto capture = world().capture();
    for (std::uint16_t i = 0; i < count; ++i) {
      const Segment syn{.from = {stranger, static_cast<std::uint16_t>(first_port + i)},
                        .to = {host4, http_port},
                        .protocol = IPPROTO_TCP,
                        .sequence = 1000,
                        .mss = 1460};
      world().send(syn);
      connections.push_back({syn});
    }
    for (auto& [next] : connections) {
      const auto answer = capture->wait(
          [&](const Packet& packet) { return packet.to == next.from && packet.tcp_flags == (tcp_syn | tcp_ack); });
      if (!answer) throw std::runtime_error("the server does not answer a SYN");
      next.tcp_flags = tcp_ack;
      next.mss = 0;
      ++next.sequence;
      next.acknowledgement = answer->sequence + 1;
      world().send(next);
    }
    return connections;
  }

  // Whether the server answers on the connection, and thereby has read all that came before.
  static bool answers(int fd) {
    const std::string request = "GET /bytes/5 HTTP/1.1\r\nHost: x\r\n\r\n";
    if (::send(fd, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) return false;
    std::string got;
    while (got.find("\r\n\r\n") == std::string::npos || got.size() < got.find("\r\n\r\n") + 4 + 5) {
      std::array<char, 1024> part{};
      if (!wait_for(fd, POLLIN, Deadline{})) return false;
      const ssize_t size = ::recv(fd, part.data(), part.size(), MSG_DONTWAIT);
      if (size <= 0) return false;
      got.append(part.data(), static_cast<std::size_t>(size));
    }
    return got.starts_with("HTTP/1.1 200");
  }
  void expect_serves() const {
    const Completed done = curl("/bytes/1000000", {"-o", "/dev/null", "-w", "%{http_code} %{size_download}"});
    EXPECT_EQ(done.out, "200 1000000") << done.err;
  }
};

// Who asks for much and reads nothing has little of what the server can send at once, however many of them there are;
// here nobody is let go for that.
TEST_F(LwipShare, AThousandWhoReadNothing) {
  const Process server = start_httpd({"--timeout", "3600"});
  const std::string request = "GET /bytes/100000000 HTTP/1.1\r\nHost: x\r\n\r\n";
  std::vector<Fd> deaf;
  for (int i = 0; i < 1000; ++i) {
    deaf.push_back(raw_connection());
    check(::send(deaf.back().get(), request.data(), request.size(), MSG_NOSIGNAL), "send");
  }
  for (const Fd& fd : deaf) ASSERT_TRUE(wait_for(fd.get(), POLLIN, Deadline{})) << "nothing of a response";
  expect_serves();
}

// What is read of a file is memory as long as it is not sent, so it is read as it is sent.
TEST_F(LwipShare, AThousandWhoReadNothingOfAFile) {
  const std::string root = folder("www");
  write_file(root + "/file", noise(400'000, 4));
  const Process server = start_httpd({"--root", root, "--timeout", "3600"});
  const auto resident = [&] {
    std::istringstream pages(read_file("/proc/" + std::to_string(server.pid()) + "/statm"));
    std::size_t virtual_pages = 0, resident_pages = 0;
    pages >> virtual_pages >> resident_pages;
    return resident_pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  };
  const std::size_t before = resident();
  const std::string request = "GET /file HTTP/1.1\r\nHost: x\r\n\r\n";
  std::vector<Fd> deaf;
  for (int i = 0; i < 1000; ++i) {
    deaf.push_back(raw_connection());
    check(::send(deaf.back().get(), request.data(), request.size(), MSG_NOSIGNAL), "send");
  }
  for (const Fd& fd : deaf) ASSERT_TRUE(wait_for(fd.get(), POLLIN, Deadline{})) << "nothing of a response";
  EXPECT_LT((resident() - before) / deaf.size(), 100'000U) << "bytes for each of them";
  expect_serves();
}

// Who sends SYNs and never goes on, as from addresses that are not his, takes no room from those who do.
TEST_F(LwipShare, SynsThatNobodyGoesOnWith) {
  const Process server = start_httpd({"--timeout", "3600"});
  const Fd kept = raw_connection();
  for (std::uint16_t i = 0; i < 9000; ++i) {
    world().send(Segment{.from = {stranger, static_cast<std::uint16_t>(20000 + i)},
                         .to = {host4, http_port},
                         .protocol = IPPROTO_TCP,
                         .sequence = 1000,
                         .mss = 1460});
    // No faster than the server reads.
    if (i % 100 == 0) {
      ASSERT_TRUE(answers(kept.get())) << "after " << i << " SYNs";
    }
  }
  // A SYN that nobody repeats, and a client that would.
  EXPECT_NO_THROW(open(40000, 1));
  expect_serves();
  EXPECT_TRUE(answers(kept.get()));
}

// Bytes with gaps between them take a segment each, for ever if nothing limits them: a few connections could have all.
TEST_F(LwipShare, BytesOutOfOrder) {
  const Process server = start_httpd({"--timeout", "3600"});
  const Fd kept = raw_connection();
  for (const Segments& gaps : open(40000, 6)) {
    for (std::uint32_t offset = 1; offset < 60'000; offset += 2) {
      gaps.send(world(), "x", offset);
      // No faster than the server reads.
      if (offset % 1000 == 1) {
        ASSERT_TRUE(answers(kept.get())) << "after " << offset / 2 << " bytes of port " << gaps.next.from.port;
      }
    }
  }
  expect_serves();
}

// A short response is a segment of its own. Who asks for many and acknowledges none has as many as others leave him,
// and when they are scarce no more than two or three.
TEST_F(LwipShare, ShortResponsesThatNobodyAcknowledges) {
  const Process server = start_httpd({"--timeout", "3600"});
  const Fd kept = raw_connection();
  const std::string request = "GET /bytes/1 HTTP/1.1\r\nHost: x\r\n\r\n";
  for (std::uint16_t port = 20000; port < 23000; port += 100)
    for (const Segments& greedy : open(port, 100)) {
      for (std::uint32_t i = 0; i < 40; ++i)
        greedy.send(world(), request, i * static_cast<std::uint32_t>(request.size()));
      ASSERT_TRUE(answers(kept.get())) << "at port " << greedy.next.from.port;
    }
  expect_serves();
}

// Bytes behind a request whose response is not read wait for their turn. A window of them, a packet each, is more than
// anybody needs.
TEST_F(LwipShare, BytesBehindAnUnreadResponse) {
  const Process server = start_httpd({"--timeout", "3600"});
  const Fd kept = raw_connection();
  const Segments behind = open(40000, 1).front();
  const auto capture = world().capture();
  const std::string request = "GET /bytes/100000000 HTTP/1.1\r\nHost: x\r\n\r\n";
  behind.send(world(), request, 0);
  for (std::uint32_t i = 0; i < 6000; ++i) {
    behind.send(world(), "x", static_cast<std::uint32_t>(request.size()) + i);
    if (i % 500 == 0) {
      ASSERT_TRUE(answers(kept.get())) << "after " << i << " bytes";
    }
  }
  EXPECT_TRUE(capture->wait([&](const Packet& packet) {
    return packet.to == behind.next.from && (packet.tcp_flags & tcp_rst) != 0;
  })) << "it holds all of it";
  expect_serves();
}

}  // namespace
}  // namespace mstack::test
