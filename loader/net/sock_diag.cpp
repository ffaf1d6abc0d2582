// SPDX-License-Identifier: BSD-2-Clause
#include "net/sock_diag.hpp"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <tuple>

#include "fd.hpp"
#include "net/message.hpp"
#include "net/netlink.hpp"

namespace mstack::net {
namespace {

constexpr std::uint32_t state_bit(unsigned state) {
  return 1u << state;
}
// TCP_BOUND_INACTIVE is a state for sock_diag alone; kernels that do not know it pay no heed to its bit.
constexpr std::uint32_t bound_only = state_bit(13);
constexpr std::uint32_t all_but_time_wait = ~state_bit(TCP_TIME_WAIT);

struct PortRange {
  std::uint16_t first, last;
};

// Sorted ports as ranges without gaps; if there are more of those than the filter should have, one over all.
constexpr std::size_t max_ranges = 16;
std::vector<PortRange> ranges_of(std::span<const std::uint16_t> sorted) {
  std::vector<PortRange> ranges;
  for (const std::uint16_t port : sorted) {
    if (!ranges.empty() && port - ranges.back().last <= 1)
      ranges.back().last = port;
    else
      ranges.push_back({port, port});
  }
  if (ranges.size() > max_ranges) ranges = {{sorted.front(), sorted.back()}};
  return ranges;
}

// The kernel's filter: conditional jumps forward. To run off the end exactly is to accept, to jump 4 bytes past it is
// to refuse. An operation on a port has the port in the `no` of a second word. Each range is
//   source port >= first?  no: next range       8 bytes
//   source port <= last?   no: next range       8 bytes
//   jump to the end (accept)                    4 bytes, left out of the last
using Filter = std::vector<inet_diag_bc_op>;
Filter filter_of(std::span<const PortRange> ranges) {
  constexpr std::uint16_t op = sizeof(inet_diag_bc_op);
  Filter code;
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    const bool last = i + 1 == ranges.size();
    const std::uint16_t after =
        last ? 2 * op : 3 * op;  // from the second comparison to the next range, or past the end
    const auto past_end = static_cast<std::uint16_t>(last ? op : 0);
    const auto to_end = static_cast<std::uint16_t>((ranges.size() - i - 1) * 5 * op);
    code.push_back({INET_DIAG_BC_S_GE, 2 * op, static_cast<unsigned short>(2 * op + after + past_end)});
    code.push_back({0, 0, ranges[i].first});
    code.push_back({INET_DIAG_BC_S_LE, 2 * op, static_cast<unsigned short>(after + past_end)});
    code.push_back({0, 0, ranges[i].last});
    if (!last) code.push_back({INET_DIAG_BC_JMP, op, to_end});
  }
  return code;
}

std::optional<Holder> parse_holder(const nlmsghdr& message, std::uint8_t protocol) {
  if (message.nlmsg_type != SOCK_DIAG_BY_FAMILY && message.nlmsg_type != TCPDIAG_GETSOCK) return std::nullopt;
  const auto found = header_of<inet_diag_msg>(message);
  if (!found) return std::nullopt;
  Holder holder;
  holder.family = found->idiag_family;
  holder.state = found->idiag_state;
  holder.cookie = static_cast<std::uint64_t>(found->id.idiag_cookie[1]) << 32 | found->id.idiag_cookie[0];
  holder.tuple.port = found->id.idiag_sport;
  holder.tuple.protocol = protocol;
  if (found->idiag_family == AF_INET) {
    holder.tuple.addr[2] = htonl(0xffff);
    holder.tuple.addr[3] = found->id.idiag_src[0];
  } else {
    std::memcpy(holder.tuple.addr, found->id.idiag_src, sizeof(holder.tuple.addr));
  }
  // Said only of sockets that are not connected, and only those can be at ::. Not said means that it covers both.
  for_each_attribute(message, sizeof(inet_diag_msg), [&holder](const nlattr* attribute) {
    if (mnl_attr_get_type(attribute) == INET_DIAG_SKV6ONLY)
      holder.v6only = value_as<std::uint8_t>(attribute).value_or(0) != 0;
  });
  return holder;
}

Expected<void> dump(Netlink& netlink, Request& request, std::uint8_t protocol, const Filter& filter,
                    std::vector<Holder>& holders) {
  mnl_attr_put(request.message(), INET_DIAG_REQ_BYTECODE, filter.size() * sizeof(filter[0]), filter.data());
  const char* attempted = protocol == IPPROTO_TCP ? "cannot see who else holds a TCP port (kernel module tcp_diag)"
                                                  : "cannot see who else holds a UDP port (kernel module udp_diag)";
  return netlink.dump(request, attempted, [&](const nlmsghdr& message) {
    if (auto holder = parse_holder(message, protocol)) holders.push_back(*holder);
  });
}

// Both families in one walk of the kernel's tables, which only the first form of the request can ask for.
Expected<void> dump_tcp(Netlink& netlink, std::uint32_t states, const Filter& filter, std::vector<Holder>& holders) {
  Request request(TCPDIAG_GETSOCK, 0, sizeof(inet_diag_req));
  auto& header = request.header<inet_diag_req>();
  header.idiag_family = AF_INET;  // looked at, but not heeded
  header.idiag_states = states;
  return dump(netlink, request, IPPROTO_TCP, filter, holders);
}

Expected<void> dump_udp(Netlink& netlink, std::uint8_t family, const Filter& filter, std::vector<Holder>& holders) {
  Request request(SOCK_DIAG_BY_FAMILY, 0, sizeof(inet_diag_req_v2));
  auto& header = request.header<inet_diag_req_v2>();
  header.sdiag_family = family;
  header.sdiag_protocol = IPPROTO_UDP;
  header.idiag_states = all_but_time_wait;
  return dump(netlink, request, IPPROTO_UDP, filter, holders);
}

// One dump walks the listeners, then what is only bound, then what is connected. Those that listen or are only bound
// are asked for before and after as well: a socket cannot go past the walk the other way, and one that goes to and fro,
// and is in neither table in between, must be there each time.
Expected<void> dump_all_tcp(Netlink& netlink, const Filter& filter, std::vector<Holder>& holders) {
  constexpr std::uint32_t waiting = bound_only | state_bit(TCP_LISTEN);
  for (const std::uint32_t states : {waiting, all_but_time_wait, waiting, waiting, waiting})
    if (auto dumped = dump_tcp(netlink, states, filter, holders); !dumped) return dumped;
  return {};
}

Expected<void> dump_all_udp(Netlink& netlink, const Filter& filter, std::vector<Holder>& holders) {
  for (const std::uint8_t family : {AF_INET, AF_INET6})
    if (auto dumped = dump_udp(netlink, family, filter, holders); !dumped) return dumped;
  return {};
}

auto order(const Holder& holder) {
  return std::tuple(ntohs(holder.tuple.port), holder.cookie, holder.family, holder.state);
}

}  // namespace

