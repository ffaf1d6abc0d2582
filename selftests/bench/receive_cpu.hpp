// SPDX-License-Identifier: BSD-2-Clause
//
// A veth's frames are received in a softirq of the CPU that sent them: what a server's host does for a packet would be
// on its client's account. This puts it on the CPU where the server's NIC would have its interrupt, with all that
// follows from it in softirq.
#pragma once

#include <sys/types.h>

#include <string>

#include "support/netns.hpp"

namespace mstack::bench {

// Where the peer has no segmentation offload the interface runs NAPI: a kernel thread of its own from here on (threaded
// NAPI), which takes turns with the processes of its CPU as their equal. The thread; the interface has one queue.
pid_t receive_by_thread(const test::Namespace& netns, const std::string& interface, unsigned cpu);

// Where it runs no NAPI, frames wait in the backlog of a CPU: of that one from here on (RPS).
void receive_by_backlog(const test::Namespace& netns, const std::string& interface, unsigned cpu);

// The thread that runs softirqs of the CPU when there are many.
pid_t softirq_thread(unsigned cpu);

}  // namespace mstack::bench
