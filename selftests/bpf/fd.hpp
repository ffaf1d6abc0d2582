// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "../../libmstack/src/fd.hpp"

namespace bpf_test {

using mstack::Fd;

}  // namespace bpf_test
