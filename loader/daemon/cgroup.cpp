// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/cgroup.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <mntent.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <string_view>

namespace mstack::daemon {
namespace {

Expected<std::string> find_hierarchy() {
  struct Close {
    void operator()(std::FILE* file) const { ::endmntent(file); }
  };
  const std::unique_ptr<std::FILE, Close> mounts(::setmntent("/proc/self/mounts", "re"));
  if (!mounts) return system_failure(errno, "cannot read /proc/self/mounts");
  while (const mntent* mount = ::getmntent(mounts.get()))
    if (std::string_view(mount->mnt_type) == "cgroup2") return mount->mnt_dir;
  return failure(ENOENT, "no cgroup2 filesystem is mounted: mount one (mount -t cgroup2 none DIR), or give --cgroup");
}

}  // namespace

Expected<Cgroup> Cgroup::open(const std::string& path) {
  Cgroup cgroup = {.path = path, .fd = {}};
  if (path.empty()) {
    auto found = find_hierarchy();
    if (!found) return std::unexpected(found.error());
    cgroup.path = std::move(*found);
  }
  cgroup.fd = Fd(::open(cgroup.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!cgroup.fd) return system_failure(errno, "cannot open the cgroup " + cgroup.path);
  struct statfs filesystem = {};
  struct stat info = {};
  if (::fstatfs(cgroup.fd.get(), &filesystem) < 0 || ::fstat(cgroup.fd.get(), &info) < 0)
    return system_failure(errno, "cannot look at the cgroup " + cgroup.path);
  if (filesystem.f_type != CGROUP2_SUPER_MAGIC)
    return failure(EINVAL, cgroup.path + " is not a cgroup of the cgroup2 hierarchy: give another --cgroup");
  cgroup.id = info.st_ino;
  return cgroup;
}

}  // namespace mstack::daemon
