// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

#include "mstack/error.hpp"
#include "net/netlink.hpp"

namespace mstack::net {

// Puts a TC program (direct action) on the ingress of a device, with a clsact qdisc if there is none yet. A program
// that an earlier call put there is replaced with no gap. Removing the device removes both.
Expected<void> attach_tc_ingress(std::uint32_t ifindex, int program_fd);

// Gives a new device a queueing discipline of its own, in the namespace of `netlink`. AF_XDP never puts a packet into
// it, but a veth that has one tells its sender to wait when the other end is full (from 6.16 on, and 6.12's stable
// releases); one that has none drops the packet, uncounted.
Expected<void> add_queue(Netlink& netlink, std::uint32_t ifindex);

// Whether attach_tc_ingress() has put a program there; its id.
Expected<std::uint32_t> tc_ingress_program(std::uint32_t ifindex);  // 0: none

// The egress of a device that is not ours, where filters of others are, another MultiStack's among them.
struct SharedEgress {
  std::uint32_t ifindex;
  int claims;  // the map that our programs use, and nobody else's
};
enum class TcOrder : std::uint8_t { first, behind_others, behind_multistack };
// Puts a TC program there: in front of those that are there if the kernel lets it, otherwise right behind, where it
// does not see what they end the way of. One that uses the same claims is replaced where it is, with no gap. EBUSY: an
// ingress qdisc is in the place of a clsact.
Expected<TcOrder> attach_tc_egress(const SharedEgress& egress, int program_fd);
[[nodiscard]] Expected<bool> has_tc_egress(const SharedEgress& egress);
// Removes that, and the clsact qdisc if it came with a MultiStack's and nobody else uses it. Nothing there is no error.
Expected<void> detach_tc_egress(const SharedEgress& egress);

}  // namespace mstack::net
