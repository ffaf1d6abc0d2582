// SPDX-License-Identifier: BSD-2-Clause
//
// One netlink socket: requests that are answered, dumps, and what arrives unasked.
#pragma once

#include <linux/netlink.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "fd.hpp"
#include "mstack/error.hpp"

namespace mstack::net {

// A request while it is put together: a message with room for attributes, written with mnl_attr_put*().
class Request {
 public:
  Request(std::uint16_t type, std::uint16_t flags, std::size_t header_size, std::size_t room = 4096);
  [[nodiscard]] nlmsghdr* message() { return reinterpret_cast<nlmsghdr*>(buffer_.data()); }
  template <class Header>  // the family's header, right after netlink's own
  [[nodiscard]] Header& header() {
    return *reinterpret_cast<Header*>(buffer_.data() + NLMSG_HDRLEN);
  }

 private:
  std::vector<std::byte> buffer_;  // operator new aligns it for anything that is put into it
};

class Netlink {
 public:
  using Visit = std::function<void(const nlmsghdr&)>;

  // A socket of the calling thread's network namespace for the protocol (NETLINK_ROUTE, ...), close-on-exec.
  static Expected<Netlink> open(int protocol);
  // One that does not block and hears the multicast groups (RTNLGRP_*).
  static Expected<Netlink> open_monitor(int protocol, std::initializer_list<int> groups);

  [[nodiscard]] int fd() const { return fd_.get(); }

  // Sends a request and waits for the kernel's answer, which it gives at once. A refusal is the kernel's errno, with
  // the text that the kernel adds, and `attempted` before it. Messages that answer a request are shown to `visit`.
  Expected<void> request(Request& request, std::string_view attempted, const Visit& visit = {});

  // Sends a dump request (NLM_F_DUMP) and shows each message of the answer. The end of a dump may carry an error, and
  // a dump that was interrupted by a change is not trusted: EINTR, try again.
  Expected<void> dump(Request& request, std::string_view attempted, const Visit& visit);

  // Of a monitor: one datagram of messages, shown to `visit`. False: there is none. ENOBUFS: some were lost.
  Expected<bool> receive(const Visit& visit);

 private:
  explicit Netlink(Fd fd) : fd_(std::move(fd)) {}
  Expected<void> send(Request& request, std::string_view attempted);
  Expected<std::size_t> receive_datagram(std::string_view attempted, int flags);

  Fd fd_;
  std::uint32_t sequence_ = 0;
  std::vector<std::byte> buffer_;
};

}  // namespace mstack::net
