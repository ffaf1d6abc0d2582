// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/quota.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <limits>

namespace mstack::daemon {

Expected<void> Ledger::check_vport(std::uint32_t uid, std::uint64_t umem_bytes) const {
  const auto found = users_.find(uid);
  const Use use = found == users_.end() ? Use{} : found->second;
  if (quota_.vports != 0 && use.vports >= quota_.vports)
    return failure(EDQUOT, fmt::format("user {} has {} vports, which is the limit: close one, or raise mstackd's "
                                       "--max-vports",
                                       uid, use.vports));
  if (quota_.umem_bytes != 0 && (use.umem_bytes > quota_.umem_bytes || umem_bytes > quota_.umem_bytes - use.umem_bytes))
    return failure(EDQUOT, fmt::format("{} MiB of UMEM more would take user {} beyond the limit of {} MiB: ask "
                                       "for fewer frames, or raise mstackd's --max-umem-mb",
                                       (umem_bytes + (1 << 20) - 1) >> 20, uid, quota_.umem_bytes >> 20));
  return {};
}

std::uint32_t Ledger::claims_left(std::uint32_t claims) const {
  if (quota_.claims == 0) return std::numeric_limits<std::uint32_t>::max();
  return quota_.claims - std::min(claims, quota_.claims);
}

void Ledger::add(std::uint32_t uid, std::uint64_t umem_bytes) {
  Use& use = users_[uid];
  ++use.vports;
  use.umem_bytes += umem_bytes;
}

void Ledger::remove(std::uint32_t uid, std::uint64_t umem_bytes) {
  const auto found = users_.find(uid);
  if (found == users_.end()) return;
  found->second.umem_bytes -= umem_bytes;
  if (--found->second.vports == 0) users_.erase(found);
}

}  // namespace mstack::daemon
