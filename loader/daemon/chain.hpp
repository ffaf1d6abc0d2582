// SPDX-License-Identifier: BSD-2-Clause
//
// uplink_rx among other XDP programs on one device: libxdp's dispatcher is the device's program, and calls each member
// of its chain in the order of their priorities. What one before us drops never comes to us, and what we pass goes on.
//
// libxdp makes a new dispatcher for every change and puts it in the old one's place in one step, so that members come
// and go with no packet in between. The chain lives by libxdp's own pins, not by ours.
#pragma once

#include <cstdint>

#include "daemon/datapath.hpp"
#include "mstack/error.hpp"
#include "net/link.hpp"

namespace mstack::daemon::chain {

// Whether a chain is on the device that we could become a member of.
bool is_on(const net::Link& device);
// EBUSY: a MultiStack is in it, by the name of its program. To be asked by one that is not.
Expected<void> may_join(const net::Link& device);
// Whether we are in it. If not, and the device's program is another by now, that is no answer: the pins of a chain go
// with its dispatcher. A member is ours if it uses our map of claims: what was written down of it may be lost, and was
// not before it was attached.
bool is_member(int claims, const net::Link& device);

// Into the chain that is there, or a new one. EOPNOTSUPP: this kernel, or libxdp, cannot; EBUSY: no chain of which we
// can be a member is there; otherwise why the driver does not have the mode.
Expected<void> join(const Datapath& datapath, const net::Link& device, bool native);
// Our program in the place of an earlier mstackd's, with no gap; false: that has none there.
Expected<bool> take_over(const Datapath& datapath, const net::Link& device);
// Does nothing if somebody else has taken us out. Also of a device that is gone, or has gone to another network
// namespace: our program is then taken out of the chain it went with. The other members stay.
void leave(const Datapath& datapath, std::uint32_t ifindex);

}  // namespace mstack::daemon::chain
