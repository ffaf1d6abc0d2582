// SPDX-License-Identifier: BSD-2-Clause
// What becomes of a frame.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "datagrams.hpp"
#include "mstack_abi.h"
#include "routes.hpp"
#include "state.hpp"

namespace model {

enum class Action {
  pass,     // on to whoever is next: the kernel, or the slow path
  drop,     //
  answer,   // back to where it came from, as `frame`
  forward,  // out of another device, as `frame`
};

// What kind of packet it was about: each is to be seen steered, sent and refused.
enum class Kind {
  none,
  udp,
  tcp,
  udp_lite,
  sctp,
  dccp,
  with_headers,  // options of IPv4, extension headers of IPv6
  authenticated,
  first_fragment,
  later_fragment,
  icmp_error,
  multicast,  // of UDP and UDP-Lite, as what follows
  broadcast,  // of the link, or of a subnet of this host
};

struct Decision {
  Action action = Action::drop;
  std::optional<mstack_verdict> verdict = {};  // none: the next program counts it
  std::uint32_t slot = 0;                      // of the queue that counts it too; 0: of none
  std::optional<Bytes> frame = {};             // what it has become; none: as it was, or gone
  // Steered: the data path chooses one of these slots, the same for all packets of a flow. The MACs say which.
  std::uint32_t first_slot = 0;
  std::uint32_t queues = 0;
  std::pair<Tuple, Tuple> flow = {};  // remote and local

  Kind kind = Kind::none;
  bool is_ip6 = false;
  // It hangs on what a table remembers of a datagram, and the program may have lost that.
  struct Doubt {
    Datagrams* table = nullptr;
    Datagram datagram;
    mstack_verdict otherwise = MSTACK_VERDICT_COUNT;  // the verdict if it has
  };
  std::optional<Doubt> doubt = {};
};

inline Kind kind_of(const State& state, const Network& network) {
  if (network.fragment) return network.fragment->is_first() ? Kind::first_fragment : Kind::later_fragment;
  if (network.is_icmp()) return Kind::icmp_error;
  if (network.has_authentication) return Kind::authenticated;
  if (network.has_extensions) return Kind::with_headers;
  if (network.protocol == protocol_udp || network.protocol == protocol_udp_lite) {
    if (is_multicast(network.destination)) return Kind::multicast;
    if (is_group(network.destination) || state.broadcasts.contains(network.destination)) return Kind::broadcast;
  }
  switch (network.protocol) {
    case protocol_udp: return Kind::udp;
    case protocol_tcp: return Kind::tcp;
    case protocol_udp_lite: return Kind::udp_lite;
    case protocol_sctp: return Kind::sctp;
    case protocol_dccp: return Kind::dccp;
    default: return Kind::none;
  }
}

inline Mac stack_mac(std::uint32_t slot) {
  return {0x02, 0x4d, 0x53, 0x00, static_cast<std::uint8_t>(slot >> 8), static_cast<std::uint8_t>(slot)};
}
inline Mac gateway_mac(std::uint32_t slot) {
  return {0x02, 0x4d, 0x53, 0x01, static_cast<std::uint8_t>(slot >> 8), static_cast<std::uint8_t>(slot)};
}

inline Bytes with_macs(View frame, const Mac& to, const Mac& from) {
  Bytes bytes(frame.data(), frame.data() + frame.size());
  put(bytes, 0, to);
  put(bytes, 6, from);
  return bytes;
}

}  // namespace model
