// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <string>
#include <vector>

#include "mstack/error.hpp"

namespace mstack::net {

// The features of a device by which it takes the tags of VLANs off what it receives, before XDP sees it. None: it
// leaves them where they are.
struct TagStripping {
  std::vector<std::string> features;  // that can be turned off, in the words of `ethtool -k`
  bool fixed = false;                 // there is one that cannot
};

// Of a device of the calling thread's network namespace.
Expected<TagStripping> tag_stripping(const std::string& device);

}  // namespace mstack::net
