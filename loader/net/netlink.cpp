// SPDX-License-Identifier: BSD-2-Clause
#include "net/netlink.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "net/message.hpp"

namespace mstack::net {
namespace {

// The kernel fills at most 32 KiB of a dump at once; a single message of a device with many virtual functions can be
// longer than a page.
constexpr std::size_t buffer_size = 64 * 1024;

Expected<Fd> open_socket(int protocol, int flags) {
  Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | flags, protocol));
  if (!fd) return system_failure(errno, "cannot open a netlink socket");
  const int on = 1;
  // The kernel's own words in its errors, without the request repeated. Both are only a comfort.
  (void)::setsockopt(fd.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
  (void)::setsockopt(fd.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
  const sockaddr_nl any = {.nl_family = AF_NETLINK, .nl_pad = 0, .nl_pid = 0, .nl_groups = 0};
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&any), sizeof(any)) < 0)
    return system_failure(errno, "cannot bind a netlink socket");
  return fd;
}

std::string extended_text(const nlmsghdr& message, std::size_t offset) {
  if (!(message.nlmsg_flags & NLM_F_ACK_TLVS)) return {};
  std::string text;
  for_each_attribute(message, offset, [&text](const nlattr* attribute) {
    if (mnl_attr_get_type(attribute) == NLMSGERR_ATTR_MSG) text = text_of(attribute);
  });
  return text;
}

Expected<void> outcome(int error, const std::string& text, std::string_view attempted) {
  constexpr int max_errno = 4095;
  if (error == 0) return {};
  if (error > 0 || error < -max_errno) return failure(EBADMSG, "a netlink answer whose error is none");
  auto failed = system_failure(-error, attempted);
  if (!text.empty()) failed.error().what += " (" + text + ")";
  return failed;
}

// NLMSG_ERROR: an acknowledgement when its error is 0.
Expected<void> acknowledged(const nlmsghdr& message, std::string_view attempted) {
  const auto error = header_of<nlmsgerr>(message);
  if (!error) return failure(EBADMSG, "a truncated netlink answer");
  std::size_t offset = sizeof(nlmsgerr);
  // The request is repeated, unless it is capped to its header.
  if (!(message.nlmsg_flags & NLM_F_CAPPED) && error->msg.nlmsg_len > NLMSG_HDRLEN)
    offset += error->msg.nlmsg_len - NLMSG_HDRLEN;
  return outcome(error->error, extended_text(message, offset), attempted);
}

// NLMSG_DONE carries an errno too: a dump that failed at its start is nothing but this.
Expected<void> done(const nlmsghdr& message, std::string_view attempted) {
  const int error = header_of<int>(message).value_or(0);
  return outcome(error < 0 ? error : 0, extended_text(message, sizeof(int)), attempted);
}

}  // namespace

Request::Request(std::uint16_t type, std::uint16_t flags, std::size_t header_size, std::size_t room)
    : buffer_(NLMSG_HDRLEN + MNL_ALIGN(header_size) + room) {
  nlmsghdr* header = mnl_nlmsg_put_header(buffer_.data());
  header->nlmsg_type = type;
  header->nlmsg_flags = NLM_F_REQUEST | flags;
  mnl_nlmsg_put_extra_header(header, header_size);
}

