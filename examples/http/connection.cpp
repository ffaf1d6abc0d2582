// SPDX-License-Identifier: BSD-2-Clause
#include "connection.hpp"

#include <algorithm>
#include <utility>

#include "date.hpp"

namespace http {
namespace {

constexpr std::uint64_t most_generated = std::uint64_t{1} << 40;
// A body up to here is sent with the head, in one piece.
constexpr std::uint64_t small = 1024;

std::string_view reason(int status) {
  switch (status) {
    case 200: return "OK";
    case 206: return "Partial Content";
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 416: return "Range Not Satisfiable";
    case 431: return "Request Header Fields Too Large";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return "Error";
  }
}

}  // namespace

std::expected<ContentRef, int> Service::find(const std::string& path) {
  constexpr std::string_view made_up = "/bytes/";
  if (path.starts_with(made_up)) {
    const auto size = parse_number(std::string_view(path).substr(made_up.size()));
    if (size && *size <= most_generated) return generated(*size);
  }
  return files.find(path);
}

const std::string& Service::date() {
  const std::time_t now = ::time(nullptr);
  if (now != date_of_) {
    date_of_ = now;
    date_ = http::date(now);
  }
  return date_;
}

std::size_t Connection::receive(std::string_view data) {
  std::size_t taken = 0;
  while (taken < data.size() && !sends() && !ends_) {
    const std::string_view rest = data.substr(taken);
    if (body_left_ != 0) {
      const std::size_t skipped = std::min<std::uint64_t>(body_left_, rest.size());
      body_left_ -= skipped;
      taken += skipped;
      continue;
    }
    // Most requests come in one piece, and are read where they are.
    const std::size_t before = head_.size();
    if (before != 0) head_.append(rest.substr(0, std::min(rest.size(), most_head + 64 - before)));
    const Head head = parse_head(before != 0 ? head_ : rest);
    if (head.state == Head::State::incomplete) {
      if (before == 0) head_ = rest;
      return data.size();
    }
    if (head.state == Head::State::refused) {
      refuse(head.status);
      return data.size();
    }
    taken += head.size - before;
    body_left_ = head.request.body;
    respond(head.request);
    head_.clear();
  }
  return ends_ ? data.size() : taken;
}

const Output& Connection::output() {
  if (!output_.bytes.empty()) return output_;
  if (text_sent_ < text_.size()) {
    const std::string_view rest = std::string_view(text_).substr(text_sent_);
    output_ = {.bytes = {reinterpret_cast<const std::uint8_t*>(rest.data()), rest.size()},
               .owner = nullptr,
               .lasting = false,
               .more = content_ != nullptr};
  } else if (content_) {
    Piece piece = content_->read(next_, end_);
    broken_ = piece.bytes.empty();
    output_ = {.bytes = piece.bytes,
               .owner = std::move(piece.owner),
               .lasting = true,
               .more = next_ + piece.bytes.size() < end_};
  }
  return output_;
}

void Connection::sent(std::size_t bytes) {
  output_.bytes = output_.bytes.subspan(bytes);
  if (!output_.lasting) {
    text_sent_ += bytes;
  } else {
    next_ += bytes;
    if (next_ == end_) content_ = nullptr;
  }
  if (output_.bytes.empty()) output_ = {};
  if (text_sent_ != text_.size() || content_) return;
  text_.clear();
  text_sent_ = 0;
  ends_ |= last_;
}

void Connection::time_out() {
  if (sends() || ends_) return;
  if (body_left_ == 0) return refuse(408);
  // A second answer would be taken for that to the next request.
  body_left_ = 0;
  ends_ = true;
}

void Connection::start(int status, const Content* content, std::string_view more_fields, std::uint64_t length) {
  text_.append("HTTP/1.1 ").append(std::to_string(status)).append(" ").append(reason(status));
  text_.append("\r\nDate: ").append(service_.date());
  if (content != nullptr) {
    text_.append("\r\nContent-Type: ").append(content->type).append("\r\nAccept-Ranges: bytes");
    if (!content->tag.empty()) text_.append("\r\nETag: ").append(content->tag);
    if (!content->modified.empty()) text_.append("\r\nLast-Modified: ").append(content->modified);
  }
  text_.append(more_fields).append("\r\nContent-Length: ").append(std::to_string(length));
  text_.append(last_ ? "\r\nConnection: close\r\n\r\n" : "\r\nConnection: keep-alive\r\n\r\n");
}

// What the peer says after this cannot be understood, or is not worth it.
void Connection::refuse(int status) {
  last_ = true;
  body_left_ = 0;
  head_.clear();
  const std::string body = std::to_string(status) + ' ' + std::string(reason(status)) + '\n';
  start(status, nullptr,
        status == 405 ? "\r\nContent-Type: text/plain\r\nAllow: GET, HEAD" : "\r\nContent-Type: text/plain",
        body.size());
  text_ += body;
}

void Connection::respond(const Request& request) {
  last_ |= !request.keep_alive;
  const bool head_only = request.method == Method::head;
  auto found = service_.find(request.path);
  if (!found) {
    const std::string body = std::to_string(found.error()) + ' ' + std::string(reason(found.error())) + '\n';
    start(found.error(), nullptr, "\r\nContent-Type: text/plain", body.size());
    if (!head_only) text_ += body;
    return;
  }
  ContentRef content = std::move(*found);
  const std::uint64_t size = content->size();
  Range range;
  // A range of another version than the client has the rest of would be of no use to it.
  const bool still_same =
      !request.if_range ||
      (!content->tag.empty() && (*request.if_range == content->tag || *request.if_range == content->modified));
  if (request.range && request.method == Method::get && still_same) range = parse_range(*request.range, size);
  const std::string of_size = "/" + std::to_string(size);
  switch (range.kind) {
    case Range::Kind::none:
      start(200, content.get(), "", size);
      send_content(head_only, std::move(content), 0, size);
      break;
    case Range::Kind::satisfiable:
      start(206, content.get(),
            "\r\nContent-Range: bytes " + std::to_string(range.first) + '-' + std::to_string(range.end - 1) + of_size,
            range.end - range.first);
      send_content(head_only, std::move(content), range.first, range.end);
      break;
    case Range::Kind::unsatisfiable: start(416, nullptr, "\r\nContent-Range: bytes *" + of_size, 0); break;
  }
}

void Connection::send_content(bool head_only, ContentRef content, std::uint64_t first, std::uint64_t end) {
  if (head_only || first == end) return;
  if (end - first <= small) {
    const Piece piece = content->read(first, end);
    if (piece.bytes.size() == end - first) {
      text_.append(reinterpret_cast<const char*>(piece.bytes.data()), piece.bytes.size());
      return;
    }
  }
  next_ = first;
  end_ = end;
  content_ = std::move(content);
}

}  // namespace http
