// SPDX-License-Identifier: BSD-2-Clause
//
// A connection to mstackd: one request, one answer, in turn. For libmstack's vports and for `mstack attach`.
//
//   auto client = Client::connect(run_directory(option));
//   protocol::Uplink request = {.header = {.type = protocol::Type::attach_uplink}, ...};
//   protocol::Reply reply;
//   auto done = client->call(request, reply);   // a refusal by mstackd is an error with its text
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fd.hpp"
#include "mstack/error.hpp"
#include "protocol.hpp"

namespace mstack {

// Not thread-safe. After any error but a refusal the connection is closed, since its messages may be out of step.
class Client {
 public:
  static Expected<Client> connect(const std::string& run_dir);
  // Over a socket that is connected already.
  explicit Client(Fd socket, std::chrono::milliseconds patience = default_patience)
      : socket_(std::move(socket)), patience_(patience) {}

  // Fills in the request's header, but for its type. The answer may have up to `max_descriptors`. A refusal of the
  // whole request (Reply::error, no matter how long the answer is) is an error, except of a claim or a release: these
  // have results of their own, and a TuplesReply that is complete is returned as an answer.
  template <class Request, class Response>
  Expected<std::vector<Fd>> call(Request& request, Response& response, std::span<const int> descriptors = {},
                                 std::size_t max_descriptors = 0) {
    static_assert(std::is_trivially_copyable_v<Request> && std::is_trivially_copyable_v<Response>);
    return exchange(request.header, std::as_bytes(std::span(&request, 1)), descriptors,
                    std::as_writable_bytes(std::span(&response, 1)), max_descriptors,
                    std::is_same_v<Response, protocol::TuplesReply>);
  }

  [[nodiscard]] bool connected() const { return static_cast<bool>(socket_); }
  void close() { socket_.reset(); }

  // An answer later than this means an mstackd that hangs: attaching to a NIC may reset it, which takes seconds.
  static constexpr std::chrono::milliseconds default_patience = std::chrono::seconds(30);

 private:
  Expected<std::vector<Fd>> exchange(protocol::Header& header, std::span<const std::byte> request,
                                     std::span<const int> descriptors, std::span<std::byte> response,
                                     std::size_t max_descriptors, bool has_results);
  Expected<std::vector<Fd>> exchange_once(const protocol::Header& header, std::span<const std::byte> request,
                                          std::span<const int> descriptors, std::span<std::byte> response,
                                          std::size_t max_descriptors);

  Fd socket_;
  std::chrono::milliseconds patience_;
  std::uint32_t sequence_ = 0;
};

}  // namespace mstack
