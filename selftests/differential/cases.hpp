// SPDX-License-Identifier: BSD-2-Clause
// What is done to the programs: single frames, and sequences whose order matters.
#pragma once

#include "random.hpp"
#include "trial.hpp"

namespace differential {

std::vector<Step> next_case(Random& random, const World& world);

}  // namespace differential
