// SPDX-License-Identifier: BSD-2-Clause
#include <arpa/inet.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "net/sock_diag.hpp"

namespace mstack::net {
namespace {

// The packets that an address and the rest of a socket's binding cover, of one IP version: none, those of one address,
// or all.
struct Cover {
  enum class Reach { none, one, all } reach = Reach::none;
  const __be32* address = nullptr;
  std::size_t words = 0;

  bool meets(const Cover& other) const {
    if (reach == Reach::none || other.reach == Reach::none) return false;
    if (reach == Reach::all || other.reach == Reach::all) return true;
    return std::equal(address, address + words, other.address);
  }
};

struct Covers {
  Cover v4, v6;
};

Covers covers_of(const mstack_tuple& tuple, bool v6only) {
  using Reach = Cover::Reach;
  const __be32* address = tuple.addr;
  Covers covers;
  covers.v4 = {.reach = Reach::none, .address = address + 3, .words = 1};
  covers.v6 = {.reach = Reach::none, .address = address, .words = 4};
  if (!address[0] && !address[1] && address[2] == htonl(0xffff)) {
    covers.v4.reach = address[3] ? Reach::one : Reach::all;
  } else if (!address[0] && !address[1] && !address[2] && !address[3]) {
    covers.v6.reach = Reach::all;
    if (!v6only) covers.v4.reach = Reach::all;
  } else {
    covers.v6.reach = Reach::one;
  }
  return covers;
}

}  // namespace

bool Holder::operator==(const Holder& other) const {
  return cookie == other.cookie && std::memcmp(&tuple, &other.tuple, sizeof(tuple)) == 0 && family == other.family &&
         state == other.state && v6only == other.v6only;
}

bool overlaps(const mstack_tuple& tuple, bool v6only, const Holder& holder) {
  if (tuple.port != holder.tuple.port || tuple.protocol != holder.tuple.protocol) return false;
  const Covers ours = covers_of(tuple, v6only), theirs = covers_of(holder.tuple, holder.v6only);
  return ours.v4.meets(theirs.v4) || ours.v6.meets(theirs.v6);
}

}  // namespace mstack::net
