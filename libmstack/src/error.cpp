// SPDX-License-Identifier: BSD-2-Clause
#include "mstack/error.hpp"

#include <cstring>

namespace mstack {

std::string error_text(int code) {
  // strerror() shares a buffer between threads. This one is a table lookup, but answers nullptr for a number that is no
  // errno; such a number can come from a peer.
  const char* text = strerrordesc_np(code);
  return text ? text : "error " + std::to_string(code);
}

std::unexpected<Error> system_failure(int code, std::string_view attempted) {
  return failure(code, std::string(attempted) + ": " + error_text(code));
}

}  // namespace mstack
