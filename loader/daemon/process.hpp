// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <sys/types.h>

namespace mstack::daemon {

// Whether the process is gone, or would be but for a thread that does not come back from the kernel: one that closes a
// client's descriptor may hang there, and all that the process had open, locks included, with it.
bool is_dead(pid_t pid);

}  // namespace mstack::daemon
