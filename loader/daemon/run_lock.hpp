// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <string>

#include "fd.hpp"
#include "mstack/error.hpp"

namespace mstack::daemon {

// Makes the run directory if need be, and takes it: EBUSY while another mstackd has it. The kernel gives it back when
// we end, however that happens.
Expected<Fd> lock_run_directory(const std::string& path);

}  // namespace mstack::daemon
