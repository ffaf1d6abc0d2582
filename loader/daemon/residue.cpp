// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/residue.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>

namespace mstack::daemon {

Residue::~Residue() {
  struct stat status = {};
  if (!memory_ || ::fstat(memory_.get(), &status) < 0) return;
  (void)::fallocate(memory_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, status.st_size);
}

bool Residue::is_held() const {
  for (std::uint32_t slot = lease_.slot(); slot < lease_.slot() + lease_.count(); ++slot) {
    const auto alive = datapath_->is_alive(slot);
    if (!alive || *alive) return true;
  }
  return false;
}

}  // namespace mstack::daemon
