// SPDX-License-Identifier: BSD-2-Clause
#include "net/lwip_fixture.hpp"

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

namespace mstack::test {

void LwipTest::SetUp() {
#ifndef TESTED_LWIP
  GTEST_SKIP() << "lwIP's sources were not there when this was built: selftests/support/debian.sh gets them";
#else
  NetTest::SetUp();
  // Tests and their clients open a thousand connections and more.
  rlimit limit = {};
  check(::getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
  limit.rlim_cur = limit.rlim_max;
  check(::setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
#endif
}

std::string LwipTest::folder(const std::string& name) const {
  const std::string path = world().directory() + "/" + name;
  std::filesystem::create_directories(path);
  return path;
}

void LwipTest::write_file(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

std::string LwipTest::read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::string LwipTest::noise(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::string out(size, '\0');
  for (std::size_t at = 0; at < size; at += 4) {
    const std::uint32_t word = random();
    for (std::size_t i = 0; i < 4 && at + i < size; ++i) out[at + i] = static_cast<char>(word >> (8 * i));
  }
  return out;
}

std::string LwipTest::program(const std::string& name) const {
#ifdef TESTED_LWIP
  // A copy, since other users may not reach the build directory.
  const std::string copy = world().directory() + "/" + name;
  if (!std::filesystem::exists(copy)) {
    std::filesystem::copy_file(std::string(TESTED_LWIP) + "/" + name, copy);
    check(::chmod(copy.c_str(), 0755), "chmod " + copy);
  }
  return copy;
#else
  return name;
#endif
}

Process LwipTest::start_program(const std::string& name, const std::vector<std::string>& arguments,
                                std::size_t ready) const {
  std::vector<std::string> command{program(name)};
  command.insert(command.end(), arguments.begin(), arguments.end());
  Process process = Process::command(command, {.who = {.netns = &world().host(), .uid = alice},
                                               .environment = {{"MSTACK_RUN_DIR", world().run_dir()}}});
  const auto count = [&] {
    const std::string out = process.out();
    std::size_t lines = 0;
    for (std::size_t at = out.find(": ready"); at != std::string::npos; at = out.find(": ready", at + 1)) ++lines;
    return lines;
  };
  eventually([&] { return count() == ready || !process.running(); });
  if (count() != ready) throw std::runtime_error(name + " does not serve: " + process.out() + process.err());
  return process;
}

Process LwipTest::start_httpd(std::vector<std::string> arguments) const {
  std::vector<std::string> all{"--bind", host4 + ":" + std::to_string(http_port), "--bind",
                               "[" + host6 + "]:" + std::to_string(http_port)};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return start_program("lwip_httpd", all, 2);
}

Process LwipTest::start_nginx(const Endpoint& at, const std::string& root, const Namespace& netns) const {
  const std::string directory = folder("nginx" + std::to_string(at.port));
  std::ostringstream where;
  where << (at.ipv6() ? "[" + at.address + "]" : at.address) << ':' << at.port;
  write_file(directory + "/nginx.conf", "daemon off; master_process off; worker_processes 1; pid " + directory +
                                            "/pid; error_log stderr;\n"
                                            "events { worker_connections 4096; }\n"
                                            "http { access_log off; sendfile on; client_body_temp_path " +
                                            directory + "/body; proxy_temp_path " + directory +
                                            "/proxy; fastcgi_temp_path " + directory + "/fastcgi; uwsgi_temp_path " +
                                            directory + "/uwsgi; scgi_temp_path " + directory +
                                            "/scgi;\n"
                                            "server { listen " +
                                            where.str() + "; root " + root + "; } }\n");
  Process process = Process::command({DEBIAN_NGINX, "-p", directory, "-c", directory + "/nginx.conf", "-e", "stderr"},
                                     {.who = {.netns = &netns}});
  const bool serves = eventually([&] {
    if (!process.running()) return true;
    const Fd socket = netns.run([&] { return make_socket(IPPROTO_TCP, at.ipv6()); });
    const SocketAddress address{at};
    return ::connect(socket.get(), address.get(), address.size) == 0;
  });
  if (!serves || !process.running()) throw std::runtime_error("nginx does not serve: " + process.err());
  return process;
}

Completed LwipTest::on_wire(const std::vector<std::string>& arguments, std::chrono::milliseconds patient) const {
  return run(arguments, {.who = {.netns = &world().wire()}}, Deadline{patient});
}

std::string LwipTest::url(const std::string& path, bool ipv6, std::uint16_t port) {
  return "http://" + (ipv6 ? "[" + host6 + "]" : host4) + ":" + std::to_string(port) + path;
}

Completed LwipTest::curl(const std::string& path, const std::vector<std::string>& more, bool ipv6) const {
  std::vector<std::string> command{"curl", "-sS", "--max-time", "50", "--path-as-is"};
  command.insert(command.end(), more.begin(), more.end());
  command.push_back(url(path, ipv6));
  return on_wire(command);
}

Fd LwipTest::raw_connection(bool ipv6) const {
  Fd socket = world().wire().run([&] { return make_socket(IPPROTO_TCP, ipv6); });
  const SocketAddress address{Endpoint{ipv6 ? host6 : host4, http_port}};
  // A server that answers no SYN is waited for no longer than for anything else.
  const timeval most = {.tv_sec = std::chrono::duration_cast<std::chrono::seconds>(patience).count(), .tv_usec = 0};
  check(::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &most, sizeof(most)), "SO_SNDTIMEO");
  check(::connect(socket.get(), address.get(), address.size), "connect to the server");
  return socket;
}

std::optional<std::string> read_to_end(int fd, const Deadline& deadline) {
  std::string text;
  std::array<char, 65536> part{};
  while (wait_for(fd, POLLIN, deadline)) {
    const ssize_t size = ::recv(fd, part.data(), part.size(), MSG_DONTWAIT);
    if (size < 0 && errno == ECONNRESET) return text;
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    check(size, "recv");
    if (size == 0) return text;
    text.append(part.data(), static_cast<std::size_t>(size));
  }
  return std::nullopt;
}

std::optional<std::string> LwipTest::raw_exchange(const std::string& text, bool ipv6) const {
  const Fd socket = raw_connection(ipv6);
  std::size_t sent = 0;
  while (sent < text.size()) {
    const ssize_t size = ::send(socket.get(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (size < 0) break;  // the server has closed already
    sent += static_cast<std::size_t>(size);
  }
  return read_to_end(socket.get());
}

}  // namespace mstack::test
