// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/quota.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <limits>

namespace mstack::daemon {
namespace {

// Of any unsigned numbers, also those whose sum would wrap. A limit of 0 is none.
template <class Number>
bool exceeds(Number wanted, Number used, Number limit) {
  return limit != 0 && (used > limit || wanted > limit - used);
}

}  // namespace

Expected<void> Ledger::check_vport(std::uint32_t uid, const VportSize& size) const {
  const auto found = users_.find(uid);
  const Use use = found == users_.end() ? Use{} : found->second;
  if (quota_.vports != 0 && use.vports >= quota_.vports)
    return failure(EDQUOT, fmt::format("user {} has {} vports, which is the limit: close one, or raise mstackd's "
                                       "--max-vports",
                                       uid, use.vports));
  if (exceeds(size.queues, use.queues, quota_.queues))
    return failure(EDQUOT,
                   fmt::format("{} queues more would take the vports of user {} beyond the limit of {}: ask for "
                               "fewer queues, or raise mstackd's --max-queues",
                               size.queues, uid, quota_.queues));
  if (exceeds(size.umem_bytes, use.umem_bytes, quota_.umem_bytes))
    return failure(EDQUOT,
                   fmt::format("{} MiB of UMEM more would take user {} beyond the limit of {} MiB: ask for fewer "
                               "frames, or raise mstackd's --max-umem-mb",
                               (size.umem_bytes + (1 << 20) - 1) >> 20, uid, quota_.umem_bytes >> 20));
  return {};
}

std::uint32_t Ledger::claims_left(std::uint32_t claims) const {
  if (quota_.claims == 0) return std::numeric_limits<std::uint32_t>::max();
  return quota_.claims - std::min(claims, quota_.claims);
}

void Ledger::add(std::uint32_t uid, const VportSize& size) {
  Use& use = users_[uid];
  ++use.vports;
  use.queues += size.queues;
  use.umem_bytes += size.umem_bytes;
}

void Ledger::remove(std::uint32_t uid, const VportSize& size) {
  const auto found = users_.find(uid);
  if (found == users_.end()) return;
  Use& use = found->second;
  use.queues -= size.queues;
  use.umem_bytes -= size.umem_bytes;
  if (--use.vports == 0) users_.erase(found);
}

}  // namespace mstack::daemon
