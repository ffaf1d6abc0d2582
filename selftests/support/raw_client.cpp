// SPDX-License-Identifier: BSD-2-Clause
#include "support/raw_client.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <stdexcept>

#include "support/passing.hpp"

namespace mstack::test {

namespace {

constexpr std::size_t max_message = 65536;

}  // namespace

RawClient::RawClient(const std::string& run_dir)
    : fd_(check(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), "socket")) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = run_dir + "/" + protocol::socket_name;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  check(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), "connect to " + path);
}

int RawClient::send(std::span<const std::uint8_t> bytes, std::span<const int> fds, int flags) const {
  return send_descriptors(fd_.get(), bytes, fds, flags) < 0 ? errno : 0;
}

std::optional<RawClient::Answer> RawClient::receive(const Deadline& deadline) const {
  if (!wait_for(fd_.get(), POLLIN, deadline)) throw std::runtime_error("mstackd neither answered nor closed");
  Answer answer;
  answer.bytes.resize(max_message);
  const ssize_t size = receive_descriptors(fd_.get(), answer.bytes, answer.fds, MSG_DONTWAIT);
  if (size <= 0) return std::nullopt;
  answer.bytes.resize(static_cast<std::size_t>(size));
  return answer;
}

bool RawClient::ends(const Deadline& deadline) const {
  return wait_for(fd_.get(), POLLIN, deadline) && !receive(deadline);
}

protocol::Header RawClient::header(protocol::Type type) {
  return {.version = protocol::version, .type = type, .sequence = 7, .zero = 0};
}

protocol::OpenVport RawClient::open_request(std::uint32_t queues, std::uint32_t frames) {
  return {.header = header(protocol::Type::open_vport),
          .queues = queues,
          .frames = frames,
          .frame_size = 2048,
          .ring_size = 64,
          .flags = 0,
          .zero = 0};
}

RawClient::Answer RawClient::open_vport(std::uint32_t queues, std::uint32_t frames) const {
  Answer opened = ask(open_request(queues, frames));
  if (opened.error() != 0 || (opened.as<protocol::OpenVportReply>().flags & protocol::open_reply_unbound) == 0)
    return opened;
  Answer bound = ask(protocol::BindVport{.header = header(protocol::Type::bind_vport)});
  return bound.error() != 0 ? std::move(bound) : std::move(opened);
}

RawClient::Answer RawClient::claim(std::span<const int> fds, std::uint32_t flags) const {
  return ask(
      protocol::Claim{
          .header = header(protocol::Type::claim), .count = static_cast<std::uint32_t>(fds.size()), .flags = flags},
      fds);
}

RawClient::Answer RawClient::release(std::span<const mstack_tuple> tuples) const {
  protocol::Release request{.header = header(protocol::Type::release),
                            .count = static_cast<std::uint32_t>(tuples.size()),
                            .zero = 0,
                            .tuples = {}};
  std::ranges::copy(tuples, request.tuples.begin());
  return ask(request);
}

RawClient::Answer RawClient::uplink(protocol::Type type, std::string_view name) const {
  protocol::Uplink request{.header = header(type), .name = {}, .mode = protocol::XdpMode::automatic, .flags = 0};
  name.copy(request.name.data(), request.name.size() - 1);
  return ask(request);
}

}  // namespace mstack::test