Expected<Netlink> Netlink::open(int protocol) {
  auto fd = open_socket(protocol, 0);
  if (!fd) return std::unexpected(fd.error());
  const int on = 1;
  // Dumps then heed the filters in their requests. Kernels since 4.20 know it.
  (void)::setsockopt(fd->get(), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
  return Netlink(std::move(*fd));
}

Expected<Netlink> Netlink::open_monitor(int protocol, std::initializer_list<int> groups) {
  auto fd = open_socket(protocol, SOCK_NONBLOCK);
  if (!fd) return std::unexpected(fd.error());
  for (const int group : groups)
    if (::setsockopt(fd->get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
      return system_failure(errno, "cannot hear netlink group " + std::to_string(group));
  return Netlink(std::move(*fd));
}

Expected<void> Netlink::send(Request& request, std::string_view attempted) {
  nlmsghdr* message = request.message();
  message->nlmsg_seq = ++sequence_;
  message->nlmsg_pid = 0;
  const sockaddr_nl kernel = {.nl_family = AF_NETLINK, .nl_pad = 0, .nl_pid = 0, .nl_groups = 0};
  ssize_t sent;
  do
    sent =
        ::sendto(fd_.get(), message, message->nlmsg_len, 0, reinterpret_cast<const sockaddr*>(&kernel), sizeof(kernel));
  while (sent < 0 && errno == EINTR);
  if (sent < 0) return system_failure(errno, attempted);
  return {};
}

// A datagram that did not come from the kernel is passed over: size 0.
Expected<std::size_t> Netlink::receive_datagram(std::string_view attempted, int flags) {
  buffer_.resize(buffer_size);
  sockaddr_nl from = {};
  iovec part = {.iov_base = buffer_.data(), .iov_len = buffer_.size()};
  msghdr header = {};
  header.msg_name = &from;
  header.msg_namelen = sizeof(from);
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  ssize_t size;
  do size = ::recvmsg(fd_.get(), &header, flags);
  while (size < 0 && errno == EINTR);
  if (size < 0) return system_failure(errno, attempted);
  if (header.msg_flags & MSG_TRUNC) return failure(EMSGSIZE, std::string(attempted) + ": the answer is too long");
  if (from.nl_pid != 0) return 0;
  return static_cast<std::size_t>(size);
}

Expected<void> Netlink::request(Request& request, std::string_view attempted, const Visit& visit) {
  request.message()->nlmsg_flags |= NLM_F_ACK;
  if (auto sent = send(request, attempted); !sent) return sent;
  for (;;) {
    const auto size = receive_datagram(attempted, 0);
    if (!size) return std::unexpected(size.error());
    Messages messages{std::span(buffer_).first(*size)};
    while (const nlmsghdr* message = messages.next()) {
      if (message->nlmsg_seq != sequence_) continue;  // the rest of an answer that nobody waited for
      if (message->nlmsg_type == NLMSG_ERROR) return acknowledged(*message, attempted);
      if (message->nlmsg_type >= NLMSG_MIN_TYPE && visit) visit(*message);
    }
  }
}

Expected<void> Netlink::dump(Request& request, std::string_view attempted, const Visit& visit) {
  request.message()->nlmsg_flags |= NLM_F_DUMP;
  if (auto sent = send(request, attempted); !sent) return sent;
  bool interrupted = false;
  for (;;) {
    const auto size = receive_datagram(attempted, 0);
    if (!size) return std::unexpected(size.error());
    Messages messages{std::span(buffer_).first(*size)};
    while (const nlmsghdr* message = messages.next()) {
      if (message->nlmsg_seq != sequence_) continue;
      interrupted |= (message->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
      if (message->nlmsg_type == NLMSG_ERROR) {
        if (auto refused = acknowledged(*message, attempted); !refused) return refused;
      } else if (message->nlmsg_type == NLMSG_DONE) {
        if (auto ended = done(*message, attempted); !ended) return ended;
        if (interrupted) return system_failure(EINTR, attempted);
        return {};
      } else if (message->nlmsg_type >= NLMSG_MIN_TYPE) {
        visit(*message);
      }
    }
  }
}

Expected<bool> Netlink::receive(const Visit& visit) {
  const auto size = receive_datagram("cannot hear the kernel's events", MSG_DONTWAIT);
  if (!size) {
    if (size.error().code == EAGAIN) return false;
    return std::unexpected(size.error());
  }
  Messages messages{std::span(buffer_).first(*size)};
  while (const nlmsghdr* message = messages.next())
    if (message->nlmsg_type >= NLMSG_MIN_TYPE) visit(*message);
  return true;
}

}  // namespace mstack::net
