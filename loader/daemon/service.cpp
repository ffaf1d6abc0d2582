// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/service.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "daemon/log.hpp"
#include "messages.hpp"

namespace mstack::daemon {
namespace {

template <class Message>
Message read(std::span<const std::byte> bytes) {
  Message message;
  std::memcpy(&message, bytes.data(), sizeof(message));  // whose size the server checked
  return message;
}

template <class Message>
Service::Answer answer(const Message& message) {
  const auto bytes = protocol::bytes_of(message);
  return {.message = {bytes.begin(), bytes.end()}, .descriptors = {}};
}

protocol::Reply reply_to(const protocol::Header& request) {
  protocol::Reply reply = {};
  reply.header = request;
  return reply;
}

Service::Answer refuse(const protocol::Header& request, const Error& error) {
  protocol::Reply reply = reply_to(request);
  reply.error = error.code;
  set_text(reply, error.what);
  return answer(reply);
}

Service::Answer refuse(const protocol::Header& request, int code, const char* text) {
  return refuse(request, Error{.code = code, .what = text});
}

// Only shown: a process may call itself what it likes.
std::string comm_of(std::uint32_t pid) {
  std::string comm;
  std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
  std::getline(file, comm);
  for (char& c : comm)
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) c = '?';
  return comm;
}

VportOwner owner_of(const Peer& peer) {
  return {.uid = peer.uid, .pid = peer.pid, .comm = comm_of(peer.pid)};
}

Service::Answer answer_tuples(const protocol::Header& request, std::span<const Claims::Outcome> outcomes) {
  protocol::TuplesReply reply = {};
  reply.reply = reply_to(request);
  reply.count = static_cast<std::uint32_t>(outcomes.size());
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    reply.results[i] = {.tuple = outcomes[i].tuple, .error = outcomes[i].error};
    if (outcomes[i].error == 0 || reply.reply.error != 0) continue;
    reply.reply.error = outcomes[i].error;
    set_text(reply.reply, outcomes[i].text);
  }
  return answer(reply);
}

}  // namespace

void set_text(protocol::Reply& reply, std::string_view text) {
  std::size_t size = std::min(text.size(), reply.text.size() - 1);
  // UTF-8, should an interface be named in it.
  while (size > 0 && size < text.size() && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) --size;
  std::memset(reply.text.data(), 0, reply.text.size());
  std::memcpy(reply.text.data(), text.data(), size);
}

Service::Answer ClientService::request(Connection connection, const Peer& peer, std::span<const std::byte> message,
                                       std::span<const Fd> descriptors) {
  const auto header = read<protocol::Header>(message);
  switch (header.type) {
    case protocol::Type::open_vport: return open_vport(connection, peer, read<protocol::OpenVport>(message));
    case protocol::Type::bind_vport: return bind_vport(connection, read<protocol::BindVport>(message));
    case protocol::Type::resume_vport:
      return resume_vport(connection, peer, read<protocol::ResumeVport>(message), descriptors.front().get());
    case protocol::Type::claim: return claim(connection, peer, read<protocol::Claim>(message), descriptors);
    case protocol::Type::release: return release(connection, read<protocol::Release>(message));
    case protocol::Type::attach_uplink:
    case protocol::Type::detach_uplink: return change_uplink(peer, read<protocol::Uplink>(message));
  }
  return refuse(header, EOPNOTSUPP, "mstackd does not know this request");
}

const Vport* ClientService::vport_of(Connection connection) const {
  const auto found = vport_of_.find(connection);
  const Vport* vport = found == vport_of_.end() ? nullptr : vports_->find(found->second);
  return vport && vport->is_bound() ? vport : nullptr;  // before that it can do nothing
}

std::optional<Service::Connection> ClientService::connection_of(std::uint32_t vport) const {
  const auto found = std::ranges::find_if(vport_of_, [&](const auto& entry) { return entry.second == vport; });
  if (found == vport_of_.end()) return std::nullopt;
  return found->first;
}

void ClientService::ended(Connection connection) {
  const auto found = vport_of_.find(connection);
  if (found == vport_of_.end()) return;
  if (!leaves_vports_) vports_->close(found->second);
  vport_of_.erase(found);
}

