// SPDX-License-Identifier: BSD-2-Clause
//
// lwIP's servers under what a network and its hosts do to a server: loss, load, and people with bad manners.
#include <sys/socket.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>
#include <regex>
#include <sstream>

#include "net/lwip_fixture.hpp"
#include "support/faults.hpp"

namespace mstack::test {
namespace {

using LwipLoad = LwipTest;

// 1,000 files of 0 to 10 MB, most of them small, as files are; over connections that are kept and many at once.
TEST_F(LwipLoad, AThousandFilesByteForByte) {
  const std::string root = folder("www"), got = folder("got");
  std::mt19937 random(2026);
  std::vector<std::size_t> sizes{0, 1, 1460, 10'000'000};
  while (sizes.size() < 1000) {
    const double exponent = std::uniform_real_distribution<double>(0, std::log(10'000'000.0))(random);
    sizes.push_back(static_cast<std::size_t>(std::exp(exponent * exponent / std::log(10'000'000.0))));
  }
  const Process server = start_httpd({"--root", root});
  constexpr std::size_t batch = 100;  // so many at a time are kept twice in memory
  for (std::size_t first = 0; first < sizes.size(); first += batch) {
    std::string list;
    for (std::size_t i = first; i < first + batch; ++i) {
      const std::string name = "/" + std::to_string(i);
      write_file(root + name, noise(sizes[i], static_cast<unsigned>(i)));
      list += "url = \"" + url(name, i % 2 != 0) + "\"\noutput = \"" + got + name + "\"\n";
    }
    write_file(world().directory() + "/list", list);
    const Completed done = on_wire({"curl", "-sS", "--fail", "--max-time", "60", "--parallel", "--parallel-max", "16",
                                    "-K", world().directory() + "/list"});
    ASSERT_EQ(done.exit.code, 0) << done.err;
    for (std::size_t i = first; i < first + batch; ++i) {
      const std::string name = "/" + std::to_string(i);
      ASSERT_TRUE(read_file(got + name) == read_file(root + name)) << sizes[i] << " bytes of " << name;
      std::filesystem::remove(got + name);
      std::filesystem::remove(root + name);
    }
  }
}

TEST_F(LwipLoad, MoreThanAThousandConnectionsAtOnce) {
  Process server = start_httpd({"--statistics", "--timeout", "600"});
  const Completed kept = on_wire({"ab", "-q", "-k", "-n", "12000", "-c", "1200", url("/bytes/2000")});
  EXPECT_EQ(kept.exit.code, 0) << kept.err;
  EXPECT_NE(kept.out.find("Complete requests:      12000"), std::string::npos) << kept.out;
  EXPECT_NE(kept.out.find("Failed requests:        0"), std::string::npos) << kept.out;
  EXPECT_NE(kept.out.find("Keep-Alive requests:    12000"), std::string::npos) << kept.out;
  // ab opens them when it gets round to it. These are all open, and all in use, at the same time.
  constexpr std::size_t many = 1200;
  std::vector<Fd> open;
  while (open.size() < many) open.push_back(raw_connection(open.size() % 2 != 0));
  const std::string request = "GET /bytes/5 HTTP/1.1\r\nHost: x\r\n\r\n";
  for (int round = 0; round < 2; ++round) {
    for (const Fd& fd : open)
      ASSERT_EQ(::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
    for (const Fd& fd : open) {
      std::array<char, 1024> answer{};
      ASSERT_TRUE(wait_for(fd.get(), POLLIN, Deadline{}));
      const ssize_t size = check(::recv(fd.get(), answer.data(), answer.size(), 0), "recv");
      // The head and so small a body are one segment.
      const std::string_view text(answer.data(), static_cast<std::size_t>(size));
      EXPECT_TRUE(text.starts_with("HTTP/1.1 200 OK\r\n")) << text;
      EXPECT_EQ(text.size(), text.find("\r\n\r\n") + 4 + 5) << text;
    }
  }
  open.clear();
  server.signal(SIGTERM);
  const auto exit = server.wait();
  ASSERT_TRUE(exit);
  EXPECT_EQ(*exit, (Exit{.code = 0, .signal = 0})) << server.err();
  std::smatch open_at_once;
  const std::string statistics = server.out();
  ASSERT_TRUE(std::regex_search(statistics, open_at_once, std::regex("at most ([0-9]+) at once"))) << statistics;
  EXPECT_GE(std::stoul(open_at_once[1]), many) << statistics;
}

TEST_F(LwipLoad, WrkWithMoreThanAThousandConnections) {
  const Process server = start_httpd();
  bool served = false;
  // An emulated machine is still connecting after two seconds.
  for (const char* duration : {"2s", "10s", "30s"}) {
    const Completed wrk =
        on_wire({"wrk", "-t", "2", "-c", "1200", "-d", duration, "--timeout", "60s", url("/bytes/64", true)});
    EXPECT_EQ(wrk.exit.code, 0) << wrk.err;
    EXPECT_EQ(wrk.out.find("Socket errors"), std::string::npos) << wrk.out;
    EXPECT_EQ(wrk.out.find("Non-2xx"), std::string::npos) << wrk.out;
    served = wrk.out.find("\n  0 requests") == std::string::npos;
    if (served) break;
  }
  EXPECT_TRUE(served);
}

// A connection for each request, closed by the server: the client uses its ports again while they are in TIME_WAIT.
TEST_F(LwipLoad, ShortConnections) {
  // Few ports, so that each is used many times.
  world().wire().run([] { write_file("/proc/sys/net/ipv4/ip_local_port_range", "40000 41000"); });
  const Process server = start_httpd();
  const Completed load = on_wire({"ab", "-q", "-s", "20", "-n", "6000", "-c", "50", url("/bytes/10")});
  EXPECT_EQ(load.exit.code, 0) << load.err;
  EXPECT_NE(load.out.find("Complete requests:      6000"), std::string::npos) << load.out;
  EXPECT_NE(load.out.find("Failed requests:        0"), std::string::npos) << load.out;
}

class LwipBadWire : public LwipTest {
 protected:
  explicit LwipBadWire(const FaultRates& rates = {.lost = 10, .doubled = 10, .late = 20})
      : LwipTest({.wire = WorldOptions::WireEnd::pass}), rates_(rates) {}
  void SetUp() override {
    LwipTest::SetUp();
    if (IsSkipped()) return;
    // Packets, not what GSO and GRO make of them, are lost.
    World::in(world().wire(), "ip link set " + wire_end + " gso_max_segs 1");
    World::in(world().wire(), "ethtool -K " + wire_end + " gro off");
    faults_.emplace(world().wire(), wire_end, rates_);
  }
  void TearDown() override {
    if (faults_) {
      EXPECT_EQ(faults_->lost() != 0, rates_.lost != 0);
      EXPECT_EQ(faults_->doubled() != 0, rates_.doubled != 0);
      EXPECT_EQ(faults_->late() != 0, rates_.late != 0);
    }
    LwipTest::TearDown();
  }

  // What the kernel's TCP on the wire has counted: whether a fault is one for who is at the other end.
  std::uint64_t tcp_count(const std::string& name) const {
    return world().wire().run([&] {
      for (const char* file : {"/proc/thread-self/net/snmp", "/proc/thread-self/net/netstat"}) {
        // A line of names before each line of numbers.
        std::ifstream in(file);
        for (std::string names, numbers; std::getline(in, names) && std::getline(in, numbers);) {
          std::istringstream name_at(names), number_at(numbers);
          for (std::string one, number; name_at >> one && number_at >> number;)
            if (names.starts_with("Tcp") && one == name) return std::stoull(number);
        }
      }
      throw std::runtime_error("this kernel's TCP does not count " + name);
    });
  }

  Completed fetch(const std::vector<std::string>& paths) const {
    std::vector<std::string> command{program("lwip_fetch"), "--bind", host4 + ":0", "--server", wire4 + ":80"};
    command.insert(command.end(), paths.begin(), paths.end());
    return run(
        command,
        {.who = {.netns = &world().host(), .uid = alice}, .environment = {{"MSTACK_RUN_DIR", world().run_dir()}}},
        Deadline{60s});
  }

 private:
  FaultRates rates_;
  std::optional<Faults> faults_;
};

TEST_F(LwipBadWire, ServesEveryByte) {
  const std::string root = folder("www");
  const Process server = start_httpd({"--root", root});
  for (const bool ipv6 : {false, true}) {
    for (const std::size_t size : {100, 1460, 20'000, 300'000, 3'000'000}) {
      write_file(root + "/file" + std::to_string(size), noise(size, static_cast<unsigned>(size)));
      const std::string got = world().directory() + "/got";
      const Completed done = curl("/file" + std::to_string(size), {"--fail", "-o", got}, ipv6);
      ASSERT_EQ(done.exit.code, 0) << done.err;
      EXPECT_TRUE(read_file(got) == read_file(root + "/file" + std::to_string(size))) << size;
    }
  }
  // Many connections at once, each with its own losses.
  const Completed load = on_wire({"ab", "-q", "-k", "-s", "50", "-n", "2000", "-c", "100", url("/bytes/10000")});
  EXPECT_EQ(load.exit.code, 0) << load.err;
  EXPECT_NE(load.out.find("Failed requests:        0"), std::string::npos) << load.out;
  EXPECT_GT(tcp_count("RetransSegs"), 0U) << "nothing was lost on its way to lwIP";
  EXPECT_GT(tcp_count("TCPOFOQueue"), 0U) << "what lwIP sent had no gaps";
}

// The other way: what lwIP receives comes in gaps, twice and out of order, and waits in its queue as UMEM frames.
TEST_F(LwipBadWire, ReceivesEveryByte) {
  const std::string root = folder("www");
  const std::string content = noise(3'000'000, 9);
  write_file(root + "/file", content);
  const Process nginx = start_nginx({wire4, 80}, root, world().wire());
  const Completed fetched = fetch({"/file", "/file"});
  EXPECT_EQ(fetched.exit, (Exit{.code = 0, .signal = 0})) << fetched.err;
  EXPECT_TRUE(fetched.out == content + content) << fetched.out.size();
  Process iperf = start_program("lwip_iperf", {"--bind", host4 + ":5001"}, 1);
  const Completed sent = on_wire({"iperf", "-c", host4, "-p", "5001", "-n", "3M"});
  EXPECT_EQ(sent.exit.code, 0) << sent.err;
  EXPECT_TRUE(eventually([&] { return iperf.out().find("done") != std::string::npos; })) << iperf.out();
  const std::string out = iperf.out();
  std::smatch bytes;
  ASSERT_TRUE(std::regex_search(out, bytes, std::regex(": ([0-9]+) bytes in"))) << out;
  // lwiperf does not count what comes together with the first bytes: where these are lost, all that waited for them.
  EXPECT_GE(std::stoul(bytes[1]), 3U * 1024 * 1024 - 65536) << out;
  EXPECT_GT(tcp_count("RetransSegs"), 0U) << "nothing was lost on its way to lwIP";
  EXPECT_GT(tcp_count("TCPSackRecovery"), 0U) << "lwIP has told of no gap";
}

// With one fault alone, which is then what every gap comes from.
class LwipOneFault : public LwipBadWire, public ::testing::WithParamInterface<FaultRates> {
 protected:
  LwipOneFault() : LwipBadWire(GetParam()) {}
};

TEST_P(LwipOneFault, ServesAndReceivesEveryByte) {
  const std::string root = folder("www");
  const std::string content = noise(3'000'000, 11);
  write_file(root + "/file", content);
  const Process server = start_httpd({"--root", root});
  for (const bool ipv6 : {false, true}) {
    const std::string got = world().directory() + "/got";
    const Completed done = curl("/file", {"--fail", "-o", got}, ipv6);
    ASSERT_EQ(done.exit.code, 0) << done.err;
    EXPECT_TRUE(read_file(got) == content) << "IPv6 " << ipv6;
  }
  EXPECT_GT(tcp_count("TCPOFOQueue"), 0U) << "what lwIP sent had no gaps";
  const std::uint64_t before = tcp_count("TCPSackRecovery");
  const Process nginx = start_nginx({wire4, 80}, root, world().wire());
  const Completed fetched = fetch({"/file"});
  EXPECT_EQ(fetched.exit, (Exit{.code = 0, .signal = 0})) << fetched.err;
  EXPECT_TRUE(fetched.out == content) << fetched.out.size();
  EXPECT_GT(tcp_count("TCPSackRecovery"), before) << "lwIP has told of no gap";
}

INSTANTIATE_TEST_SUITE_P(Faults, LwipOneFault, ::testing::Values(FaultRates{.lost = 10}, FaultRates{.late = 20}),
                         [](const auto& chosen) { return std::string(chosen.param.lost != 0 ? "lost" : "late"); });

// Behind a router whose next link carries less than the uplink. It cuts IPv4 packets itself; of IPv6 ones it says that
// they are too big, which lwIP does not hear.
class LwipNarrowPath : public LwipTest {
 protected:
  LwipNarrowPath() : LwipTest({.far = true}) {}
};

TEST_F(LwipNarrowPath, ServesEveryByte) {
  // The router's end alone, since a client's own MTU would be in its MSS.
  World::in(world().wire(), "ip link set near0 mtu 1280");
  const std::string root = folder("www");
  const std::string content = noise(3'000'000, 12);
  write_file(root + "/file", content);
  const Process server = start_httpd({"--root", root});
  for (const bool ipv6 : {false, true}) {
    const std::string got = world().directory() + "/got";
    const Completed done = run({"curl", "-sS", "--max-time", "50", "--fail", "-o", got, url("/file", ipv6)},
                               {.who = {.netns = &world().far()}}, Deadline{60s});
    EXPECT_EQ(done.exit.code, 0) << "IPv6 " << ipv6 << ": " << done.err;
    EXPECT_TRUE(read_file(got) == content) << "IPv6 " << ipv6;
  }
}

class LwipHostile : public LwipTest {
 protected:
  static std::string status_of(const std::optional<std::string>& answer) {
    if (!answer) return "never closed";
    if (answer->empty()) return "closed";
    return answer->starts_with("HTTP/1.1 ") ? answer->substr(9, 3) : "nonsense";
  }
  // Whatever was done to it, the server serves.
  void expect_alive(Process& server) const {
    EXPECT_TRUE(server.running()) << server.err();
    EXPECT_EQ(curl("/bytes/5", {"-o", "/dev/null", "-w", "%{http_code}"}).out, "200");
  }
};

TEST_F(LwipHostile, MalformedAndOversizedRequests) {
  Process server = start_httpd();
  const std::string host = "Host: x\r\n";
  const struct {
    std::string request, status;
  } cases[] = {
      {"\r\n\r\n\r\nGARBAGE\r\n\r\n", "400"},
      {"GET / HTTP/1.1\r\n\r\n", "400"},  // no Host
      {"GET / HTTP/1.1\r\n" + host + host + "\r\n", "400"},
      {"GET /\r\n\r\n", "400"},
      {"GET  / HTTP/1.1\r\n" + host + "\r\n", "400"},
      {"GET / HTTP/1.1 \r\n" + host + "\r\n", "400"},
      {"GET / HTTP/2.0\r\n" + host + "\r\n", "505"},
      {"GET / HTTX/1.1\r\n" + host + "\r\n", "400"},
      {"GET / HTTP/1.1\n" + host + "\n", "400"},
      {"GET / HTTP/1.1\r\n" + host + "Name : value\r\n\r\n", "400"},
      {"GET / HTTP/1.1\r\n" + host + " folded\r\n\r\n", "400"},
      {"GET / HTTP/1.1\r\n" + host + "no colon\r\n\r\n", "400"},
      {"GET / HTTP/1.1\r\n" + host + "A: \x01\r\n\r\n", "400"},
      {std::string("GET /\0 HTTP/1.1\r\n", 17) + host + "\r\n", "400"},
      {"GET /%zz HTTP/1.1\r\n" + host + "\r\n", "400"},
      {"GET /%4 HTTP/1.1\r\n" + host + "\r\n", "400"},
      {"GET index.html HTTP/1.1\r\n" + host + "\r\n", "400"},
      {"GET / HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n", "400"},
      {"GET / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", "400"},
      {"GET / HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999999\r\n\r\n", "400"},
      {"GET / HTTP/1.1\r\n" + host + "Content-Length: 9999999999\r\n\r\n", "413"},
      {"GET / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "501"},
      {"GET / HTTP/1.1\r\n" + host + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "400"},
      {"POST / HTTP/1.1\r\n" + host + "Content-Length: 3\r\n\r\nabc", "405"},
      {"CONNECT example.org:443 HTTP/1.1\r\n" + host + "\r\n", "405"},
      {"GET /" + std::string(5000, 'a') + " HTTP/1.1\r\n" + host + "\r\n", "414"},
      {"GET /" + std::string(100'000, 'a'), "414"},
      {"GET / HTTP/1.1\r\n" + host + "A: " + std::string(100'000, 'a'), "431"},
      {std::string(200'000, '\r'), "414"},
      {[] {
         std::string many = "GET / HTTP/1.1\r\nHost: x\r\n";
         for (int i = 0; i < 150; ++i) many += "A: b\r\n";
         return many + "\r\n";
       }(),
       "431"},
      {"GET http://x/bytes/3 HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", "200"},  // which is right
      {"\r\n\r\nGET /bytes/3 HTTP/1.0\r\n\r\n", "200"},
  };
  for (const auto& one : cases)
    EXPECT_EQ(status_of(raw_exchange(one.request)), one.status) << one.request.substr(0, 70);
  // A TLS hello, and bytes of all kinds.
  std::mt19937 random(5);
  for (unsigned round = 0; round < 20; ++round) {
    std::string bytes =
        round == 0 ? std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 15) : noise(3000, random());
    bytes += "\r\n\r\n";
    const std::string status = status_of(raw_exchange(bytes, round % 2 != 0));
    EXPECT_TRUE(status == "400" || status == "431" || status == "414" || status == "closed") << status;
  }
  expect_alive(server);
}

// A request in the smallest pieces, many in one piece, and requests behind one that ends the connection.
TEST_F(LwipHostile, PiecesAndPipelines) {
  Process server = start_httpd();
  const std::string request = "GET /bytes/3 HTTP/1.1\r\nHost: x\r\n", last = "Connection: close\r\n\r\n";
  const Fd slow = raw_connection();
  const int on = 1;
  check(::setsockopt(slow.get(), IPPROTO_TCP, 1 /* TCP_NODELAY */, &on, sizeof(on)), "TCP_NODELAY");
  for (const char c : request + last) check(::send(slow.get(), &c, 1, MSG_NOSIGNAL), "send");
  EXPECT_EQ(status_of(read_to_end(slow.get())), "200");

  const auto count = [](const std::string& text) {
    std::size_t responses = 0;
    for (std::size_t at = text.find("HTTP/1.1 200"); at != std::string::npos; at = text.find("HTTP/1.1 200", at + 1))
      ++responses;
    return responses;
  };
  std::string pipeline;
  for (int i = 0; i < 500; ++i) pipeline += request + "\r\n";
  const auto answers = raw_exchange(pipeline + request + last + request + last);
  ASSERT_TRUE(answers);
  EXPECT_EQ(count(*answers), 501U);
  // With bodies that are larger than any window, and a request's body in between.
  const std::string large = "GET /bytes/400000 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /";
  const auto bodies = raw_exchange(large + large + large + request + last);
  ASSERT_TRUE(bodies);
  EXPECT_EQ(count(*bodies), 4U);
  EXPECT_GT(bodies->size(), 1'200'000U);
  // A client that ends its side first still gets all of it.
  const Fd half = raw_connection();
  check(::send(half.get(), large.data(), large.size(), MSG_NOSIGNAL), "send");
  check(::shutdown(half.get(), SHUT_WR), "shutdown");
  const auto rest = read_to_end(half.get());
  ASSERT_TRUE(rest);
  EXPECT_GT(rest->size(), 400'000U);
  expect_alive(server);
}

TEST_F(LwipHostile, SlowPeersAreLetGo) {
  Process server = start_httpd({"--timeout", "1", "--statistics"});
  std::vector<Fd> slow, silent, bodiless, deaf;
  for (int i = 0; i < 100; ++i) {
    slow.push_back(raw_connection());
    check(::send(slow.back().get(), "GET / HTTP/1.1\r\nHos", 19, MSG_NOSIGNAL), "send");
    silent.push_back(raw_connection(true));
    // Answered already: a 408 would be taken for the answer to the next request.
    bodiless.push_back(raw_connection());
    const std::string request = "GET /bytes/3 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab";
    check(::send(bodiless.back().get(), request.data(), request.size(), MSG_NOSIGNAL), "send");
  }
  for (int i = 0; i < 10; ++i) {  // who ask for much and read nothing
    deaf.push_back(raw_connection());
    const std::string request = "GET /bytes/100000000 HTTP/1.1\r\nHost: x\r\n\r\n";
    check(::send(deaf.back().get(), request.data(), request.size(), MSG_NOSIGNAL), "send");
  }
  expect_alive(server);
  for (const Fd& fd : slow) EXPECT_EQ(status_of(read_to_end(fd.get())), "408");
  for (const Fd& fd : silent) EXPECT_EQ(status_of(read_to_end(fd.get())), "closed");
  for (const Fd& fd : bodiless) {
    const auto answer = read_to_end(fd.get());
    EXPECT_EQ(status_of(answer), "200");
    EXPECT_EQ(answer.value_or("").find("HTTP/1.1", 1), std::string::npos) << *answer;
  }
  // Idle connections are the server's clock: when the third in a row is closed, the deaf are long past their time.
  // Their kernel takes no reset while its window is shut, so they hear of it when they read.
  for (int i = 0; i < 3; ++i) EXPECT_EQ(status_of(read_to_end(raw_connection().get())), "closed");
  for (const Fd& fd : deaf) {
    const auto part = read_to_end(fd.get());
    ASSERT_TRUE(part);
    EXPECT_LT(part->size(), 100'000'000U);
  }
  expect_alive(server);
}

// Who pipelines without reading is stopped by flow control, and what is held of him does not stop the others.
TEST_F(LwipHostile, AFloodOfUnreadRequestsLeavesRoomForOthers) {
  Process server = start_httpd({"--frames", "512", "--statistics"});
  std::string pipeline;
  for (int i = 0; i < 4000; ++i) pipeline += "GET /bytes/1000000 HTTP/1.1\r\nHost: x\r\n\r\n";
  std::vector<Fd> flood;
  for (int i = 0; i < 40; ++i) {
    flood.push_back(raw_connection());
    std::size_t sent = 0;
    while (sent < pipeline.size()) {
      const ssize_t size = ::send(flood.back().get(), pipeline.data() + sent, pipeline.size() - sent, MSG_DONTWAIT);
      if (size < 0) break;
      sent += static_cast<std::size_t>(size);
    }
  }
  for (int i = 0; i < 20; ++i) expect_alive(server);
  for (Fd& fd : flood) fd.reset();
  expect_alive(server);
  server.signal(SIGTERM);
  const auto exit = server.wait();
  ASSERT_TRUE(exit);
  EXPECT_EQ(*exit, (Exit{.code = 0, .signal = 0})) << server.err();
  std::smatch copied;
  const std::string out = server.out();
  ASSERT_TRUE(std::regex_search(out, copied, std::regex("copied ([0-9]+)"))) << out;
  EXPECT_NE(copied[1], "0") << "the flood never held a quarter of the frames: " << out;
}

}  // namespace
}  // namespace mstack::test
