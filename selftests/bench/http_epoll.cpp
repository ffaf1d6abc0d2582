// SPDX-License-Identifier: BSD-2-Clause
//
// lwip_httpd's HTTP on kernel sockets, with the least that takes: what lwIP over a vport is compared with. For clients
// that behave: no connection of it ever times out.
//
//   http_epoll --bind ADDR:PORT --root DIR
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <mstack/mstack.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "http/connection.hpp"
#include "support/fd.hpp"

namespace {

using mstack::test::check;
using mstack::test::Fd;

class Connection {
 public:
  Connection(Fd socket, http::Service& service) : socket_(std::move(socket)), http_(service) {}

  // Responses as far as there is room, then requests, until neither gets on. False: it is over.
  bool go_on(std::span<char> buffer) {
    for (bool drained = false;;) {
      if (!write()) return errno == EAGAIN;
      if (http_.ends()) return false;
      if (!unread_.empty()) {
        unread_.erase(0, http_.receive(unread_));
        continue;
      }
      // A read that leaves room was the last; more makes epoll tell of it.
      if (drained) return true;
      const ssize_t size = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
      if (size <= 0) return size < 0 && errno == EAGAIN;
      const std::string_view data(buffer.data(), static_cast<std::size_t>(size));
      drained = data.size() < buffer.size();
      unread_ = data.substr(http_.receive(data));
    }
  }

 private:
  // False, and errno, if not all could be sent.
  bool write() {
    for (;;) {
      const http::Output& output = http_.output();
      if (http_.broken()) return errno = EIO, false;
      if (output.bytes.empty()) return true;
      const ssize_t size =
          ::send(socket_.get(), output.bytes.data(), output.bytes.size(), MSG_NOSIGNAL | (output.more ? MSG_MORE : 0));
      if (size < 0) return false;
      http_.sent(static_cast<std::size_t>(size));
    }
  }

  Fd socket_;
  http::Connection http_;
  std::string unread_;  // requests behind one that is being answered
};

class Server {
 public:
  Server(const mstack::Tuple& at, const std::string& root) : service_(root), listener_(listen_at(at)) {
    if (service_.files.error() != 0) throw std::system_error(service_.files.error(), std::generic_category(), root);
    watch(listener_.get(), EPOLLIN);
  }

  [[noreturn]] void serve() {
    std::array<epoll_event, 256> events;
    std::vector<char> buffer(65536);
    for (;;) {
      const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
      if (count < 0 && errno != EINTR) check(-1, "epoll_wait");
      for (int i = 0; i < count; ++i) {
        const int fd = events[static_cast<std::size_t>(i)].data.fd;
        if (fd == listener_.get())
          accept();
        else if (const auto found = connections_.find(fd); !found->second.go_on(buffer))
          connections_.erase(found);
      }
    }
  }

 private:
  static Fd listen_at(const mstack::Tuple& at) {
    Fd fd(check(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket"));
    const int on = 1;
    check(::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), "SO_REUSEADDR");
    const sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(at.port), .sin_addr = {htonl(at.address.ipv4())}, .sin_zero = {}};
    check(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), "bind");
    check(::listen(fd.get(), 4096), "listen");
    return fd;
  }

  // Edge-triggered, both ways: one call for the life of a connection.
  void watch(int fd, std::uint32_t what) {
    epoll_event event = {.events = what, .data = {.fd = fd}};
    check(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
  }

  void accept() {
    Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd.get() < 0) return;
    const int on = 1;
    check(::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), "TCP_NODELAY");
    watch(fd.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    const int number = fd.get();
    connections_.try_emplace(number, std::move(fd), service_);
  }

  http::Service service_;
  Fd epoll_{check(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")};
  Fd listener_;
  std::unordered_map<int, Connection> connections_;
};

}  // namespace

int main(int argc, char** argv) try {
  std::string bind, root;
  CLI::App app("lwip_httpd's HTTP on kernel sockets.");
  app.add_option("--bind", bind, "where to listen, IPv4")->required()->type_name("ADDR:PORT");
  app.add_option("--root", root, "serve the files below this folder (else only /bytes/N)")->type_name("DIR");
  CLI11_PARSE(app, argc, argv);
  const auto at = mstack::tcp(bind);
  if (!at) throw std::runtime_error(at.error().what);
  Server server(*at, root);
  std::printf("http_epoll: ready %s\n", bind.c_str());
  std::fflush(stdout);
  server.serve();
} catch (const std::exception& error) {
  std::fprintf(stderr, "http_epoll: %s\n", error.what());
  return 1;
}