Expected<std::vector<Holder>> holders(std::uint8_t protocol, std::span<const std::uint16_t> ports) {
  if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) return failure(EPROTONOSUPPORT, "neither TCP nor UDP");
  std::vector<std::uint16_t> sorted(ports.begin(), ports.end());
  std::sort(sorted.begin(), sorted.end());
  if (sorted.empty()) return std::vector<Holder>{};
  const auto filter = filter_of(ranges_of(sorted));

  auto netlink = Netlink::open(NETLINK_SOCK_DIAG);
  if (!netlink) return std::unexpected(netlink.error());
  std::vector<Holder> found;
  const auto dumped =
      protocol == IPPROTO_TCP ? dump_all_tcp(*netlink, filter, found) : dump_all_udp(*netlink, filter, found);
  if (!dumped) return std::unexpected(dumped.error());

  std::erase_if(found, [&sorted](const Holder& holder) {
    return !std::binary_search(sorted.begin(), sorted.end(), ntohs(holder.tuple.port));
  });
  std::sort(found.begin(), found.end(), [](const Holder& a, const Holder& b) { return order(a) < order(b); });
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

Expected<bool> sees_bound_tcp() {
  const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!socket) return system_failure(errno, "cannot make a socket");
  sockaddr_in any = {};
  any.sin_family = AF_INET;
  socklen_t size = sizeof(any);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&any), size) < 0 ||
      ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&any), &size) < 0)
    return system_failure(errno, "cannot bind a socket");
  const std::uint16_t port = ntohs(any.sin_port);
  const auto found = holders(IPPROTO_TCP, std::span(&port, 1));
  if (!found) return std::unexpected(found.error());
  return !found->empty();
}

}  // namespace mstack::net
