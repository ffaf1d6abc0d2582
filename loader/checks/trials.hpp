// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "checks/machine.hpp"

namespace mstack::checks {

// Adds a check for each feature of the kernel that mstackd uses, and what it has found out about them.
void try_kernel(Needed& needed);

}  // namespace mstack::checks
