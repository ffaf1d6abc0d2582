// SPDX-License-Identifier: BSD-2-Clause
#include "mstack/vport.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "control.hpp"
#include "messages.hpp"
#include "queue_parts.hpp"
#include "run_dir.hpp"

namespace mstack {

// Destroyed from the last to the first: the connection, at whose end mstackd removes the vport, then the queues.
struct Vport::Parts {
  std::uint32_t id;
  std::vector<std::unique_ptr<Queue>> queues;
  std::shared_ptr<detail::Control> control;

  ~Parts() { control->close(); }  // a claim may be in the middle of a call and hold it a little longer
};

namespace {

Expected<void> in_limits(const char* name, std::uint32_t value, std::uint32_t least, std::uint32_t most,
                         bool power_of_two) {
  if (value >= least && value <= most && (!power_of_two || std::has_single_bit(value))) return {};
  return failure(EINVAL, "VportOptions::" + std::string(name) + " is " + std::to_string(value) + "; it must be " +
                             (power_of_two ? "a power of two, " : "") + std::to_string(least) + " to " +
                             std::to_string(most));
}

Expected<protocol::OpenVport> request_of(const VportOptions& options) {
  const std::uint32_t default_ring = std::clamp(options.frames / 2, protocol::min_frames, 2048u);
  const std::uint32_t ring_size = options.ring_size != 0 ? options.ring_size : default_ring;
  for (const auto& checked : {in_limits("queues", options.queues, 1, protocol::max_queues, false),
                              in_limits("frames", options.frames, protocol::min_frames, protocol::max_frames, true),
                              in_limits("frame_size", options.frame_size, 2048, 4096, true),
                              in_limits("ring_size", ring_size, 64, std::max(options.frames, 64u), true)})
    if (!checked) return std::unexpected(checked.error());
  return protocol::OpenVport{.header = {.version = 0, .type = protocol::Type::open_vport, .sequence = 0, .zero = 0},
                             .queues = options.queues,
                             .frames = options.frames,
                             .frame_size = options.frame_size,
                             .ring_size = ring_size,
                             .flags = (options.throughput ? std::uint32_t{MSTACK_VPORT_THROUGHPUT} : 0) |
                                      (options.multi_buffer ? std::uint32_t{MSTACK_VPORT_MULTI_BUFFER} : 0),
                             .zero = 0};
}

// A file smaller than what is mapped of it would be a SIGBUS at the first frame past its end.
Expected<void> check_umem(int fd, const protocol::OpenVportReply& reply) {
  struct stat status = {};
  if (::fstat(fd, &status) < 0) return system_failure(errno, "cannot look at the UMEM");
  const std::uint64_t size = std::uint64_t{reply.queues} * reply.frames * reply.frame_size;
  if (!S_ISREG(status.st_mode) || static_cast<std::uint64_t>(status.st_size) < size)
    return failure(EPROTO, "mstackd sent a UMEM smaller than was asked for: is it another version of MultiStack?");
  return {};
}

Expected<std::vector<std::unique_ptr<Queue>>> make_queues(const protocol::OpenVportReply& reply,
                                                          std::vector<Fd> descriptors, bool multi_buffer) {
  if (descriptors.size() != 1 + reply.queues)
    return failure(EPROTO, "mstackd sent " + std::to_string(descriptors.size()) + " descriptors for " +
                               std::to_string(reply.queues) + " queues: is it another version of MultiStack?");
  if (auto checked = check_umem(descriptors[0].get(), reply); !checked) return std::unexpected(checked.error());
  std::vector<std::unique_ptr<Queue>> queues;
  for (std::uint32_t i = 0; i < reply.queues; ++i) {
    const detail::QueueSizes sizes = {.index = i,
                                      .frames = reply.frames,
                                      .frame_size = reply.frame_size,
                                      .ring_size = reply.ring_size,
                                      .mtu = reply.mtu,
                                      .multi_buffer = multi_buffer,
                                      .slot = reply.slot + i};
    auto parts = detail::QueueParts::make(sizes, std::move(descriptors[1 + i]), descriptors[0].get());
    if (!parts) return std::unexpected(std::move(parts.error()));
    queues.push_back(std::make_unique<Queue>(std::move(*parts)));
  }
  return queues;
}

std::unexpected<Error> bind_failure(int code, const Tuple& tuple) {
  auto refused =
      system_failure(code, "cannot bind " + std::string(to_string(tuple.protocol)) + " " + tuple.to_string());
  std::string& what = refused.error().what;
  if (code == EADDRNOTAVAIL) what += ": no interface of this host has the address: pick one that `ip address` shows";
  if (code == EADDRINUSE && tuple.port == 0) what += ": no free port is left";
  if (code == EADDRINUSE && tuple.port != 0) what += ": end the process that has it (`ss -anp` shows), or pick another";
  if (code == EACCES)
    what += ": ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE: pick a higher one";
  return refused;
}

int type_of(Protocol protocol) {
  switch (protocol) {
    case Protocol::tcp: return SOCK_STREAM;
    case Protocol::dccp: return SOCK_DCCP;
    default: return SOCK_DGRAM;
  }
}

Expected<Fd> bind_socket(const Tuple& tuple, const ClaimOptions& options) {
  const bool ipv4 = tuple.address.is_ipv4();
  const int type = type_of(tuple.protocol);
  Fd fd(::socket(ipv4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, static_cast<int>(tuple.protocol)));
  if (!fd)
    return system_failure(
        errno, "cannot make a " + std::string(to_string(tuple.protocol)) + " socket for " + tuple.to_string());
  union {
    sockaddr any;
    sockaddr_in in;
    sockaddr_in6 in6;
  } address = {};
  socklen_t size;
  if (ipv4) {
    size = sizeof(address.in);
    address.in.sin_family = AF_INET;
    address.in.sin_port = htons(tuple.port);
    address.in.sin_addr.s_addr = htonl(tuple.address.ipv4());
  } else {
    size = sizeof(address.in6);
    address.in6.sin6_family = AF_INET6;
    address.in6.sin6_port = htons(tuple.port);
    std::ranges::copy(tuple.address.bytes, address.in6.sin6_addr.s6_addr);
    // Set either way: net.ipv6.bindv6only decides otherwise.
    const int v6only = options.v6only;
    if (::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only)) < 0)
      return system_failure(errno, "cannot set IPV6_V6ONLY");
  }
  if (::bind(fd.get(), &address.any, size) < 0) return bind_failure(errno, tuple);
  return fd;
}

