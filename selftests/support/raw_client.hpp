// SPDX-License-Identifier: BSD-2-Clause
//
// A client of mstackd without libmstack: it can say what the library never would.
#pragma once

#include <cstring>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol.hpp"
#include "support/deadline.hpp"
#include "support/fd.hpp"

namespace mstack::test {

class RawClient {
 public:
  struct Answer {
    std::vector<std::uint8_t> bytes;
    std::vector<Fd> fds;
    template <typename Message>
    Message as() const {
      Message message{};
      if (bytes.size() != sizeof(message)) throw std::runtime_error("a reply of " + std::to_string(bytes.size()));
      std::memcpy(&message, bytes.data(), sizeof(message));
      return message;
    }
    // Of any reply: all begin with it.
    protocol::Reply reply() const {
      protocol::Reply reply{};
      if (bytes.size() < sizeof(reply)) throw std::runtime_error("a reply of " + std::to_string(bytes.size()));
      std::memcpy(&reply, bytes.data(), sizeof(reply));
      return reply;
    }
    int error() const { return reply().error; }
    std::string text() const { return reply().text.data(); }
  };

  // The socket belongs to the uid and cgroup of the calling thread.
  explicit RawClient(const std::string& run_dir);

  // The errno of sending, 0 if it went.
  int send(std::span<const std::uint8_t> bytes, std::span<const int> fds = {}, int flags = 0) const;
  template <typename Message>
  requires(!std::ranges::range<Message>)  // bytes are sent as such, not the container that holds them
      int send(const Message& message, std::span<const int> fds = {}) const {
    return send({reinterpret_cast<const std::uint8_t*>(&message), sizeof(message)}, fds);
  }
  std::optional<Answer> receive(const Deadline& deadline = Deadline{}) const;  // none: closed by mstackd
  // Whether mstackd closes the connection (and says nothing more).
  bool ends(const Deadline& deadline = Deadline{}) const;

  template <typename Message>
  Answer ask(const Message& message, std::span<const int> fds = {}) const {
    if (const int error = send(message, fds); error != 0)
      throw std::system_error(error, std::generic_category(), "send");
    auto answer = receive();
    if (!answer) throw std::runtime_error("mstackd closed the connection instead of answering");
    return std::move(*answer);
  }

  // The usual requests, well formed.
  static protocol::Header header(protocol::Type type);
  static protocol::OpenVport open_request(std::uint32_t queues = 1, std::uint32_t frames = 64);
  Answer open_vport(std::uint32_t queues = 1, std::uint32_t frames = 64) const;
  Answer claim(std::span<const int> fds, std::uint32_t flags = 0) const;
  Answer claim(int fd) const { return claim(std::span<const int>(&fd, 1)); }
  Answer release(std::span<const mstack_tuple> tuples) const;
  Answer uplink(protocol::Type type, std::string_view name) const;

  int fd() const { return fd_.get(); }
  void close() { fd_.reset(); }

 private:
  Fd fd_;
};

}  // namespace mstack::test
