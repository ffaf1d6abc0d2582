// SPDX-License-Identifier: BSD-2-Clause
//
// An mstackd that misbehaves as it is told: it listens in a run directory of its own, and a script talks to each client
// in turn.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "messages.hpp"
#include "run_dir.hpp"
#include "unix_socket.hpp"

namespace mstack::test {

inline unix_socket::Deadline soon() {
  return std::chrono::steady_clock::now() + std::chrono::seconds(20);
}

// One connection, as the server sees it.
class Peer {
 public:
  explicit Peer(Fd socket) : socket_(std::move(socket)) {}

  // The next request: false when the client is gone. At most 250 descriptors come with it.
  bool next() {
    descriptors.clear();
    if (!unix_socket::wait(socket_.get(), POLLIN, soon())) return false;
    auto received = unix_socket::receive(socket_.get(), buffer_, protocol::max_descriptors);
    if (!received || received->end) return false;
    EXPECT_FALSE(received->truncated);
    descriptors = std::move(received->descriptors);
    size = received->size;
    return true;
  }
  template <class Request>
  Request as() const {
    Request request = {};
    std::memcpy(&request, buffer_.data(), sizeof(request));
    return request;
  }
  [[nodiscard]] protocol::Header header() const { return as<protocol::Header>(); }

  static void set_text(protocol::Reply& reply, std::string_view text) {
    std::ranges::copy(text.substr(0, reply.text.size() - 1), reply.text.begin());
  }

  // A response with the request's header, otherwise 0.
  template <class Response>
  Response answer() const {
    Response response = {};
    const protocol::Header request = header();
    std::memcpy(&response, &request, sizeof(request));
    return response;
  }
  template <class Response>
  void send(const Response& response, std::span<const int> fds = {}, std::size_t bytes = sizeof(Response)) {
    const auto all = protocol::bytes_of(response);
    // The client may be gone by now, which is its business.
    if (auto sent = unix_socket::send(socket_.get(), all.first(bytes), fds); !sent) last_error = sent.error().code;
  }

  std::vector<Fd> descriptors;
  std::size_t size = 0;
  int last_error = 0;  // of send()

 private:
  Fd socket_;
  std::array<std::byte, 16384> buffer_ = {};
};

using Script = std::function<void(Peer&)>;

// Serves one client after another, the first with the first script and so on; the last script serves all further ones.
class FakeServer {
 public:
  explicit FakeServer(std::vector<Script> scripts) : scripts_(std::move(scripts)), stop_(::eventfd(0, EFD_CLOEXEC)) {
    std::string name = std::filesystem::temp_directory_path() / "mstack-test-XXXXXX";
    if (::mkdtemp(name.data())) directory_ = name;
    auto listener = unix_socket::listen(socket_path(directory_), 16);
    EXPECT_TRUE(listener) << listener.error().what;
    if (listener) listener_ = std::move(*listener);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeServer() {
    const std::uint64_t one = 1;
    EXPECT_EQ(::write(stop_.get(), &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
    thread_.join();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  [[nodiscard]] const std::string& run_dir() const { return directory_; }

 private:
  void serve() {
    for (std::size_t i = 0;; ++i) {
      std::array<pollfd, 2> polls = {pollfd{.fd = listener_.get(), .events = POLLIN, .revents = 0},
                                     pollfd{.fd = stop_.get(), .events = POLLIN, .revents = 0}};
      if (::poll(polls.data(), polls.size(), -1) < 0 || polls[1].revents) return;
      auto socket = unix_socket::accept(listener_.get());
      if (!socket) return;
      Peer peer(std::move(*socket));
      scripts_[std::min(i, scripts_.size() - 1)](peer);
    }
  }

  std::vector<Script> scripts_;
  std::string directory_;
  Fd listener_;
  Fd stop_;
  std::thread thread_;
};

}  // namespace mstack::test
