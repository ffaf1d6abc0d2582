// SPDX-License-Identifier: BSD-2-Clause
// What a campaign has seen, and whether that was everything.
#pragma once

#include "trial.hpp"

namespace differential {

// By program and verdict, then by kind of packet.
void print(const Seen& seen);
// Every verdict was read, and every kind of packet steered, sent and refused. Else the test fails.
void expect_everything(const Seen& seen);

}  // namespace differential
