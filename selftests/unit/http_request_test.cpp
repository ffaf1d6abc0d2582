// SPDX-License-Identifier: BSD-2-Clause
// The HTTP that lwip_httpd reads: from anybody on the wire, in whatever pieces they come.
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "http/connection.hpp"
#include "http/request.hpp"

namespace http {
namespace {

using namespace std::string_view_literals;
using State = Head::State;

Head parsed(std::string_view text) {
  Head head = parse_head(text);
  EXPECT_EQ(head.state, State::complete) << text;
  return head;
}

int refusal(std::string_view text) {
  const Head head = parse_head(text);
  return head.state == State::refused ? head.status : 0;
}

std::string get(std::string_view target, std::string_view fields = "") {
  return "GET " + std::string(target) + " HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n";
}

TEST(HttpRequest, ASimpleOne) {
  const std::string text = get("/index.html?a=%zz");
  const Head head = parsed(text + "GET /next");
  EXPECT_EQ(head.size, text.size());
  EXPECT_EQ(head.request.method, Method::get);
  EXPECT_EQ(head.request.path, "/index.html");
  EXPECT_TRUE(head.request.keep_alive);
  EXPECT_EQ(head.request.body, 0U);
  EXPECT_FALSE(head.request.range || head.request.if_range);
  EXPECT_EQ(parsed("HEAD / HTTP/1.1\r\nhOsT:\r\n\r\n").request.method, Method::head);
}

TEST(HttpRequest, FieldsThatMatter) {
  const std::string text =
      get("/", "Content-Length: 12\r\nRANGE:bytes=0-1 \t\r\nIf-Range:\t\"x\"\r\nX-Other: \x80\r\n");
  const Head head = parsed(text);
  EXPECT_EQ(head.request.body, 12U);
  EXPECT_EQ(head.request.range, "bytes=0-1");
  EXPECT_EQ(head.request.if_range, "\"x\"");
  EXPECT_EQ(parsed(get("/", "Range: bytes=0-1\r\nRange: bytes=2-3\r\n")).request.range, "");
}

TEST(HttpRequest, HowLongAConnectionLasts) {
  EXPECT_FALSE(parsed(get("/", "Connection: close\r\n")).request.keep_alive);
  EXPECT_FALSE(parsed(get("/", "Connection: keep-alive , CLOSE\r\n")).request.keep_alive);
  EXPECT_FALSE(parsed(get("/", "Connection: close\r\nConnection: keep-alive\r\n")).request.keep_alive);
  EXPECT_TRUE(parsed(get("/", "Connection: closed, not-close,,\r\n")).request.keep_alive);
  EXPECT_FALSE(parsed("GET / HTTP/1.0\r\n\r\n").request.keep_alive);
  EXPECT_TRUE(parsed("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").request.keep_alive);
}

TEST(HttpRequest, Targets) {
  EXPECT_EQ(parsed(get("/a%20b%2Fc%7e")).request.path, "/a b/c~");
  EXPECT_EQ(parsed(get("/%2e%2E/x")).request.path, "/../x");
  EXPECT_EQ(parsed(get("http://host:80/x?y")).request.path, "/x");
  EXPECT_EQ(parsed(get("HTTPS://host")).request.path, "/");
  EXPECT_EQ(parsed(get("http://host?a=/b")).request.path, "/") << "of the query";
  for (const char* target :
       {"*", "x", "?", "/%", "/%4", "/%4g", "/%00", "/\x7f", "/\x80", "/\t", "http:/x", "ftp://a/"})
    EXPECT_EQ(refusal(get(target)), 400) << target;
}

TEST(HttpRequest, MalformedIsRefused) {
  for (const char* text :
       {"GET\r\n\r\n", " / HTTP/1.1\r\n\r\n", "GET  / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1 \r\n\r\n",
        "GET / http/1.1\r\n\r\n", "GET / HTTP/1\r\n\r\n", "GET / HTTP/1.x\r\n\r\n", "GET / HTTP/11.1\r\n\r\n",
        "G@T / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", "GET / HTTP/1.1\r\nHost: \x01\r\n\r\n"})
    EXPECT_EQ(refusal(text), 400) << text;
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n"sv), 400);
  EXPECT_EQ(refusal("GET / HTTP/2.0\r\nHost: a\nX: b\r\n\r\n"), 400) << "as if it came in pieces";
  EXPECT_EQ(refusal("\r\n\r\n\r\n\r\n\r\n" + get("/")), 400) << "more empty lines than anybody sends";
  EXPECT_EQ(refusal("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
  EXPECT_EQ(refusal("POST / HTTP/1.1\r\nHost: a\r\n\r\n"), 405);
  EXPECT_EQ(refusal("get / HTTP/1.1\r\nHost: a\r\n\r\n"), 501);
}

// What two parsers could take for requests of different lengths.
TEST(HttpRequest, LengthsThatCouldBeReadInTwoWays) {
  for (const char* length : {"", "-1", "+1", "1 1", "1,1", "0x1", "1a", "18446744073709551616"})
    EXPECT_EQ(refusal(get("/", "Content-Length: " + std::string(length) + "\r\n")), 400) << length;
  EXPECT_EQ(refusal(get("/", "Content-Length: 1\r\nContent-Length: 2\r\n")), 400);
  EXPECT_EQ(parsed(get("/", "Content-Length: 1\r\nContent-Length: 1\r\n")).request.body, 1U);
  EXPECT_EQ(refusal(get("/", "Transfer-Encoding: chunked\r\n")), 501);
  EXPECT_EQ(refusal(get("/", "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n")), 400);
  EXPECT_EQ(refusal(get("/", "Content-Length: 1\r\nTransfer-Encoding: identity\r\n")), 400);
}

TEST(HttpRequest, OversizedIsRefused) {
  EXPECT_EQ(parsed(get("/" + std::string(most_target - 1, 'x'))).request.path.size(), most_target);
  EXPECT_EQ(refusal(get("/" + std::string(most_target, 'x'))), 414);
  EXPECT_EQ(refusal("GET /" + std::string(most_head, 'x')), 414);
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\nX: " + std::string(most_head, 'x')), 431);
  std::string fields;
  for (std::size_t count = 1; count < most_fields; ++count) fields += "X:\r\n";
  EXPECT_EQ(parsed(get("/", fields)).request.path, "/");
  EXPECT_EQ(refusal(get("/", fields + "X:\r\n")), 431);
  EXPECT_EQ(parsed(get("/", "Content-Length: " + std::to_string(most_body) + "\r\n")).request.body, most_body);
  EXPECT_EQ(refusal(get("/", "Content-Length: " + std::to_string(most_body + 1) + "\r\n")), 413);
  // Exactly as long as it may be, and a byte longer.
  const std::size_t around = get("/", "X:\r\n").size();
  EXPECT_EQ(parsed(get("/", "X:" + std::string(most_head - around, 'x') + "\r\n")).size, most_head);
  EXPECT_EQ(refusal(get("/", "X:" + std::string(most_head - around + 1, 'x') + "\r\n")), 431);
}

// The connection takes off of a piece what was more than the beginning: no beginning may be taken for the whole.
TEST(HttpRequest, OfAHeadEveryBeginningIsIncomplete) {
  for (const std::string& text : {get("/a%20b", "Range: bytes=1-\r\nConnection: close\r\n"), "\r\n\r\n" + get("/"),
                                  "\r\n\r\n\r\n\r\n" + get("/"), std::string("GET / HTTP/1.0\r\n\r\n")}) {
    EXPECT_EQ(parsed(text).size, text.size());
    for (std::size_t size = 0; size < text.size(); ++size)
      EXPECT_EQ(parse_head(std::string_view(text).substr(0, size)).state, State::incomplete) << size << " of " << text;
  }
}

TEST(HttpRange, OneOfBytes) {
  struct Case {
    const char* field;
    Range::Kind kind;
    std::uint64_t first = 0, end = 0;
  };
  using enum Range::Kind;
  for (const Case& one : {Case{"bytes=0-0", satisfiable, 0, 1},
                          {"bytes=2-5", satisfiable, 2, 6},
                          {"BYTES=2-", satisfiable, 2, 10},
                          {"bytes=2-99", satisfiable, 2, 10},
                          {"bytes=2-18446744073709551615", satisfiable, 2, 10},
                          {"bytes=-3", satisfiable, 7, 10},
                          {"bytes=-99", satisfiable, 0, 10},
                          {"bytes=-0", unsatisfiable},
                          {"bytes=10-", unsatisfiable},
                          {"bytes=10-12", unsatisfiable},
                          {"bytes=5-2", none},
                          {"bytes=-", none},
                          {"bytes=", none},
                          {"bytes", none},
                          {"", none},
                          {"items=0-1", none},
                          {"bytes=0-1,3-4", none},
                          {"bytes=0-1x", none},
                          {"bytes=+0-1", none},
                          {"bytes=0-18446744073709551616", none}}) {
    const Range range = parse_range(one.field, 10);
    EXPECT_EQ(range.kind, one.kind) << one.field;
    EXPECT_EQ(range.first, one.first) << one.field;
    EXPECT_EQ(range.end, one.end) << one.field;
  }
  EXPECT_EQ(parse_range("bytes=0-", 0).kind, unsatisfiable);
  EXPECT_EQ(parse_range("bytes=-1", 0).kind, unsatisfiable);
}

// Requests through a connection whose peer reads whatever there is at once.
class HttpConnection : public testing::Test {
 protected:
  // The responses to a stream of bytes that comes in such pieces, but for their dates.
  static std::string responses(Connection& connection, std::string_view stream, std::size_t piece) {
    std::string all;
    while (!stream.empty() && !connection.ends()) {
      const std::size_t taken = connection.receive(stream.substr(0, piece));
      EXPECT_TRUE(taken != 0 || !connection.output().bytes.empty()) << "it neither reads nor writes";
      if (taken == 0 && connection.output().bytes.empty()) break;
      stream.remove_prefix(taken);
      while (!connection.output().bytes.empty()) {
        const auto bytes = connection.output().bytes;
        all.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        connection.sent(bytes.size());
      }
    }
    for (std::size_t at = all.find("Date: "); at != std::string::npos; at = all.find("Date: ", at))
      all.erase(at, all.find("\r\n", at) + 2 - at);
    return all;
  }
  static std::size_t count(const std::string& all, std::string_view what) {
    std::size_t found = 0;
    for (std::size_t at = all.find(what); at != std::string::npos; at = all.find(what, at + 1)) ++found;
    return found;
  }

  Service service{""};
};

// The four bytes of a body could begin another request.
TEST_F(HttpConnection, PipelinedRequestsAreAnsweredInOrder) {
  const std::string stream = get("/bytes/3") + get("/no") + "HEAD /bytes/9 HTTP/1.1\r\nHost: a\r\n\r\n" +
                             get("/bytes/5", "Content-Length: 4\r\n") + "GET " +
                             get("/bytes/7", "Range: bytes=2-4\r\n");
  Connection connection(service);
  const std::string all = responses(connection, stream, stream.size());
  EXPECT_EQ(count(all, "HTTP/1.1 200 OK\r\n"), 3U);
  EXPECT_EQ(count(all, "HTTP/1.1 404 Not Found\r\n"), 1U);
  EXPECT_EQ(count(all, "HTTP/1.1 206 Partial Content\r\n"), 1U);
  EXPECT_LT(all.find("Content-Length: 3\r\n"), all.find("404"));
  EXPECT_LT(all.find("404"), all.find("Content-Length: 9\r\n"));
  EXPECT_LT(all.find("Content-Length: 9\r\n"), all.find("Content-Length: 5\r\n"));
  EXPECT_NE(all.find("Content-Range: bytes 2-4/7\r\n"), std::string::npos);
  EXPECT_FALSE(connection.ends());
  EXPECT_FALSE(connection.in_request());
}

TEST_F(HttpConnection, ResponsesAreTheSameInPiecesOfAnySize) {
  const std::string stream = "\r\n" + get("/bytes/3") + get("/bytes/5", "Content-Length: 4\r\n") + "GET " +
                             get("/no", "Connection: close\r\n") + get("/bytes/1");
  Connection whole(service);
  const std::string expected = responses(whole, stream, stream.size());
  EXPECT_EQ(count(expected, "HTTP/1.1 "), 3U) << "nothing is answered after the last";
  for (std::size_t piece = 1; piece < stream.size(); ++piece) {
    Connection connection(service);
    EXPECT_EQ(responses(connection, stream, piece), expected) << piece;
    EXPECT_TRUE(connection.ends());
  }
  for (std::size_t split = 1; split < stream.size(); ++split) {
    Connection connection(service);
    std::string all = responses(connection, stream.substr(0, split), split);
    all += responses(connection, stream.substr(split), stream.size());
    EXPECT_EQ(all, expected) << split;
  }
}

TEST_F(HttpConnection, WhatCannotBeUnderstoodEndsIt) {
  const std::vector<std::pair<std::string, const char*>> streams{
      {"GET /\r\n\r\n" + get("/bytes/1"), "400 Bad Request"},
      {"\x16\x03\x01\n", "400 Bad Request"},
      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n", "405 Method Not Allowed"},
      {get("/", "X: " + std::string(most_head, 'x') + "\r\n"), "431 Request Header Fields Too Large"},
      {get("/" + std::string(2 * most_head, 'x')), "414 URI Too Long"}};
  for (const auto& [stream, status] : streams) {
    for (const std::size_t piece : {std::size_t{1}, std::size_t{1448}, stream.size()}) {
      Connection connection(service);
      const std::string all = responses(connection, stream, piece);
      EXPECT_TRUE(all.starts_with(std::string("HTTP/1.1 ") + status)) << all;
      EXPECT_EQ(count(all, "HTTP/1.1 "), 1U) << all;
      EXPECT_NE(all.find("Connection: close\r\n"), std::string::npos) << all;
      EXPECT_TRUE(connection.ends());
      EXPECT_EQ(connection.receive("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 27U) << "forgotten";
      EXPECT_TRUE(connection.output().bytes.empty());
    }
  }
}

}  // namespace
}  // namespace http
