// SPDX-License-Identifier: BSD-2-Clause
#include "http_server.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "receive_cpu.hpp"

namespace mstack::bench {
namespace {

using test::check;

// A folder that everybody may read.
std::string files_of(const Place& place) {
  const std::string folder = place.world.directory() + "/www";
  std::filesystem::create_directories(folder);
  for (const std::size_t size : body_sizes)
    std::ofstream(fmt::format("{}/{}", folder, size), std::ios::binary) << std::string(size, 'x');
  return folder;
}

HttpServer start(const std::string& name, const Place& place, const Cpus& cpus, std::uint16_t port,
                 const std::vector<std::string>& command, const test::ProcessOptions& options) {
  std::vector<std::string> pinned{"taskset", "-c", std::to_string(cpus.application)};
  pinned.insert(pinned.end(), command.begin(), command.end());
  HttpServer server = {.name = name, .place = &place, .port = port, .process = test::Process::command(pinned, options)};
  // From the wire, with the first client's neighbours and routes.
  const bool serves = test::eventually([&] {
    return !server.process.running() || test::run({"curl", "-sf", "-o", "/dev/null", server.url(body_sizes[0])},
                                                  {.who = {.netns = &place.world.wire()}})
                                                .exit.code == 0;
  });
  if (!serves || !server.process.running())
    throw std::runtime_error(fmt::format("{} does not serve: {}{}", name, server.process.out(), server.process.err()));
  return server;
}

std::string at(std::uint16_t port) {
  return fmt::format("{}:{}", test::host4, port);
}

}  // namespace

Place::Place(const Cpus& cpus, Offloads offloads) {
  if (offloads == Offloads::on) {
    // What the clients send is never segmented; with TSO there, the server's end would run no NAPI.
    test::World::in(world.host(), "ethtool -K " + test::uplink + " tx on tso on");
    test::World::in(world.wire(), "ethtool -K " + test::wire_end + " tx on tso off");
    receive_by_backlog(world.wire(), test::wire_end, cpus.kernel);
  } else {
    receive_by_thread(world.wire(), test::wire_end, cpus.kernel);
  }
  server_tasks = {receive_by_thread(world.host(), test::uplink, cpus.application), softirq_thread(cpus.application)};
}

std::string HttpServer::url(std::size_t size) const {
  return fmt::format("http://{}/{}", at(port), size);
}

std::vector<pid_t> HttpServer::tasks() const {
  std::vector<pid_t> all = place->server_tasks;
  all.push_back(process.pid());
  return all;
}

HttpServer start_nginx(const HttpPrograms& programs, const Place& place, const Cpus& cpus) {
  constexpr std::uint16_t port = 8081;
  const std::string folder = place.world.directory() + "/nginx";
  std::filesystem::create_directories(folder);
  // As fast as it can be made to answer: it looks for a file once, and no connection ends before its client wants.
  std::ofstream config(folder + "/nginx.conf");
  config << fmt::format(
      "daemon off; master_process off; worker_processes 1; pid {0}/pid; error_log stderr;\n"
      "events {{ worker_connections 4096; multi_accept on; }}\n"
      "http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;\n"
      "open_file_cache max=100; open_file_cache_valid 60s; client_body_temp_path {0}/b; proxy_temp_path {0}/p;\n"
      "fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;\n"
      "server {{ listen {1} backlog=4096; root {2}; }} }}\n",
      folder, at(port), files_of(place));
  config.close();
  return start("nginx", place, cpus, port, {programs.nginx, "-p", folder, "-c", folder + "/nginx.conf", "-e", "stderr"},
               {.who = {.netns = &place.world.host()}});
}

HttpServer start_epoll(const HttpPrograms& programs, const Place& place, const Cpus& cpus) {
  constexpr std::uint16_t port = 8082;
  return start("epoll", place, cpus, port, {programs.http_epoll, "--bind", at(port), "--root", files_of(place)},
               {.who = {.netns = &place.world.host()}});
}

HttpServer start_lwip(const HttpPrograms& programs, const Place& place, const Cpus& cpus, std::uint16_t port,
                      const std::vector<std::string>& options) {
  // A copy, since other users may not reach the build directory.
  const std::string copy = fmt::format("{}/lwip_httpd{}", place.world.directory(), port);
  std::filesystem::copy_file(programs.lwip_httpd, copy);
  check(::chmod(copy.c_str(), 0755), "chmod " + copy);
  std::vector<std::string> command{copy, "--bind", at(port), "--root", files_of(place)};
  command.insert(command.end(), options.begin(), options.end());
  return start("lwip_httpd", place, cpus, port, command,
               {.who = {.netns = &place.world.host(), .uid = test::alice},
                .environment = {{"MSTACK_RUN_DIR", place.world.run_dir()}}});
}

}  // namespace mstack::bench
