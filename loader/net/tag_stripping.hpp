// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <string>
#include <vector>

#include "mstack/error.hpp"

namespace mstack::net {

// The features of a device of the calling thread's network namespace, in the words of `ethtool -k`, by which it takes
// the tags of VLANs off what it receives, before XDP sees it. None: it leaves them where they are.
Expected<std::vector<std::string>> tag_stripping(const std::string& device);

}  // namespace mstack::net
