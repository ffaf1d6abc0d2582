// SPDX-License-Identifier: BSD-2-Clause
//
// Packet memory that the kernel pins for an AF_XDP socket, counted for its user by the kernel itself.
//
// Anyone may make an AF_XDP socket in a user namespace of their own, and have it share the packet memory of one that
// they were given. It is pinned then for as long as they like, whatever becomes of the vport, and no one else can tell.
// The kernel counts what a process pins for the user that it really runs as, against RLIMIT_MEMLOCK, until the last
// page is free; but not for a process with CAP_IPC_LOCK. So a process without it, as a user that stands for the
// client's, is made to register the memory.
#pragma once

#include <linux/if_xdp.h>

#include <cstdint>

#include "mstack/error.hpp"

namespace mstack::daemon {

struct UmemAccount {
  std::uint32_t uid;           // of the client
  std::uint64_t netns_cookie;  // of the uplinks
  std::uint64_t limit;         // bytes; 0: none
};

// EDQUOT: the user would have more pinned than the limit.
Expected<void> register_umem(int xsk, const xdp_umem_reg& memory, const UmemAccount& account);

// The user that stands for a client's: nobody's own, so that nobody may send signals to its process, and none of what
// it has locked is anybody else's. systemd's documentation of uids knows no user in the upper half of the numbers. Each
// network namespace has its own mstackd, limits and so users; within one, no two have the same. Pure.
constexpr std::uint32_t stand_in(std::uint32_t uid, std::uint64_t netns_cookie) {
  const auto offset = static_cast<std::uint32_t>(netns_cookie * 0x9e3779b1);
  const std::uint32_t number = 0x80000000 | (uid + offset);
  return number == 0xffffffff ? 0xfffffffe : number;  // that one would be "no change"
}

}  // namespace mstack::daemon
