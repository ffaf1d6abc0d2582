// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pin.hpp"
#include "support/process.hpp"
#include "support/world.hpp"

namespace mstack::bench {

inline constexpr std::size_t body_sizes[] = {64, 1024, 8192, 65536};

// What the kernel's TCP may leave to the NIC, both ways: checksums and segmentation. On a veth nobody does either, and
// 64 KB cross as one packet, which is less work than any NIC leaves.
enum class Offloads { on, off };

// Two hosts of a web server's: `host` does all its work on the application's CPU, `wire` on the other.
class Place {
 public:
  Place(const Cpus& cpus, Offloads offloads);

  test::World world;
  std::vector<pid_t> server_tasks;  // of the kernel, that work for the server
};

// One of the web servers that are compared, serving files of the `body_sizes` by their size.
class HttpServer {
 public:
  std::string name;
  const Place* place;
  std::uint16_t port;
  test::Process process;

  [[nodiscard]] std::string url(std::size_t size) const;
  [[nodiscard]] std::vector<pid_t> tasks() const;
};

struct HttpPrograms {
  std::string lwip_httpd, http_epoll, nginx;
};

HttpServer start_nginx(const HttpPrograms& programs, const Place& place, const Cpus& cpus);
HttpServer start_epoll(const HttpPrograms& programs, const Place& place, const Cpus& cpus);
HttpServer start_lwip(const HttpPrograms& programs, const Place& place, const Cpus& cpus, std::uint16_t port,
                      const std::vector<std::string>& options);

}  // namespace mstack::bench
