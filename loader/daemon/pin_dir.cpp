// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/pin_dir.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "daemon/bpf_link.hpp"
#include "daemon/log.hpp"
#include "daemon/process.hpp"
#include "maps.hpp"

namespace mstack::daemon {
namespace {

constexpr const char* usual_mount = "/sys/fs/bpf";

bool is_bpf_filesystem(const std::string& path) {
  struct statfs info = {};
  return ::statfs(path.c_str(), &info) == 0 && info.f_type == BPF_FS_MAGIC;
}

pid_t last_user_of(const std::string& path) {
  const auto map = maps::open_pinned(path, maps::definition("meta"), maps::Access::read);
  if (!map) return 0;
  const auto meta = maps::read_meta(map->get());
  return meta ? static_cast<pid_t>(meta->pid) : 0;
}

// Who can open it can lock it, and so keep every mstackd from starting; who can write to it can change what is pinned.
Expected<void> is_closed(const std::string& path) {
  struct stat status = {};
  if (::lstat(path.c_str(), &status) < 0) return system_failure(errno, "cannot look at " + path);
  if (S_ISDIR(status.st_mode) && status.st_uid == ::geteuid() && (status.st_mode & (S_IRWXG | S_IRWXO)) == 0) return {};
  return failure(EPERM, path + " must be a directory that is mstackd's own and closed to everybody else: chmod 700, " +
                            "or give another --pin-dir");
}

Expected<void> make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) < 0 && errno != EEXIST) return system_failure(errno, "cannot make " + path);
  return is_closed(path);
}

}  // namespace

std::string link_pin(const std::string& pin_dir, std::string_view name) {
  return pin_dir + "/links/" + std::string(name);
}

Expected<PinPlace> look_at_pin_place(const std::string& path) {
  if (path.starts_with(std::string(usual_mount) + "/") && !is_bpf_filesystem(usual_mount) &&
      ::access(usual_mount, F_OK) == 0)
    return PinPlace::to_be_mounted;
  const std::string parent = std::filesystem::path(path).lexically_normal().parent_path();
  if (is_bpf_filesystem(path) || is_bpf_filesystem(parent)) {
    for (const std::string& directory : {path, path + "/links"}) {
      if (::access(directory.c_str(), R_OK) < 0) continue;  // not there, or closed to this user too
      if (auto closed = is_closed(directory); !closed) return std::unexpected(closed.error());
    }
    return PinPlace::ready;
  }
  return failure(EINVAL, "the pin directory " + path +
                             " is not in a bpf filesystem: mount one (mount -t bpf bpf DIR), or give another "
                             "--pin-dir");
}

Expected<PinDir> PinDir::open(const std::string& path) {
  auto place = look_at_pin_place(path);
  if (place && *place == PinPlace::to_be_mounted) {
    if (::mount("bpf", usual_mount, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0)
      return system_failure(errno, "cannot mount a bpf filesystem on /sys/fs/bpf");
    log::info("mounted a bpf filesystem on {}", usual_mount);
    place = look_at_pin_place(path);
  }
  if (!place) return std::unexpected(place.error());
  if (auto made = make_directory(path); !made) return std::unexpected(made.error());
  if (auto made = make_directory(path + "/links"); !made) return std::unexpected(made.error());

  Fd lock(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock) return system_failure(errno, "cannot open " + path);
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) < 0) {
    if (errno != EWOULDBLOCK) return system_failure(errno, "cannot lock " + path);
    if (!is_dead(last_user_of(path)))
      return failure(EBUSY, "another mstackd uses the pin directory " + path + ": stop it, or give another --pin-dir");
  }
  return PinDir(path, std::move(lock));
}

bool PinDir::is_complete() const {
  return ::access(map("meta").c_str(), F_OK) == 0;
}

Expected<std::vector<std::string>> PinDir::links() const {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(path_ + "/links", error), end; !error && entry != end;
       entry.increment(error))
    names.push_back(entry->path().filename());
  if (error) return system_failure(error.value(), "cannot read " + path_ + "/links");
  return names;
}

void PinDir::remove_contents() const {
  (void)::unlink(map("meta").c_str());
  if (const auto names = links(); names)
    for (const std::string& name : *names) remove_link(link(name));
  for (const maps::Definition& definition : maps::definitions) {
    (void)::unlink(map(definition.name).c_str());
    (void)::unlink(temporary_pin(map(definition.name)).c_str());
  }
}

void PinDir::remove_all() const {
  remove_contents();
  (void)::rmdir((path_ + "/links").c_str());
  (void)::rmdir(path_.c_str());
}

}  // namespace mstack::daemon
