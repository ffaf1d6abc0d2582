// SPDX-License-Identifier: BSD-2-Clause
//
// A web server on lwIP over a vport, against nginx and against the same HTTP on kernel sockets: how many requests a
// second, and how many for a second of a CPU's time. Run by http.sh.
#include <fmt/format.h>
#include <fmt/os.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <exception>
#include <iostream>
#include <nlohmann/json.hpp>
#include <ranges>
#include <regex>

#include "cpu_time.hpp"
#include "http_server.hpp"
#include "report.hpp"
#include "support/sandbox.hpp"

namespace mstack::bench {
namespace {

struct Options {
  unsigned rounds = 5, seconds = 2;
  std::vector<std::size_t> sizes{std::begin(body_sizes), std::end(body_sizes)};
  std::vector<unsigned> connections{1, 16, 64, 256};
  std::vector<std::string> lwip;
  std::string only, json;
  HttpPrograms programs;
};

// What one server did in each round with bodies and connections as given.
struct Results {
  Series rate{.name = {}, .unit = "/s"};         // requests a second
  Series per_cpu{.name = {}, .unit = "/CPU-s"};  // requests a second of the server's CPU, in which it was not idle
  Series known{.name = {}, .unit = ""};          // how much of that time the server and its kernel threads had
};

struct Case {
  std::size_t size;
  unsigned connections;
  std::map<std::string, Results> of;  // by the lane's name
};

struct Lane {
  std::string name;
  HttpServer server;
};

double number_before(const std::string& text, const std::string& word) {
  std::smatch found;
  if (!std::regex_search(text, found, std::regex("([0-9.]+) " + word))) throw std::runtime_error("wrk says: " + text);
  return std::stod(found[1]);
}

void measure(const Options& options, const Cpus& cpus, const Case& one, const Lane& lane, Results& results) {
  const std::vector<pid_t> tasks = lane.server.tasks();
  const double busy = busy_seconds(cpus.application), worked = task_seconds(tasks);
  const test::Completed wrk = test::run(
      {"taskset", "-c", std::to_string(cpus.kernel), "wrk", "-t", "1", "-c", std::to_string(one.connections), "-d",
       fmt::format("{}s", options.seconds), "--timeout", "10s", lane.server.url(one.size)},
      {.who = {.netns = &lane.server.place->world.wire()}}, test::Deadline{std::chrono::seconds(options.seconds + 30)});
  const double used = busy_seconds(cpus.application) - busy, known = task_seconds(tasks) - worked;
  if (wrk.exit.code != 0 || wrk.out.contains("Socket errors") || wrk.out.contains("Non-2xx"))
    throw std::runtime_error(fmt::format("{}, {} bytes, {} connections: wrk {} ({}): {}{}", lane.name, one.size,
                                         one.connections, wrk.exit.code, wrk.exit.signal, wrk.out, wrk.err));
  const double requests = number_before(wrk.out, "requests in");
  std::smatch rate;
  if (!std::regex_search(wrk.out, rate, std::regex("Requests/sec: +([0-9.]+)"))) throw std::runtime_error(wrk.out);
  results.rate.rounds.push_back(std::stod(rate[1]));
  results.per_cpu.rounds.push_back(requests / used);
  results.known.rounds.push_back(known / used);
  fmt::print(stderr, "{} bytes, {} connections: {} {:.0f}/s, {:.0f}/CPU-s, by known tasks {:.0f}/CPU-s\n", one.size,
             one.connections, lane.name, results.rate.rounds.back(), results.per_cpu.rounds.back(), requests / known);
}

// Requests a CPU-second by those of the better of two others, the median of the rounds.
std::string ratio(const Case& one, const std::string& lane, const std::string& left, const std::string& right) {
  const auto measured = one.of.find(lane), first = one.of.find(left), second = one.of.find(right);
  if (measured == one.of.end() || first == one.of.end() || second == one.of.end()) return "";
  const Series& better =
      first->second.per_cpu.median() > second->second.per_cpu.median() ? first->second.per_cpu : second->second.per_cpu;
  Series ratios;
  for (std::size_t i = 0; i < better.rounds.size(); ++i)
    ratios.rounds.push_back(measured->second.per_cpu.rounds[i] / better.rounds[i]);
  const auto [least, most] = std::ranges::minmax(ratios.rounds);
  return fmt::format("**{:.2f}** ({:.2f}-{:.2f})", ratios.median(), least, most);
}

std::string cell(const Case& one, const std::string& lane) {
  const auto found = one.of.find(lane);
  if (found == one.of.end()) return "";
  return fmt::format("{:.1f} / {:.1f}", found->second.rate.median() / 1000, found->second.per_cpu.median() / 1000);
}

std::string size_name(std::size_t size) {
  return size < 1024 ? fmt::format("{} B", size) : fmt::format("{} KB", size / 1024);
}

constexpr const char* notes[] = {
    "Each cell: thousands of requests a second / thousands for each second that the server's CPU was not idle. Ratios: "
    "of the latter, to the better of nginx and epoll. Aim: 1.9 or more for small bodies, 1 or more at 64 KB.",
    "The server, and all that its host does for a packet, has one CPU; wrk, with the wire's end of the veth, the "
    "other. "
    "A veth's frames are received by the CPU that sends them; so that no server's work is on its clients' CPU, a "
    "thread "
    "(threaded NAPI) receives what comes to any of the servers on the server's CPU, as an equal of the server: it runs "
    "when the server waits or has had its turn, and then for all that has come, as after a NIC's moderated interrupt. "
    "The wire's end has such a thread too, or RPS where TSO leaves a veth no NAPI.",
    "Not idle: by /proc/stat's idle time, which is measured; what a hypervisor took is left out.",
    "lwIP: IPv4, lwIP's checksums, MTU 1500; its wire's end leaves it no checksum to finish. `throughput`: with that "
    "option. epoll: the same HTTP on kernel sockets. nginx: one worker, no access log, sendfile, open_file_cache.",
    "nginx and epoll with offloads: checksums, and segmentation of what they send (TSO), left to a NIC, as a veth's "
    "peer "
    "takes them: nobody computes the checksums, and 64 KB cross in one piece. No NIC saves as much. Without: the "
    "kernel does "
    "both; its own GSO stays on. GRO is on everywhere: requests are one packet each, so it joins nothing for a server.",
    "A veth copies every packet into a page before XDP sees it, twice for a response of lwIP's: by its AF_XDP socket "
    "and "
    "at the host end. A NIC's driver has received packets in such pages.",
};

std::string markdown(const Options& options, const std::vector<Case>& cases) {
  std::string text =
      machine_line() + fmt::format(
                           ".\n`selftests/bench/http.sh --rounds {} --seconds {}`: medians, in turn.\n\n"
                           "| body | connections | lwIP | lwIP, throughput | nginx | epoll | ratio | throughput | "
                           "nginx, no offloads | epoll, no offloads | ratio | throughput |\n"
                           "|---|---|---|---|---|---|---|---|---|---|---|---|\n",
                           options.rounds, options.seconds);
  Series known;
  for (const Case& one : cases) {
    text += fmt::format("| {} | {} |", size_name(one.size), one.connections);
    for (const char* lane : {"lwip", "lwip, throughput", "nginx", "epoll"}) text += ' ' + cell(one, lane) + " |";
    for (const char* lane : {"lwip", "lwip, throughput"}) text += ' ' + ratio(one, lane, "nginx", "epoll") + " |";
    for (const char* lane : {"nginx, no offloads", "epoll, no offloads"}) text += ' ' + cell(one, lane) + " |";
    for (const char* lane : {"lwip", "lwip, throughput"})
      text += ' ' + ratio(one, lane, "nginx, no offloads", "epoll, no offloads") + " |";
    text += '\n';
    for (const Results& results : one.of | std::views::values)
      known.rounds.insert(known.rounds.end(), results.known.rounds.begin(), results.known.rounds.end());
  }
  text += '\n';
  for (const char* note : notes) text += fmt::format("- {}\n", note);
  return text + fmt::format(
                    "- Of the time that the CPU was not idle, the server and its host's threads had {:.2f} (the "
                    "median); the rest is softirqs between them, and what else ran on this machine.\n",
                    known.median());
}

nlohmann::json json(const Options& options, const std::vector<Case>& cases) {
  nlohmann::json out = {{"rounds", options.rounds}, {"seconds", options.seconds}, {"cases", nlohmann::json::array()}};
  for (const Case& one : cases) {
    nlohmann::json row = {{"size", one.size}, {"connections", one.connections}};
    for (const auto& [name, results] : one.of)
      row["servers"][name] = {{"requests_per_second", results.rate.rounds},
                              {"requests_per_cpu_second", results.per_cpu.rounds},
                              {"known_share", results.known.rounds}};
    out["cases"].push_back(std::move(row));
  }
  return out;
}

void run(const Options& options) {
  const Cpus cpus = choose_cpus();
  if (cpus.count < 2) throw std::runtime_error("it takes two CPUs: one for the server, one for its clients");
  pin_to(cpus.kernel);  // and with us all that we start and do not pin elsewhere
  const test::Sandbox sandbox;
  // The vport's last: from then on all that is started is in its cgroup, where mstackd sees who binds.
  Place kernel_place(cpus, Offloads::on), plain_place(cpus, Offloads::off), vport_place(cpus, Offloads::off);
  const test::Daemon daemon(vport_place.world);
  std::vector<Lane> lanes;
  const auto add = [&](const std::string& name, auto start) {
    if (options.only.empty() || options.only == name) lanes.push_back({name, start()});
  };
  add("lwip", [&] { return start_lwip(options.programs, vport_place, cpus, 8080, options.lwip); });
  add("lwip, throughput", [&] {
    std::vector<std::string> more = options.lwip;
    more.emplace_back("--throughput");
    return start_lwip(options.programs, vport_place, cpus, 8081, more);
  });
  add("nginx", [&] { return start_nginx(options.programs, kernel_place, cpus); });
  add("epoll", [&] { return start_epoll(options.programs, kernel_place, cpus); });
  add("nginx, no offloads", [&] { return start_nginx(options.programs, plain_place, cpus); });
  add("epoll, no offloads", [&] { return start_epoll(options.programs, plain_place, cpus); });
  std::vector<Case> cases;
  for (const std::size_t size : options.sizes)
    for (const unsigned connections : options.connections)
      cases.push_back({.size = size, .connections = connections, .of = {}});
  for (unsigned round = 0; round < options.rounds; ++round)
    for (Case& one : cases)
      for (const Lane& lane : lanes) measure(options, cpus, one, lane, one.of[lane.name]);
  std::cout << markdown(options, cases);
  if (!options.json.empty()) fmt::output_file(options.json).print("{}\n", json(options, cases).dump(2));
}

}  // namespace
}  // namespace mstack::bench

