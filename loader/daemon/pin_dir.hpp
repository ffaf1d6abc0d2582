// SPDX-License-Identifier: BSD-2-Clause
//
// The directory of a bpf filesystem that holds what outlives mstackd: PIN/<map> and PIN/links/<link>.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fd.hpp"
#include "mstack/error.hpp"

namespace mstack::daemon {

// Whether a directory can hold pins: it is, or its parent is, in a bpf filesystem; or it will be once mstackd has
// mounted one at the usual place. EPERM: it is there, and not only mstackd's.
enum class PinPlace : std::uint8_t { ready, to_be_mounted };
Expected<PinPlace> look_at_pin_place(const std::string& path);
// Where one of its links is.
std::string link_pin(const std::string& pin_dir, std::string_view name);

class PinDir {
 public:
  // Makes it, and mounts a bpf filesystem on /sys/fs/bpf if it is to be there and none is. Locked until this goes: two
  // daemons on one directory would take each other's links.
  static Expected<PinDir> open(const std::string& path);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string map(std::string_view name) const { return path_ + "/" + std::string(name); }
  [[nodiscard]] std::string link(std::string_view name) const { return link_pin(path_, name); }

  // `meta` is pinned last and removed first: where it is, everything else is whole.
  [[nodiscard]] bool is_complete() const;
  [[nodiscard]] Expected<std::vector<std::string>> links() const;
  // Everything of ours, links first.
  void remove_contents() const;
  // And the directories, if nothing else is in them.
  void remove_all() const;

 private:
  PinDir(std::string path, Fd lock) : path_(std::move(path)), lock_(std::move(lock)) {}
  std::string path_;
  Fd lock_;
};

}  // namespace mstack::daemon
