// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/server.hpp"

#include <grp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "daemon/log.hpp"
#include "daemon/request.hpp"
#include "messages.hpp"
#include "unix_socket.hpp"

namespace mstack::daemon {
namespace {

Expected<void> let_in(const std::string& path, const std::string& group) {
  gid_t gid = static_cast<gid_t>(-1);
  if (!group.empty()) {
    const struct group* entry = ::getgrnam(group.c_str());
    if (!entry)
      return failure(EINVAL, "there is no group " + group + ": create it (groupadd), or give another --group");
    gid = entry->gr_gid;
  }
  if (::chown(path.c_str(), static_cast<uid_t>(-1), gid) < 0)
    return system_failure(errno, "cannot give " + path + " to its group");
  if (::chmod(path.c_str(), group.empty() ? 0666 : 0660) < 0)
    return system_failure(errno, "cannot open " + path + " to clients");
  return {};
}

}  // namespace

Server::~Server() {
  on_starved_ = [] {};  // nobody will ask
  while (!connections_.empty()) close(connections_.begin()->first);
  if (!path_.empty()) (void)::unlink(path_.c_str());
  // With it end the connections that were not accepted, whoever they are of.
  if (listener_) closer_.close_connection(0, std::move(listener_));
}

Expected<void> Server::listen(const std::string& path, const std::string& group) {
  // Until its owner and mode are right, nobody gets in.
  const mode_t before = ::umask(0777);
  auto listener = unix_socket::listen(path, SOMAXCONN);
  ::umask(before);
  if (!listener) return std::unexpected(listener.error());
  listener_ = std::move(*listener);
  path_ = path;
  if (auto done = let_in(path, group); !done) return done;
  turns_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!turns_) return system_failure(errno, "cannot make an eventfd");
  if (auto turns = loop_->add(turns_.get(), EPOLLIN, [this](std::uint32_t) { take_turns(); }); !turns)
    return std::unexpected(turns.error());
  auto token = loop_->add(listener_.get(), EPOLLIN, [this](std::uint32_t) { accept_some(); });
  if (!token) return std::unexpected(token.error());
  listener_token_ = *token;
  listening_ = true;
  return {};
}

void Server::listen_for(bool connections) {
  if (listening_ == connections) return;
  if (loop_->change(listener_.get(), listener_token_, connections ? std::uint32_t{EPOLLIN} : 0u))
    listening_ = connections;
}

void Server::starve(const std::string& why) {
  log::warn("{}; trying again in a second", why);
  starved_ = true;
  listen_for(false);
  on_starved_();
}

void Server::retry() {
  closer_.retry();
  if (closer_.is_full()) return;
  starved_ = false;
  listen_for(connections_.size() < max_connections);
}

// A few at a time: those who are connected come first.
void Server::accept_some() {
  for (int i = 0; i < 16; ++i)
    if (!accept_one()) return;
}

