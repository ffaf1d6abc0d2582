// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "support/fixture.hpp"

namespace mstack::test {

// A program on lwIP over a vport, run as an unprivileged user, with real clients on the wire.
class LwipTest : public NetTest {
 protected:
  explicit LwipTest(const WorldOptions& options = {}) : NetTest(options) {}
  void SetUp() override;

  // A folder that everybody may read.
  std::string folder(const std::string& name) const;
  static void write_file(const std::string& path, const std::string& content);
  static std::string read_file(const std::string& path);
  // Bytes that look like nothing else, the same for the same seed.
  static std::string noise(std::size_t size, unsigned seed);

  // Started, and ready to serve. More options may follow the binds.
  Process start_program(const std::string& name, const std::vector<std::string>& arguments, std::size_t ready) const;
  Process start_httpd(std::vector<std::string> arguments = {}) const;
  // A path that the user may run.
  std::string program(const std::string& name) const;
  // Debian's nginx with one worker, serving the folder at that address of the namespace.
  Process start_nginx(const Endpoint& at, const std::string& root, const Namespace& netns) const;

  // A command on the wire, to its end.
  Completed on_wire(const std::vector<std::string>& arguments, std::chrono::milliseconds patient = 60s) const;
  Completed curl(const std::string& path, const std::vector<std::string>& more = {}, bool ipv6 = false) const;
  static std::string url(const std::string& path, bool ipv6 = false, std::uint16_t port = http_port);

  // Sends text to the server from a kernel socket on the wire, and reads until it closes; `nothing` if it never does.
  std::optional<std::string> raw_exchange(const std::string& text, bool ipv6 = false) const;
  Fd raw_connection(bool ipv6 = false) const;

  static constexpr std::uint16_t http_port = 8080, kernel_port = 8081;
};

// Reads until the end of the stream or a reset; nothing if neither comes by the deadline.
std::optional<std::string> read_to_end(int fd, const Deadline& deadline = Deadline{});

}  // namespace mstack::test
