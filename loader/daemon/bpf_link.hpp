// SPDX-License-Identifier: BSD-2-Clause
//
// How every XDP and cgroup program is attached: by a bpf_link that is pinned, so that it outlives mstackd, and the next
// mstackd can put its own program in the place of the old one with no packet in between that sees neither.
#pragma once

#include <bpf/bpf.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "fd.hpp"
#include "mstack/error.hpp"

namespace mstack::daemon {

// Attaches, for as long as the descriptor is open or pinned. `target` is a cgroup's descriptor, or a device's ifindex
// in the calling thread's network namespace.
Expected<Fd> create_link(int program, int target, bpf_attach_type type, std::uint32_t flags = 0);
Expected<void> update_link(int link, int program);
// What it is attached to; ifindex and cgroup id are 0 when that is gone.
struct LinkTarget {
  std::uint32_t type = 0;     // enum bpf_link_type
  std::uint32_t program = 0;  // id
  std::uint32_t ifindex = 0;  // in whatever network namespace the device is now
  std::uint64_t cgroup_id = 0;
};
Expected<LinkTarget> link_target(int link);
inline bool is_target(const LinkTarget& target, std::uint32_t ifindex, std::uint32_t program) {
  return target.ifindex == ifindex && target.program == program;
}
// What MultiStack's program on an uplink is called.
inline constexpr const char* uplink_program = "uplink_rx";
// Empty if it has none. EPERM: only root is told.
Expected<std::string> program_name(std::uint32_t id);
// "NAME (id ID)", for messages.
std::string describe_program(std::uint32_t id);
// Whether a bpf_link of XDP holds that program, so that only who has the link can take it off.
bool is_held_by_link(std::uint32_t program);
// Whether the link that is pinned there holds that program on that device.
bool is_pinned_to(const std::string& path, std::uint32_t ifindex, std::uint32_t program);

// Where something is pinned before it is renamed to `path`. (A bpf filesystem allows no dots in names.)
inline constexpr const char* temporary_prefix = "new_";
std::string temporary_pin(const std::string& path);

// A pin in the links directory. Removed, and the program detached, when its owner goes, unless left.
class LinkPin {
 public:
  LinkPin() = default;
  // Pins under a temporary name and renames: a name in the directory always is a whole link.
  static Expected<LinkPin> create(int link, std::string path);
  // One that is there already.
  static LinkPin adopt(std::string path) { return LinkPin(std::move(path)); }

  LinkPin(LinkPin&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  LinkPin& operator=(LinkPin&& other) noexcept {
    std::swap(path_, other.path_);
    return *this;
  }
  ~LinkPin() { remove(); }

  [[nodiscard]] explicit operator bool() const { return !path_.empty(); }
  void remove();
  void remove_of_gone_device();    // there is nothing to detach from, which would only wait for the kernel's locks
  void leave() { path_.clear(); }  // pinned, to live on without an owner

 private:
  explicit LinkPin(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// nullopt: nothing is pinned there.
Expected<std::optional<Fd>> open_link(const std::string& path);
// Detaches now (dropping the last reference does it some time later) and removes the pin.
void remove_link(const std::string& path);

}  // namespace mstack::daemon
