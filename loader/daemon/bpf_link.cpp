// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/bpf_link.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace mstack::daemon {

Expected<Fd> create_link(int program, int target, bpf_attach_type type, std::uint32_t flags) {
  bpf_link_create_opts options = {};
  options.sz = sizeof(options);
  options.flags = flags;
  Fd link(::bpf_link_create(program, target, type, &options));
  if (!link) return system_failure(errno, "cannot attach");
  return link;
}

Expected<void> update_link(int link, int program) {
  if (::bpf_link_update(link, program, nullptr) < 0) return system_failure(errno, "cannot replace the program");
  return {};
}

Expected<LinkTarget> link_target(int link) {
  bpf_link_info info = {};
  __u32 size = sizeof(info);
  if (::bpf_obj_get_info_by_fd(link, &info, &size) < 0) return system_failure(errno, "cannot look at a bpf_link");
  LinkTarget target = {.type = info.type, .program = info.prog_id};
  if (info.type == BPF_LINK_TYPE_XDP) target.ifindex = info.xdp.ifindex;
  if (info.type == BPF_LINK_TYPE_CGROUP) target.cgroup_id = info.cgroup.cgroup_id;
  return target;
}

Expected<std::string> program_name(std::uint32_t id) {
  bpf_prog_info info = {};
  __u32 size = sizeof(info);
  const Fd program(::bpf_prog_get_fd_by_id(id));
  if (!program || ::bpf_obj_get_info_by_fd(program.get(), &info, &size) < 0)
    return system_failure(errno, "cannot look at the program of id " + std::to_string(id));
  return std::string(info.name);
}

std::string describe_program(std::uint32_t id) {
  const auto name = program_name(id);
  return (name && !name->empty() ? *name : "a program without a name") + " (id " + std::to_string(id) + ")";
}

bool is_held_by_link(std::uint32_t program) {
  for (__u32 id = 0; ::bpf_link_get_next_id(id, &id) == 0;) {
    const Fd link(::bpf_link_get_fd_by_id(id));
    const auto target = link ? link_target(link.get()) : failure(errno, "gone");
    if (target && target->type == BPF_LINK_TYPE_XDP && target->program == program) return true;
  }
  return false;
}

bool is_pinned_to(const std::string& path, std::uint32_t ifindex, std::uint32_t program) {
  const auto link = open_link(path);
  if (!link || !*link) return false;
  const auto target = link_target((*link)->get());
  return target && is_target(*target, ifindex, program);
}

std::string temporary_pin(const std::string& path) {
  const std::size_t name = path.rfind('/') + 1;
  return path.substr(0, name) + temporary_prefix + path.substr(name);
}

Expected<LinkPin> LinkPin::create(int link, std::string path) {
  const std::string temporary = temporary_pin(path);
  if (::unlink(temporary.c_str()) < 0 && errno != ENOENT) return system_failure(errno, "cannot remove " + temporary);
  if (::bpf_obj_pin(link, temporary.c_str()) < 0) return system_failure(errno, "cannot pin " + temporary);
  if (std::rename(temporary.c_str(), path.c_str()) < 0) {
    const int code = errno;
    (void)::unlink(temporary.c_str());
    return system_failure(code, "cannot pin " + path);
  }
  return LinkPin(std::move(path));
}

void LinkPin::remove() {
  if (!path_.empty()) remove_link(path_);
  path_.clear();
}

void LinkPin::remove_of_gone_device() {
  if (!path_.empty()) (void)::unlink(path_.c_str());
  path_.clear();
}

Expected<std::optional<Fd>> open_link(const std::string& path) {
  Fd link(::bpf_obj_get(path.c_str()));
  if (link) return std::optional(std::move(link));
  if (errno == ENOENT) return std::nullopt;
  return system_failure(errno, "cannot open " + path);
}

void remove_link(const std::string& path) {
  // The kernel drops a link in its own time, and for a device that is gone there is nothing to detach.
  if (const Fd link(::bpf_obj_get(path.c_str())); link) (void)::bpf_link_detach(link.get());
  (void)::unlink(path.c_str());
}

}  // namespace mstack::daemon
