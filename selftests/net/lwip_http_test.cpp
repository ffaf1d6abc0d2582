// SPDX-License-Identifier: BSD-2-Clause
//
// A web server on lwIP beside the kernel's, with the clients that people use.
#include <sys/socket.h>

#include <array>
#include <filesystem>
#include <random>
#include <regex>

#include "http/content.hpp"
#include "net/lwip_fixture.hpp"

namespace mstack::test {
namespace {

class LwipHttp : public LwipTest {
 protected:
  // What curl got, in a file on the wire's side.
  std::string fetched(const std::string& path, bool ipv6 = false, const std::vector<std::string>& more = {}) const {
    const std::string file = world().directory() + "/fetched";
    std::vector<std::string> options{"-o", file};
    options.insert(options.end(), more.begin(), more.end());
    const Completed done = curl(path, options, ipv6);
    EXPECT_EQ(done.exit, (Exit{.code = 0, .signal = 0})) << path << ": " << done.err;
    return read_file(file);
  }
  std::string status(const std::string& path, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> options{"-o", "/dev/null", "-w", "%{http_code}"};
    options.insert(options.end(), more.begin(), more.end());
    return curl(path, options).out;
  }
};

TEST_F(LwipHttp, CurlGetsFilesAndGeneratedBodies) {
  const std::string root = folder("www");
  const Process server = start_httpd({"--root", root});
  for (const std::size_t size : {0, 1, 1023, 1024, 1025, 1460, 65536, 262144, 262145, 3'000'000}) {
    const std::string content = noise(size, static_cast<unsigned>(size) + 1);
    write_file(root + "/file", content);
    std::filesystem::rename(root + "/file", root + "/" + std::to_string(size));
    for (const bool ipv6 : {false, true}) {
      EXPECT_TRUE(fetched("/" + std::to_string(size), ipv6) == content) << size << " bytes, IPv6 " << ipv6;
      const std::string made_up = fetched("/bytes/" + std::to_string(size), ipv6);
      ASSERT_EQ(made_up.size(), size);
      for (std::size_t i = 0; i < size; ++i)
        ASSERT_EQ(static_cast<std::uint8_t>(made_up[i]), http::generated_byte(i)) << "byte " << i << " of " << size;
    }
  }
  std::filesystem::create_directory(root + "/folder");
  write_file(root + "/folder/index.html", "<p>index");
  EXPECT_EQ(fetched("/folder/"), "<p>index");
  EXPECT_EQ(fetched("/%66older/index.html?query#not-sent"), "<p>index");
  EXPECT_EQ(status("/folder"), "404");
  EXPECT_EQ(status("/absent"), "404");
  EXPECT_EQ(status("/bytes/-1"), "404");
  EXPECT_EQ(status("/bytes/99999999999999999999999"), "404");
  EXPECT_EQ(status("/", {"-X", "POST", "-d", "body"}), "405");
  EXPECT_EQ(status("/", {"-X", "BREW"}), "501");
  const Completed head = curl("/1023", {"-I"});
  EXPECT_NE(head.out.find("HTTP/1.1 200 OK\r\n"), std::string::npos);
  EXPECT_NE(head.out.find("Content-Length: 1023\r\n"), std::string::npos);
}

// A file that changes is served as it is now, also where the server has it in memory.
TEST_F(LwipHttp, AChangedFileIsServedAnew) {
  const std::string root = folder("www");
  const Process server = start_httpd({"--root", root});
  write_file(root + "/file", "before");
  EXPECT_EQ(fetched("/file"), "before");
  write_file(root + "/new", "after");
  std::filesystem::rename(root + "/new", root + "/file");
  EXPECT_TRUE(eventually([&] { return fetched("/file") == "after"; }));
  std::filesystem::remove(root + "/file");
  EXPECT_TRUE(eventually([&] { return status("/file") == "404"; }));
}

TEST_F(LwipHttp, Ranges) {
  const std::string root = folder("www");
  const std::string content = noise(300'000, 7);
  write_file(root + "/file", content);
  const Process server = start_httpd({"--root", root});
  const auto range = [&](const std::string& text) { return fetched("/file", false, {"-H", "Range: " + text}); };
  EXPECT_TRUE(range("bytes=0-0") == content.substr(0, 1));
  EXPECT_TRUE(range("bytes=100-299999") == content.substr(100));
  EXPECT_TRUE(range("bytes=299999-") == content.substr(299'999));
  EXPECT_TRUE(range("bytes=-5") == content.substr(299'995));
  EXPECT_TRUE(range("bytes=-999999999") == content);
  EXPECT_TRUE(range("bytes=1000-99999999999") == content.substr(1000));
  const auto code = [&](const std::string& text) { return status("/file", {"-H", "Range: " + text}); };
  EXPECT_EQ(code("bytes=1-2"), "206");
  for (const std::string beyond : {"bytes=300000-", "bytes=300000-300001", "bytes=-0"})
    EXPECT_EQ(code(beyond), "416") << beyond;
  // What is no range that we know is no reason to refuse.
  for (const std::string ignored : {"bytes=2-1", "bytes=", "bytes=-", "bytes=a-b", "bytes=0-1,3-4", "lines=1-2",
                                    "bytes=+1-2", "bytes=1--2", "bytes=99999999999999999999999-", "bytes 1-2"})
    EXPECT_EQ(code(ignored), "200") << ignored;
  // The rest of a download that was cut off, by curl itself.
  const std::string part = world().directory() + "/part";
  write_file(part, content.substr(0, 123'456));
  EXPECT_EQ(curl("/file", {"-C", "-", "-o", part}).exit.code, 0);
  EXPECT_TRUE(read_file(part) == content);
  // A range of another version is the whole of this one.
  EXPECT_EQ(status("/file", {"-H", "Range: bytes=0-9", "-H", "If-Range: \"other\""}), "200");
}

TEST_F(LwipHttp, NothingOutsideTheFolderIsServed) {
  const std::string root = folder("www");
  write_file(world().directory() + "/secret", "secret");
  std::filesystem::create_symlink(world().directory() + "/secret", root + "/absolute");
  std::filesystem::create_symlink("../secret", root + "/relative");
  std::filesystem::create_symlink("/proc/self/root/etc/passwd", root + "/magic");
  write_file(root + "/private", "private");
  std::filesystem::permissions(root + "/private", std::filesystem::perms::owner_read);
  check(::mkfifo((root + "/fifo").c_str(), 0666), "mkfifo");
  const Process server = start_httpd({"--root", root});
  for (const std::string path : {"/../secret", "/..%2fsecret", "/%2e%2e/secret", "/x/../../secret", "//../secret",
                                 "/absolute", "/relative", "/magic", "/fifo", "/./../www/../secret"})
    EXPECT_EQ(status(path), "404") << path;
  EXPECT_EQ(status("/private"), "403");
  EXPECT_EQ(status("/secret%00.html"), "400");
}

// The kernel's web server on the same address, at the same time, and clients of both.
TEST_F(LwipHttp, BesideTheKernelsNginx) {
  const std::string root = folder("www");
  write_file(root + "/file", noise(1'000'000, 3));
  const Process server = start_httpd({"--root", root});
  const Process nginx = start_nginx({host4, kernel_port}, root, world().host());
  const Completed both =
      on_wire({"curl", "-sS", "--max-time", "50", "--parallel", "--fail", "-o", world().directory() + "/ours",
               url("/file"), "-o", world().directory() + "/kernels", url("/file", false, kernel_port)});
  EXPECT_EQ(both.exit.code, 0) << both.err;
  EXPECT_TRUE(read_file(world().directory() + "/ours") == read_file(root + "/file"));
  EXPECT_TRUE(read_file(world().directory() + "/kernels") == read_file(root + "/file"));
}

// SIGTERM: the response that is being sent is finished, new connections are refused, and the claim ends.
TEST_F(LwipHttp, EndsCleanlyInTheMiddleOfATransfer) {
  for (const std::string queues : {"1", "4"}) {
    Process server = start_httpd({"--queues", queues});
    Fd client = raw_connection();
    // So little that the server cannot be done with the response before it is read.
    const int little = 65536;
    check(::setsockopt(client.get(), SOL_SOCKET, SO_RCVBUF, &little, sizeof(little)), "SO_RCVBUF");
    const std::string request = "GET /bytes/2000000 HTTP/1.1\r\nHost: x\r\n\r\n";
    check(::send(client.get(), request.data(), request.size(), MSG_NOSIGNAL), "send");
    ASSERT_TRUE(wait_for(client.get(), POLLIN, Deadline{}));
    server.signal(SIGTERM);
    const auto refused = [&] {
      const Fd late = world().wire().run([] { return make_socket(IPPROTO_TCP, false); });
      const SocketAddress address{Endpoint{host4, http_port}};
      return ::connect(late.get(), address.get(), address.size) != 0 && errno == ECONNREFUSED;
    };
    // So many in a row that each queue has its part of them.
    EXPECT_TRUE(eventually([&] {
      for (int i = 0; i < 20; ++i)
        if (!refused()) return false;
      return true;
    }));
    EXPECT_TRUE(server.running()) << "refused, since it had ended";
    const auto response = read_to_end(client.get());
    ASSERT_TRUE(response);
    EXPECT_EQ(response->size(), response->find("\r\n\r\n") + 4 + 2'000'000);
    client.reset();
    const auto exit = server.wait();
    ASSERT_TRUE(exit);
    EXPECT_EQ(*exit, (Exit{.code = 0, .signal = 0})) << server.err();
    EXPECT_EQ(pins().claims().size(), 0U);
  }
}

TEST_F(LwipHttp, AKernelClientOnTheSameHost) {
  const Process server = start_httpd();
  for (const bool ipv6 : {false, true}) {
    const Completed done = run({"curl", "-sS", "--max-time", "50", url("/bytes/3000000", ipv6)},
                               {.who = {.netns = &world().host(), .uid = bob}}, Deadline{60s});
    EXPECT_EQ(done.exit, (Exit{.code = 0, .signal = 0})) << done.err;
    ASSERT_EQ(done.out.size(), 3'000'000U);
    for (std::size_t i = 0; i < done.out.size(); ++i)
      ASSERT_EQ(static_cast<std::uint8_t>(done.out[i]), http::generated_byte(i)) << "byte " << i;
  }
}

TEST_F(LwipHttp, EachQueueIsAProcess) {
  Process server = start_httpd({"--queues", "4", "--statistics"});
  const Completed load = on_wire({"ab", "-q", "-k", "-n", "4000", "-c", "200", url("/bytes/100")});
  EXPECT_EQ(load.exit.code, 0) << load.err;
  EXPECT_NE(load.out.find("Complete requests:      4000"), std::string::npos) << load.out;
  EXPECT_NE(load.out.find("Failed requests:        0"), std::string::npos) << load.out;
  server.signal(SIGTERM);
  const auto exit = server.wait();
  ASSERT_TRUE(exit);
  EXPECT_EQ(*exit, (Exit{.code = 0, .signal = 0})) << server.err();
  // 200 flows on four queues: none is left out.
  const std::regex line("queue [0-3]: connections ([0-9]+),.* of them copied ([0-9]+),");
  const std::string out = server.out();
  std::size_t queues = 0, connections = 0;
  for (std::sregex_iterator at(out.begin(), out.end(), line), end; at != end; ++at, ++queues) {
    EXPECT_NE((*at)[1], "0") << out;
    EXPECT_EQ((*at)[2], "0") << "received with a copy: " << out;
    connections += std::stoul((*at)[1]);
  }
  EXPECT_EQ(queues, 4U) << out;
  EXPECT_GE(connections, 200U);
}

}  // namespace
}  // namespace mstack::test