bool Server::accept_one() {
  if (connections_.size() >= max_connections) {
    log::debug("{} connections: the next waits until one ends", connections_.size());
    listen_for(false);
    return false;
  }
  if (closer_.is_full()) {
    starve("too many descriptors of clients wait to be closed");
    return false;
  }
  auto socket = unix_socket::accept(listener_.get());
  if (!socket) {
    const int code = socket.error().code;
    if (code == EMFILE || code == ENFILE || code == ENOMEM || code == ENOBUFS) {
      starve(socket.error().what);  // it would be reported as ready for ever
      return false;
    }
    return code == ECONNABORTED;
  }
  ucred peer = {};
  socklen_t size = sizeof(peer);
  if (::getsockopt(socket->get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return true;
  std::size_t& of_user = users_[peer.uid].connections;
  if (of_user >= max_connections_of_user || closer_.is_stuck(peer.uid)) {
    log::debug("user {} has {} connections: the next is refused", peer.uid, of_user);
    if (of_user == 0) users_.erase(peer.uid);
    closer_.close_connection(peer.uid, std::move(*socket));
    return true;
  }
  const Service::Connection id = next_++;
  auto token = loop_->add(socket->get(), EPOLLIN, [this, id](std::uint32_t) { wait_for_turn(id); });
  if (!token) {
    if (of_user == 0) users_.erase(peer.uid);
    closer_.close_connection(peer.uid, std::move(*socket));
    return true;
  }
  ++of_user;
  connections_.emplace(id, Connection{.socket = std::move(*socket),
                                      .peer = {.uid = peer.uid, .pid = static_cast<std::uint32_t>(peer.pid)},
                                      .token = *token});
  return true;
}

void Server::close(Service::Connection id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  // Gone from the table first: the service may close others meanwhile, but not this one again.
  Connection connection = std::move(found->second);
  connections_.erase(found);
  const auto user = users_.find(connection.peer.uid);
  if (--user->second.connections == 0) users_.erase(user);
  loop_->remove(connection.socket.get(), connection.token);
  closer_.close_connection(connection.peer.uid, std::move(connection.socket));
  service_->ended(id);
  if (!starved_) listen_for(true);
}

void Server::wait_for_turn(Service::Connection id) {
  const auto found = connections_.find(id);
  if (found == connections_.end() || std::exchange(found->second.waits, true)) return;
  users_.at(found->second.peer.uid).waiting.push_back(id);
  (void)::eventfd_write(turns_.get(), 1);
}

// One message of each user a turn: whoever asks for much, on however many connections, delays each other user by one
// message. A user's own connections take turns too.
void Server::take_turns() {
  std::vector<Service::Connection> turn;
  bool others_wait = false;
  for (auto& [uid, user] : users_) {
    if (user.waiting.empty()) continue;
    turn.push_back(user.waiting.front());
    user.waiting.pop_front();
    others_wait |= !user.waiting.empty();
  }
  eventfd_t count;
  if (!others_wait) (void)::eventfd_read(turns_.get(), &count);
  for (const Service::Connection id : turn) receive_one(id);
}

void Server::receive_one(Service::Connection id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  found->second.waits = false;
  const std::uint32_t uid = found->second.peer.uid;
  if (closer_.is_stuck(uid)) {  // whatever comes with the message would wait too
    close(id);
    return;
  }
  alignas(std::max_align_t) std::array<std::byte, largest_request> buffer;
  auto received = unix_socket::receive(found->second.socket.get(), buffer, protocol::max_descriptors);
  if (!received) {
    if (received.error().code != EAGAIN) close(id);
    return;
  }
  bool goes_on = !received->end && !received->truncated;
  if (received->truncated) log::debug("connection of user {} ended: a message that is too long", uid);
  if (goes_on) goes_on = handle(id, std::span(buffer).first(received->size), received->descriptors);
  closer_.close(uid, std::move(received->descriptors));
  if (!goes_on || closer_.is_stuck(uid)) close(id);
}

bool Server::handle(Service::Connection id, std::span<const std::byte> message, std::vector<Fd>& descriptors) {
  const Connection& connection = connections_.at(id);
  const auto malformed = [&](const char* how) {
    log::debug("connection of user {} (pid {}) ended: {}", connection.peer.uid, connection.peer.pid, how);
    return false;
  };
  if (const char* fault = fault_of(message, descriptors.size())) {
    refuse_other_version(connection, message);
    return malformed(fault);
  }

  const Service::Answer answer = service_->request(id, connection.peer, message, descriptors);
  // Before the client learns of the result, or soon after: our copies must not keep its sockets open.
  closer_.close(connection.peer.uid, std::move(descriptors));
  descriptors.clear();
  std::vector<int> lent;
  for (const Fd& fd : answer.descriptors) lent.push_back(fd.get());
  if (auto sent = unix_socket::send(connection.socket.get(), answer.message, lent); !sent)
    return malformed(sent.error().code == EAGAIN ? "it does not read its answers" : "it left without its answer");
  return true;
}

// With the one message that a client of another version can read.
void Server::refuse_other_version(const Connection& connection, std::span<const std::byte> message) {
  protocol::Reply reply = {};
  if (message.size() < sizeof(reply.header)) return;
  std::memcpy(&reply.header, message.data(), sizeof(reply.header));
  if (reply.header.version == protocol::version) return;
  reply.header.version = protocol::version;
  reply.error = EPROTONOSUPPORT;
  const std::string text = "mstackd speaks version " + std::to_string(protocol::version) +
                           " of the protocol: install library and mstackd from the same release";
  std::memcpy(reply.text.data(), text.data(), std::min(text.size(), reply.text.size() - 1));
  (void)unix_socket::send(connection.socket.get(), protocol::bytes_of(reply));
}

}  // namespace mstack::daemon
