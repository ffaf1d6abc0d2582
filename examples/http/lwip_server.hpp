// SPDX-License-Identifier: BSD-2-Clause
//
// http::Connection on lwIP's raw TCP API.
#pragma once

#include <lwip/tcp.h>

#include <cstdint>
#include <expected>
#include <string>
#include <unordered_set>
#include <vector>

#include "connection.hpp"

namespace http {

struct LwipTimeouts {
  std::uint32_t request_ms = 10'000;  // from the first byte of a request to its last
  std::uint32_t idle_ms = 60'000;     // between requests
  std::uint32_t send_ms = 30'000;     // without an acknowledgement of what was sent
  std::uint32_t linger_ms = 3'000;    // after the last response, for the peer to close too
};

struct LwipCounters {
  std::uint64_t accepted = 0, timed_out = 0, broken = 0;
  std::size_t most_at_once = 0;
};

class LwipServer {
 public:
  LwipServer(Service& service, const LwipTimeouts& timeouts) : service_(service), timeouts_(timeouts) {}
  ~LwipServer();
  LwipServer(LwipServer&&) = delete;

  // Every address that packets come to, IPv4 and IPv6.
  [[nodiscard]] std::expected<void, std::string> listen(std::uint16_t port);

  // Takes no new connection, and ends each after the response it is at.
  void end_soon();
  // Resets what is left.
  void abort();
  [[nodiscard]] std::size_t connections() const { return connections_.size(); }
  [[nodiscard]] const LwipCounters& counters() const { return counters_; }

 private:
  class Tcp;
  static err_t accept(void* self, tcp_pcb* pcb, err_t error);

  Service& service_;
  LwipTimeouts timeouts_;
  std::vector<tcp_pcb*> listeners_;
  std::unordered_set<Tcp*> connections_;
  std::size_t sending_ = 0;  // connections with something that is not acknowledged
  LwipCounters counters_;
};

}  // namespace http
