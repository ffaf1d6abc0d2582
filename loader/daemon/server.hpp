// SPDX-License-Identifier: BSD-2-Clause
//
// The clients' connections. It knows messages, not what they mean: it takes in whole requests of the right size and
// number of descriptors, and ends the connection of whoever sends anything else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/closer.hpp"
#include "daemon/event_loop.hpp"
#include "fd.hpp"
#include "mstack/error.hpp"
#include "protocol.hpp"

namespace mstack::daemon {

struct Peer {
  std::uint32_t uid = 0, pid = 0;
};

// What becomes of requests.
class Service {
 public:
  using Connection = std::uint64_t;  // never used twice
  struct Answer {
    std::vector<std::byte> message;
    std::vector<Fd> descriptors;
  };
  virtual ~Service() = default;
  // The message is of a known type, and of that type's size and number of descriptors.
  virtual Answer request(Connection connection, const Peer& peer, std::span<const std::byte> message,
                         std::span<const Fd> descriptors) = 0;
  virtual void ended(Connection connection) = 0;
};

class Server {
 public:
  // More than a machine of many stacks needs. They bound what clients can make mstackd hold.
  static constexpr std::size_t max_connections = 4096, max_connections_of_user = 256;

  // `starved` is called when descriptors or threads run out: accepting, or closing, then waits for better times, of
  // which retry() asks.
  Server(EventLoop& loop, Service& service, std::function<void()> starved)
      : loop_(&loop), service_(&service), on_starved_(std::move(starved)), closer_([this] { on_starved_(); }) {}
  Server(const Server&) = delete;
  ~Server();

  Expected<void> listen(const std::string& path, const std::string& group);
  void close(Service::Connection connection);
  [[nodiscard]] bool is_starved() const { return starved_ || closer_.is_starved(); }
  void retry();

 private:
  struct Connection {
    Fd socket;
    Peer peer;
    EventLoop::Token token;
    bool waits = false;  // for its turn
  };
  struct User {
    std::size_t connections = 0;
    std::deque<Service::Connection> waiting;  // each once, and perhaps some that ended meanwhile
  };
  void accept_some();
  bool accept_one();
  void listen_for(bool connections);
  void starve(const std::string& why);
  void wait_for_turn(Service::Connection id);
  void take_turns();
  void receive_one(Service::Connection id);
  // False: the connection is to end.
  bool handle(Service::Connection id, std::span<const std::byte> message, std::vector<Fd>& descriptors);
  static void refuse_other_version(const Connection& connection, std::span<const std::byte> message);

  EventLoop* loop_;
  Service* service_;
  std::function<void()> on_starved_;
  std::string path_;
  Fd listener_;
  EventLoop::Token listener_token_ = 0;
  Fd turns_;  // an eventfd, readable while somebody waits for a turn
  bool listening_ = false, starved_ = false;
  Service::Connection next_ = 1;
  std::unordered_map<Service::Connection, Connection> connections_;
  std::unordered_map<std::uint32_t, User> users_;
  Closer closer_;
};

}  // namespace mstack::daemon