// A port that bind() itself picked is less firmly the socket's than one it asked for, and mstackd takes no such socket:
// so port 0 is a question, and its answer is asked for by a second socket.
Expected<Fd> bound_socket(Tuple tuple, const ClaimOptions& options) {
  constexpr int most_tries = 64;  // another process may be given the port in between
  if (tuple.port != 0) return bind_socket(tuple, options);
  for (int tries = 1;; ++tries) {
    {
      const auto question = bind_socket({.address = tuple.address, .port = 0, .protocol = tuple.protocol}, options);
      if (!question) return std::unexpected(question.error());
      sockaddr_in6 answer = {};  // whose port is where sockaddr_in's is
      static_assert(offsetof(sockaddr_in6, sin6_port) == offsetof(sockaddr_in, sin_port));
      socklen_t size = sizeof(answer);
      if (::getsockname(question->get(), reinterpret_cast<sockaddr*>(&answer), &size) < 0)
        return system_failure(errno, "cannot read a socket's port");
      tuple.port = ntohs(answer.sin6_port);
    }
    auto fd = bind_socket(tuple, options);
    if (fd || fd.error().code != EADDRINUSE || tries == most_tries) return fd;
  }
}

}  // namespace

Vport::Vport(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Vport::Vport(Vport&&) noexcept = default;
Vport& Vport::operator=(Vport&&) noexcept = default;
Vport::~Vport() = default;

Expected<Vport> Vport::open(const VportOptions& options) {
  auto request = request_of(options);
  if (!request) return std::unexpected(std::move(request.error()));
  const std::string run_dir = run_directory(options.run_dir);
  auto client = Client::connect(run_dir);
  if (!client) return std::unexpected(std::move(client.error()));
  protocol::OpenVportReply reply = {};
  auto descriptors = client->call(*request, reply, {}, 1 + request->queues);
  if (!descriptors) return std::unexpected(std::move(descriptors.error()));
  if (auto checked = protocol::check_open(reply, *request); !checked) return std::unexpected(checked.error());
  auto queues = make_queues(reply, std::move(*descriptors), options.multi_buffer);
  if (!queues) return std::unexpected(std::move(queues.error()));
  if ((reply.flags & protocol::open_reply_unbound) != 0) {
    protocol::BindVport bind = {.header = {.version = 0, .type = protocol::Type::bind_vport, .sequence = 0, .zero = 0}};
    protocol::Reply done = {};
    if (auto bound = client->call(bind, done); !bound) return std::unexpected(std::move(bound.error()));
  }

  Fd queue0(::fcntl(queues->front()->fd(), F_DUPFD_CLOEXEC, 0));
  if (!queue0) return system_failure(errno, "cannot keep queue 0's socket");
  auto parts = std::make_unique<Parts>(
      reply.vport, std::move(*queues),
      std::make_shared<detail::Control>(run_dir, std::move(*client), reply.vport, std::move(queue0)));
  return Vport(std::move(parts));
}

Expected<Claim> Vport::claim(const Expected<Tuple>& tuple, const ClaimOptions& options) {
  if (!tuple) return std::unexpected(tuple.error());
  auto socket = bound_socket(*tuple, options);
  if (!socket) return std::unexpected(std::move(socket.error()));
  auto claim = this->claim(socket->get());
  if (!claim) {
    claim.error().what = "claim of " + std::string(to_string(tuple->protocol)) + " " + tuple->to_string() +
                         " refused: " + claim.error().what;
    return claim;
  }
  claim->fd_ = socket->release();
  claim->owned_ = true;
  return claim;
}

Expected<Claim> Vport::claim(int bound_socket) {
  return std::move(claim_all({&bound_socket, 1}).front());
}

std::vector<Expected<Claim>> Vport::claim_all(std::span<const int> bound_sockets) {
  std::vector<Expected<Claim>> claims;
  claims.reserve(bound_sockets.size());
  while (claims.size() < bound_sockets.size()) {
    auto batch = bound_sockets.subspan(claims.size());
    batch = batch.first(std::min(batch.size(), protocol::max_descriptors));
    const auto results = parts_->control->claim(batch);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (!results)
        claims.emplace_back(std::unexpected(results.error()));
      else if (!(*results)[i])
        claims.emplace_back(std::unexpected((*results)[i].error()));
      else
        claims.emplace_back(Claim(parts_->control, *(*results)[i], batch[i], false));
    }
  }
  return claims;
}

std::size_t Vport::queues() const {
  return parts_->queues.size();
}

Queue& Vport::queue(std::size_t index) {
  if (index >= parts_->queues.size()) std::abort();
  return *parts_->queues[index];
}

std::uint32_t Vport::id() const {
  return parts_->id;
}

}  // namespace mstack