int main(int argc, char** argv) {
  using namespace mstack::bench;
  Options options;
  bool quick = false;
  CLI::App app("Measures a web server on lwIP over a vport beside kernel ones. Needs root.");
  app.add_flag("--quick", quick, "1 second each, three rounds, 64 B and 64 KB, 1 and 64 connections");
  app.add_option("--rounds", options.rounds, "rounds, of which the median counts")->check(CLI::Range(1U, 1000U));
  app.add_option("--seconds", options.seconds, "for each measurement")->check(CLI::Range(1U, 60U));
  app.add_option("--sizes", options.sizes, "of bodies")->check(CLI::IsMember(options.sizes))->delimiter(',');
  app.add_option("--connections", options.connections)->check(CLI::Range(1U, 1000U))->delimiter(',');
  app.add_option("--only", options.only, "this server alone: lwip, nginx, epoll, ...");
  app.add_option("--lwip", options.lwip, "options for lwip_httpd")->allow_extra_args(false);
  app.add_option("--json", options.json, "write every round there")->type_name("FILE");
  app.add_option("--lwip-httpd", options.programs.lwip_httpd)->required();
  app.add_option("--http-epoll", options.programs.http_epoll)->required();
  app.add_option("--nginx", options.programs.nginx)->required();
  CLI11_PARSE(app, argc, argv);
  if (quick) {
    if (app.count("--seconds") == 0) options.seconds = 1;
    if (app.count("--rounds") == 0) options.rounds = 3;
    if (app.count("--sizes") == 0) options.sizes = {64, 65536};
    if (app.count("--connections") == 0) options.connections = {1, 64};
  }
  if (::geteuid() != 0) {
    std::cerr << "http: it makes network namespaces: run it as root, sudo selftests/bench/http.sh\n";
    return 1;
  }
  try {
    run(options);
  } catch (const std::exception& error) {
    std::cerr << "http: " << error.what() << '\n';
    return 1;
  }
}