Service::Answer ClientService::open_vport(Connection connection, const Peer& peer, const protocol::OpenVport& request) {
  if (vport_of_.contains(connection))
    return refuse(request.header, EEXIST, "this connection has a vport already: connect once more for another");
  auto opened = vports_->open(owner_of(peer), request, uplinks_->mtu());
  if (!opened) return refuse(request.header, opened.error());
  vport_of_.emplace(connection, opened->id);
  Answer result = answer(protocol::OpenVportReply{.reply = reply_to(request.header),
                                                  .vport = opened->id,
                                                  .queues = request.queues,
                                                  .frames = request.frames,
                                                  .frame_size = request.frame_size,
                                                  .ring_size = request.ring_size,
                                                  .mtu = opened->mtu,
                                                  .slot = opened->slot,
                                                  .flags = opened->bound ? 0 : protocol::open_reply_unbound});
  result.descriptors = std::move(opened->descriptors);
  return result;
}

Service::Answer ClientService::bind_vport(Connection connection, const protocol::BindVport& request) {
  const auto found = vport_of_.find(connection);
  if (found == vport_of_.end() || vport_of(connection))
    return refuse(request.header, ENODEV, "this connection has no vport whose sockets are to be bound");
  if (auto bound = vports_->bind(found->second); !bound) {
    vports_->close(found->second);
    vport_of_.erase(found);
    return refuse(request.header, bound.error());
  }
  return answer(reply_to(request.header));
}

Service::Answer ClientService::resume_vport(Connection connection, const Peer& peer,
                                            const protocol::ResumeVport& request, int socket) {
  if (vport_of_.contains(connection))
    return refuse(request.header, EEXIST, "this connection has a vport already: connect once more for another");
  if (auto resumed = vports_->resume(request.vport, owner_of(peer), socket); !resumed)
    return refuse(request.header, resumed.error());
  vport_of_.emplace(connection, request.vport);
  return answer(reply_to(request.header));
}

Service::Answer ClientService::claim(Connection connection, const Peer& peer, const protocol::Claim& request,
                                     std::span<const Fd> descriptors) {
  const Vport* vport = vport_of(connection);
  if (!vport) return refuse(request.header, ENODEV, "this connection has no vport to claim for: open one first");
  if ((request.flags & ~protocol::claim_repeated) != 0)
    return refuse(request.header, EINVAL, "a flag that this mstackd does not know: is the library newer?");
  const auto outcomes = claims_->claim({.vport = vport->id(),
                                        .slot = vport->record().slot,
                                        .queues = vport->record().queues,
                                        .claims_left = vports_->ledger().claims_left(vports_->claims_of(peer.uid)),
                                        .max_claims = vports_->ledger().max_claims(),
                                        .repeated = (request.flags & protocol::claim_repeated) != 0},
                                       descriptors);
  if (log::enabled(log::Level::debug))
    for (const Claims::Outcome& outcome : outcomes)
      log::debug("vport {}: {} {}: {}", vport->id(), protocol::from_wire(outcome.tuple).to_string(),
                 to_string(protocol::from_wire(outcome.tuple).protocol),
                 outcome.error ? outcome.text : std::string("claimed"));
  return answer_tuples(request.header, outcomes);
}

Service::Answer ClientService::release(Connection connection, const protocol::Release& request) {
  const Vport* vport = vport_of(connection);
  if (!vport) return refuse(request.header, ENODEV, "this connection has no vport, and so no claims");
  return answer_tuples(request.header, claims_->release(vport->id(), std::span(request.tuples).first(request.count)));
}

Service::Answer ClientService::change_uplink(const Peer& peer, const protocol::Uplink& request) {
  const bool attach = request.header.type == protocol::Type::attach_uplink;
  if (peer.uid != ::geteuid())
    return refuse(request.header, EPERM, "only the user that mstackd runs as may attach and detach: use sudo");
  const std::size_t size = ::strnlen(request.name.data(), request.name.size());
  if (size == 0 || size == request.name.size()) return refuse(request.header, EINVAL, "that is no interface's name");
  if (request.mode > protocol::XdpMode::generic) return refuse(request.header, EINVAL, "that is no mode of XDP");
  if (request.flags & ~protocol::attach_chained) return refuse(request.header, EINVAL, "that is no flag of attach");
  const std::string name(request.name.data(), size);
  const auto done =
      attach ? uplinks_->attach(name, request.mode, request.flags & protocol::attach_chained) : uplinks_->detach(name);
  return done ? answer(reply_to(request.header)) : refuse(request.header, done.error());
}

}  // namespace mstack::daemon
