// SPDX-License-Identifier: BSD-2-Clause
//
// One HTTP/1.1 connection, whatever carries its bytes: lwIP here, kernel sockets in the benchmark.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <span>
#include <string>
#include <string_view>

#include "content.hpp"
#include "request.hpp"

namespace http {

// What all connections share.
class Service {
 public:
  explicit Service(const std::string& folder) : files(folder) {}
  [[nodiscard]] std::expected<ContentRef, int> find(const std::string& path);
  [[nodiscard]] const std::string& date();

  Files files;

 private:
  std::time_t date_of_ = 0;
  std::string date_;
};

// What comes next on the wire.
struct Output {
  std::span<const std::uint8_t> bytes;
  std::shared_ptr<const void> owner;  // see Piece
  bool lasting = false;               // false: the bytes are the connection's, and good until sent() alone
  bool more = false;                  // further output follows at once
};

// Requests in, responses out, in order. One response is worked on at a time: while it has output(), no more input is
// taken, so a peer that pipelines without reading is stopped by its own flow control.
class Connection {
 public:
  explicit Connection(Service& service) : service_(service) {}

  // How many of the bytes were taken: all of them, or up to the request whose response is to be sent now.
  std::size_t receive(std::string_view data);
  // Nothing to send if empty. Good until sent().
  [[nodiscard]] const Output& output();
  void sent(std::size_t bytes);

  // The peer is to go on: a request has begun to come, and not ended. Not while there is output before that.
  [[nodiscard]] bool in_request() const { return !sends() && (!head_.empty() || body_left_ != 0); }
  // When there is no more output: send FIN, and forget what still comes.
  [[nodiscard]] bool ends() const { return ends_; }
  // The content cannot be had any more, and the length was promised: only a reset tells the peer.
  [[nodiscard]] bool broken() const { return broken_; }
  // The response that is being sent, or the next, is the last.
  void end_soon() { last_ = true; }
  // Ends with a request that does not come to its end: answers it, unless it has its answer and only the body lacks.
  void time_out();

 private:
  void respond(const Request& request);
  void refuse(int status);
  void start(int status, const Content* content, std::string_view more_fields, std::uint64_t length);
  void send_content(bool head_only, ContentRef content, std::uint64_t first, std::uint64_t end);
  [[nodiscard]] bool sends() const { return !text_.empty() || content_; }

  Service& service_;
  std::string head_;             // of a request that is not complete yet
  std::uint64_t body_left_ = 0;  // of a request, to be forgotten
  std::string text_;             // of the response: its head, and its body if that is small
  std::size_t text_sent_ = 0;
  ContentRef content_;  // the rest of the response
  std::uint64_t next_ = 0, end_ = 0;
  Output output_;
  bool last_ = false, ends_ = false, broken_ = false;
};

}  // namespace http
