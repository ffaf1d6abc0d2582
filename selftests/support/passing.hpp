// SPDX-License-Identifier: BSD-2-Clause
//
// Messages with descriptors, over unix sockets.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <vector>

#include "support/fd.hpp"

namespace mstack::test {

inline constexpr std::size_t most_descriptors = 253;  // SCM_MAX_FD

// As sendmsg().
ssize_t send_descriptors(int socket, std::span<const std::uint8_t> bytes, std::span<const int> fds, int flags = 0);
// As recvmsg(), into `bytes`; adds what came to `fds`.
ssize_t receive_descriptors(int socket, std::span<std::uint8_t> bytes, std::vector<Fd>& fds, int flags = 0);

}  // namespace mstack::test
