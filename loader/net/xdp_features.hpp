// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <optional>

#include "mstack/error.hpp"

namespace mstack::net {

// enum netdev_xdp_act of <linux/netdev.h>, which headers before 6.3 do not have.
enum XdpFeature : std::uint64_t {
  xdp_basic = 1 << 0,     // XDP programs in the driver
  xdp_redirect = 1 << 1,  // ... which may redirect
  xdp_ndo_xmit = 1 << 2,  // takes frames that are redirected to it
  xdp_zero_copy = 1 << 3,
  xdp_hw_offload = 1 << 4,
  xdp_rx_sg = 1 << 5,
  xdp_ndo_xmit_sg = 1 << 6,
};

// What a device of the calling thread's network namespace can do, now: a veth takes redirected frames only while its
// peer runs NAPI, so ask after attaching. nullopt: this kernel (before 6.3) cannot say.
Expected<std::optional<std::uint64_t>> xdp_features(std::uint32_t ifindex);

}  // namespace mstack::net
