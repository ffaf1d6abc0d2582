// SPDX-License-Identifier: BSD-2-Clause
// ICMP errors about packets of a flow.
#pragma once

#include "ends.hpp"

namespace differential {

struct Error {
  Envelope envelope;
  Draft message;
};

// Received: about one that this host sent; transmitted: about one that it got. Mostly with a quote that says so.
Error error_about(Random& random, const Ends& ends, model::Direction direction);

}  // namespace differential
