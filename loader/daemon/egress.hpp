// SPDX-License-Identifier: BSD-2-Clause
//
// uplink_tx and lo_tx: on the egress of devices that are not ours, among others' TC filters.
#pragma once

#include <cstdint>
#include <string_view>

#include "daemon/datapath.hpp"
#include "mstack/error.hpp"

namespace mstack::daemon::egress {

struct Hook {
  std::uint32_t ifindex;
  std::string_view device;
  int program;
  std::string_view loss;  // what is said of packets that do not come to the program
};
// Also in the place of an earlier mstackd's. Whose filters come before is told in the log.
Expected<void> attach(const Datapath& datapath, const Hook& hook);
// Whether somebody else has removed it, which is told in the log. After an error, ask again.
Expected<bool> is_lost(const Datapath& datapath, std::uint32_t ifindex, std::string_view device);
Expected<void> detach(const Datapath& datapath, std::uint32_t ifindex);

}  // namespace mstack::daemon::egress
