// SPDX-License-Identifier: BSD-2-Clause
#pragma once

/// libmstack: user-level network stacks beside the kernel's, on the same NIC and address.
///
///     auto vport = mstack::Vport::open({.queues = 1, .frames = 4096});
///     auto claim = vport->claim(mstack::udp("192.0.2.1", 7));
///     for (auto& queue = vport->queue(0);;) {
///       queue.wait(std::chrono::seconds(1));
///       queue.receive(64, [&](mstack::Frame frame) { ...; queue.transmit(frame); });
///       queue.flush();
///     }

#include "mstack/claim.hpp"
#include "mstack/error.hpp"
#include "mstack/frame.hpp"
#include "mstack/queue.hpp"
#include "mstack/tuple.hpp"
#include "mstack/vport.hpp"
