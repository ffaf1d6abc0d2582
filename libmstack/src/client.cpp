// SPDX-License-Identifier: BSD-2-Clause
#include "client.hpp"

#include <poll.h>

#include <cerrno>
#include <cstring>

#include "messages.hpp"
#include "run_dir.hpp"
#include "unix_socket.hpp"

namespace mstack {
namespace {

// ECONNRESET, whatever the kernel called it: the one error after which a vport can be resumed.
std::unexpected<Error> connection_lost() {
  return failure(ECONNRESET, "mstackd closed the connection: it ended, or refused this client; see its log");
}

bool is_lost(int code) {
  return code == EPIPE || code == ECONNRESET || code == ENOTCONN;
}

}  // namespace

Expected<Client> Client::connect(const std::string& run_dir) {
  const std::string path = socket_path(run_dir);
  auto socket = unix_socket::connect(path, default_patience);
  if (socket) return Client(std::move(*socket));
  const int code = socket.error().code;
  if (code == ENAMETOOLONG) return std::unexpected(socket.error());
  const char* advice = code == EACCES   ? "; mstackd lets only a group in, or the directory is closed to you"
                       : code == EAGAIN ? "; it takes no more connections: try again later"
                                        : "; start mstackd, or set MSTACK_RUN_DIR";
  return failure(code, "no mstackd at " + path + ": " + error_text(code) + advice);
}

Expected<std::vector<Fd>> Client::exchange(protocol::Header& header, std::span<const std::byte> request,
                                           std::span<const int> descriptors, std::span<std::byte> response,
                                           std::size_t max_descriptors, bool has_results) {
  if (!socket_) return connection_lost();
  header.version = protocol::version;
  header.sequence = ++sequence_;
  header.zero = 0;
  auto received = exchange_once(header, request, descriptors, response, max_descriptors);
  if (!received) {
    socket_.reset();
    if (is_lost(received.error().code)) return connection_lost();
    return received;
  }
  protocol::Reply reply = {};
  std::memcpy(&reply, response.data(), sizeof(reply));
  // A claim's results name the refused ones; results that are all zero say that the request as a whole was refused.
  std::uint32_t results = 0;
  if (has_results) std::memcpy(&results, response.data() + offsetof(protocol::TuplesReply, count), sizeof(results));
  if (reply.error != 0 && results == 0) {
    const auto text = protocol::text_of(reply);
    return failure(reply.error, text.empty() ? error_text(reply.error) : std::string(text));
  }
  return received;
}

Expected<std::vector<Fd>> Client::exchange_once(const protocol::Header& header, std::span<const std::byte> request,
                                                std::span<const int> descriptors, std::span<std::byte> response,
                                                std::size_t max_descriptors) {
  const auto deadline = std::chrono::steady_clock::now() + patience_;
  const auto too_late = [](Error error) -> std::unexpected<Error> {
    if (error.code == ETIMEDOUT) error.what = "mstackd does not answer: it hangs, or is stopped";
    return std::unexpected(std::move(error));
  };
  for (;;) {
    auto sent = unix_socket::send(socket_.get(), request, descriptors);
    if (sent) break;
    if (sent.error().code != EAGAIN) return std::unexpected(std::move(sent.error()));
    if (auto ready = unix_socket::wait(socket_.get(), POLLOUT, deadline); !ready) return too_late(ready.error());
  }
  std::memset(response.data(), 0, response.size());  // a bare refusal leaves the rest 0
  for (;;) {
    if (auto ready = unix_socket::wait(socket_.get(), POLLIN, deadline); !ready) return too_late(ready.error());
    auto received = unix_socket::receive(socket_.get(), response, max_descriptors);
    if (!received) {
      if (received.error().code == EAGAIN) continue;
      return std::unexpected(std::move(received.error()));
    }
    if (received->end) return connection_lost();
    if (received->truncated)
      return failure(EPROTO, "mstackd sent more than was asked for, or this process may open no more descriptors");
    const auto checked = protocol::check_reply(response.first(received->size), header, response.size());
    if (!checked) return std::unexpected(checked.error());
    return std::move(received->descriptors);
  }
}

}  // namespace mstack
