// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

#include "mstack/error.hpp"

namespace mstack::net {

// Puts a TC program (direct action) on the ingress of a device, with a clsact qdisc if there is none yet. A program
// that an earlier call put there is replaced with no gap. Removing the device removes both.
Expected<void> attach_tc_ingress(std::uint32_t ifindex, int program_fd);

// Whether attach_tc_ingress() has put a program there; its id.
Expected<std::uint32_t> tc_ingress_program(std::uint32_t ifindex);  // 0: none

}  // namespace mstack::net
