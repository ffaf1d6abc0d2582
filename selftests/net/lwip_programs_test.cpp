// SPDX-License-Identifier: BSD-2-Clause
//
// lwIP's own iperf server with Debian's iperf, and lwIP as the side that connects, to Debian's nginx.
#include <sys/socket.h>

#include <regex>

#include "http/content.hpp"
#include "net/lwip_fixture.hpp"
#include "support/faults.hpp"

namespace mstack::test {
namespace {

using LwipIperf = LwipTest;

TEST_F(LwipIperf, ServesIperf2) {
  for (const bool ipv6 : {false, true}) {
    Process server = start_program("lwip_iperf", {"--bind", ipv6 ? "[" + host6 + "]:5001" : host4 + ":5001"}, 1);
    const auto iperf = [&](std::vector<std::string> more) {
      std::vector<std::string> command{"iperf", "-c", ipv6 ? host6 : host4, "-p", "5001"};
      if (ipv6) command.emplace_back("-V");
      command.insert(command.end(), more.begin(), more.end());
      return on_wire(command);
    };
    // A fixed number of bytes, so that nothing depends on how long it takes.
    const Completed client = iperf({"-n", "50M", "-f", "m"});
    EXPECT_EQ(client.exit.code, 0) << client.out << client.err;
    EXPECT_TRUE(eventually([&] { return server.out().find("done") != std::string::npos; })) << server.out();
    std::smatch found;
    const std::string out = server.out();
    ASSERT_TRUE(std::regex_search(out, found, std::regex(": ([0-9]+) bytes in"))) << out;
    EXPECT_GE(std::stoul(found[1]), 50U * 1024 * 1024 - 64) << "lwiperf does not count the header of the first";
    // And again, several at once.
    const Completed parallel = iperf({"-n", "5M", "-P", "4"});
    EXPECT_EQ(parallel.exit.code, 0) << parallel.err;
    EXPECT_TRUE(eventually([&] {
      const std::string text = server.out();
      std::size_t done = 0;
      for (std::size_t at = text.find("done"); at != std::string::npos; at = text.find("done", at + 1)) ++done;
      return done == 5;
    })) << server.out();
    server.signal(SIGTERM);
    const auto exit = server.wait();
    ASSERT_TRUE(exit);
    EXPECT_EQ(*exit, (Exit{.code = 0, .signal = 0}));
  }
}

// A client that is silent for 2 s goes on; by the count that lwiperf comes with it would have been lost after 0.8 s.
TEST_F(LwipIperf, WaitsForAClientThatPauses) {
  const Process server = start_program("lwip_iperf", {"--bind", host4 + ":" + std::to_string(http_port)}, 1);
  const Fd client = raw_connection();
  const std::string header(24, '\0'), data(1000, 'x');
  check(::send(client.get(), header.data(), header.size(), MSG_NOSIGNAL), "send");
  // lwiperf has nothing to say but that it gives up.
  EXPECT_FALSE(wait_for(client.get(), POLLIN, Deadline{2s}));
  check(::send(client.get(), data.data(), data.size(), MSG_NOSIGNAL), "send");
  check(::shutdown(client.get(), SHUT_WR), "shutdown");
  EXPECT_TRUE(eventually([&] { return server.out().find("done") != std::string::npos; })) << server.out();
  EXPECT_NE(server.out().find(": " + std::to_string(header.size() + data.size()) + " bytes in"), std::string::npos)
      << server.out();
}

class LwipFetch : public LwipTest {
 protected:
  // As a user without privileges, in the host namespace.
  Completed fetch(const Endpoint& from, const Endpoint& server, const std::vector<std::string>& paths) const {
    std::ostringstream local, remote;
    local << (from.ipv6() ? "[" + from.address + "]" : from.address) << ":" << from.port;
    remote << (server.ipv6() ? "[" + server.address + "]" : server.address) << ":" << server.port;
    std::vector<std::string> command{program("lwip_fetch"), "--bind", local.str(), "--server", remote.str()};
    command.insert(command.end(), paths.begin(), paths.end());
    return run(
        command,
        {.who = {.netns = &world().host(), .uid = alice}, .environment = {{"MSTACK_RUN_DIR", world().run_dir()}}},
        Deadline{60s});
  }
};

TEST_F(LwipFetch, FromAnotherHost) {
  const std::string root = folder("www");
  const std::string small = noise(100, 1), large = noise(5'000'000, 2);
  write_file(root + "/small", small);
  write_file(root + "/large", large);
  write_file(root + "/empty", "");
  for (const bool ipv6 : {false, true}) {
    const Endpoint server{ipv6 ? wire6 : wire4, 80}, from{ipv6 ? host6 : host4, 0};
    const Process nginx = start_nginx(server, root, world().wire());
    const Completed done = fetch(from, server, {"/small", "/large", "/empty", "/small"});
    EXPECT_EQ(done.exit, (Exit{.code = 0, .signal = 0})) << done.err;
    EXPECT_TRUE(done.out == small + large + small) << done.out.size();
    const Completed absent = fetch(from, server, {"/absent"});
    EXPECT_EQ(absent.exit.code, 1);
    EXPECT_NE(absent.err.find("404"), std::string::npos) << absent.err;
    const Completed closed = fetch(from, {server.address, 81}, {"/small"});
    EXPECT_EQ(closed.exit.code, 1);
    EXPECT_NE(closed.err.find("refused"), std::string::npos) << closed.err;
  }
  EXPECT_EQ(pins().claims().size(), 0U);
  EXPECT_EQ(pins().counter(MSTACK_TX_DROP_UNCLAIMED), 0U);
}

TEST_F(LwipFetch, SeveralPathsFromOnePort) {
  const std::string root = folder("www");
  const std::string small = noise(100, 1);
  write_file(root + "/small", small);
  for (const bool ipv6 : {false, true}) {
    const Endpoint server{ipv6 ? wire6 : wire4, 80};
    const Process nginx = start_nginx(server, root, world().wire());
    const Completed done = fetch({ipv6 ? host6 : host4, 7777}, server, {"/small", "/small", "/small"});
    EXPECT_EQ(done.exit, (Exit{.code = 0, .signal = 0})) << done.err;
    EXPECT_TRUE(done.out == small + small + small) << done.out.size();
  }
  EXPECT_EQ(pins().counter(MSTACK_TX_DROP_UNCLAIMED), 0U);
}

// The end of a connection takes its time, and a claim stays for as long. There are so many paths that the kernel gives
// a port of them again, and that the end of the first would be said again while the others are fetched.
TEST_F(LwipFetch, OverALongWire) {
  constexpr std::size_t paths = 200;
  const Faults all_late(world().wire(), wire_end, {.late = 1000});
  const std::string root = folder("www");
  const std::string small = noise(100, 3);
  write_file(root + "/small", small);
  const Process nginx = start_nginx({wire4, 80}, root, world().wire());
  const Completed done = fetch({host4, 0}, {wire4, 80}, std::vector<std::string>(paths, "/small"));
  EXPECT_EQ(done.exit, (Exit{.code = 0, .signal = 0})) << done.err;
  EXPECT_EQ(done.out.size(), paths * small.size());
  EXPECT_EQ(pins().counter(MSTACK_TX_DROP_UNCLAIMED), 0U);
}

// The server is the kernel's, by the address that lwIP has too: one way by the host end, the other by the loopback
// device, in segments that no NIC has cut and checksums that none has finished.
TEST_F(LwipFetch, FromTheSameHost) {
  const std::string root = folder("www");
  const std::string small = noise(100, 1), large = noise(5'000'000, 2);
  write_file(root + "/small", small);
  write_file(root + "/large", large);
  for (const bool ipv6 : {false, true}) {
    const Endpoint server{ipv6 ? host6 : host4, 80}, from{server.address, 0};
    const Process nginx = start_nginx(server, root, world().host());
    const Completed done = fetch(from, server, {"/small", "/large", "/small"});
    EXPECT_EQ(done.exit, (Exit{.code = 0, .signal = 0})) << done.err;
    EXPECT_TRUE(done.out == small + large + small) << done.out.size();
    const Completed closed = fetch(from, {server.address, 81}, {"/small"});
    EXPECT_EQ(closed.exit.code, 1);
    EXPECT_NE(closed.err.find("refused"), std::string::npos) << closed.err;
  }
  EXPECT_GT(pins().counter(MSTACK_TX_TO_HOST), 0U);
}

// Both ends are lwIP, of two vports.
TEST_F(LwipFetch, FromAStackOfTheSameHost) {
  constexpr std::size_t size = 5'000'000;
  const Process server = start_httpd();
  for (const bool ipv6 : {false, true}) {
    const std::string& address = ipv6 ? host6 : host4;
    const Completed done = fetch({address, 0}, {address, http_port}, {"/bytes/" + std::to_string(size)});
    EXPECT_EQ(done.exit, (Exit{.code = 0, .signal = 0})) << done.err;
    ASSERT_EQ(done.out.size(), size);
    for (std::size_t i = 0; i < size; ++i)
      ASSERT_EQ(static_cast<std::uint8_t>(done.out[i]), http::generated_byte(i)) << "byte " << i << ", IPv6 " << ipv6;
  }
  EXPECT_GT(pins().counter(MSTACK_TX_TO_STACK), 2 * size / 1460);
}

}  // namespace
}  // namespace mstack::test
