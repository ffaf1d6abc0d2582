// SPDX-License-Identifier: BSD-2-Clause
//
// What an HTTP connection waits for: lwip_httpd's time limits follow from it.
#include <gtest/gtest.h>

#include <string>

#include "http/connection.hpp"

namespace {

class HttpWaits : public testing::Test {
 protected:
  std::string send_all() {
    std::string sent;
    for (;;) {
      const http::Output& output = connection.output();
      if (output.bytes.empty()) return sent;
      sent.append(output.bytes.begin(), output.bytes.end());
      connection.sent(output.bytes.size());
    }
  }

  http::Service service{""};
  http::Connection connection{service};
};

TEST_F(HttpWaits, WaitsForTheRestOfAHeadAndSaysSo) {
  EXPECT_FALSE(connection.in_request());
  EXPECT_EQ(connection.receive("GET /bytes/3 HT"), 15U);
  EXPECT_TRUE(connection.in_request());
  connection.time_out();
  EXPECT_FALSE(connection.in_request());
  EXPECT_TRUE(send_all().starts_with("HTTP/1.1 408 "));
  EXPECT_TRUE(connection.ends());
}

// While it is the peer's turn to read a response, nothing that is still to come from him is late.
TEST_F(HttpWaits, WaitsForABodyAfterItsResponseOnly) {
  const std::string head = "GET /bytes/100000 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n";
  EXPECT_EQ(connection.receive(head + "ab"), head.size());
  EXPECT_FALSE(connection.in_request());
  connection.time_out();
  EXPECT_FALSE(connection.ends());
  EXPECT_GT(send_all().size(), 100'000U);
  EXPECT_TRUE(connection.in_request());
  EXPECT_EQ(connection.receive("abcd"), 4U);
  EXPECT_TRUE(connection.in_request());
  EXPECT_EQ(connection.receive("e"), 1U);
  EXPECT_FALSE(connection.in_request());
  connection.receive("GET /bytes/3 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(send_all().ends_with(
      "\r\n\r\n" + std::string({static_cast<char>(http::generated_byte(0)), static_cast<char>(http::generated_byte(1)),
                                static_cast<char>(http::generated_byte(2))})));
}

// A second answer to one request would be taken for that to the next.
TEST_F(HttpWaits, ABodyThatNeverComesEndsItInSilence) {
  connection.receive("GET /bytes/3 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n");
  EXPECT_TRUE(send_all().starts_with("HTTP/1.1 200 "));
  ASSERT_TRUE(connection.in_request());
  connection.time_out();
  EXPECT_TRUE(connection.output().bytes.empty());
  EXPECT_TRUE(connection.ends());
  EXPECT_FALSE(connection.in_request());
}

}  // namespace
