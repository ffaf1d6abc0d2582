// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/chain.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xdp/libxdp.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/bpf_link.hpp"
#include "daemon/log.hpp"
#include "mstack.skel.h"

namespace mstack::daemon::chain {
namespace {

constexpr int max_members = 10;  // libxdp's limit
constexpr int nobody = -1;       // for a map of claims: no member is ours

struct Member {
  std::uint32_t id;
  std::string name;
  bool ours;
  std::string pin;  // to which "link" or "prog" is to be added
};

std::optional<Member> read_member(int claims, std::string pin) {
  const Fd program(::bpf_obj_get((pin + "prog").c_str()));
  bpf_prog_info info = {};
  __u32 size = sizeof(info);
  if (!program || ::bpf_obj_get_info_by_fd(program.get(), &info, &size) < 0) return std::nullopt;
  const bool ours = claims >= 0 && maps::is_used_by(program.get(), claims);
  return Member{.id = info.id, .name = info.name, .ours = ours, .pin = std::move(pin)};
}

// Where libxdp pins its chains, as its protocol says: dispatch-IFINDEX-ID/progN-{prog,link}, ID the dispatcher's. They
// are read here and not by libxdp, which (1.3) loses a descriptor each time.
std::filesystem::path directory_of_chains() {
  const char* bpffs = std::getenv("LIBXDP_BPFFS");
  return std::filesystem::path(bpffs != nullptr ? bpffs : "/sys/fs/bpf") / "xdp";
}

std::vector<Member> read_chain(int claims, const std::filesystem::path& directory) {
  std::vector<Member> members;
  for (int i = 0; i < max_members; ++i) {
    auto member = read_member(claims, directory / ("prog" + std::to_string(i) + "-"));
    if (!member) break;
    members.push_back(std::move(*member));
  }
  return members;
}

std::string name_of(std::uint32_t ifindex, std::uint32_t dispatcher) {
  return "dispatch-" + std::to_string(ifindex) + "-" + std::to_string(dispatcher);
}

// Of the chain that is on the device; none: no chain is.
std::vector<Member> members_on(int claims, const net::Link& device) {
  if (device.xdp_program == 0) return {};
  return read_chain(claims, directory_of_chains() / name_of(device.ifindex, device.xdp_program));
}

// Out of all chains of the ifindex but those of one dispatcher: of a device that is out of reach, and of what an
// mstackd had made when it was killed. A member goes with its link, and its dispatcher then passes on to the next.
void cut_out(const Datapath& datapath, std::uint32_t ifindex, std::uint32_t but = 0) {
  const std::string prefix = "dispatch-" + std::to_string(ifindex) + "-";
  std::error_code error;
  std::vector<std::filesystem::path> chains;
  for (std::filesystem::directory_iterator chain(directory_of_chains(), error), end; !error && chain != end;
       chain.increment(error)) {
    const std::string name = chain->path().filename();
    if (name.starts_with(prefix) && name != name_of(ifindex, but)) chains.push_back(chain->path());
  }
  for (const auto& chain : chains) {
    bool cut = false;
    for (const Member& member : read_chain(datapath.map("claims"), chain)) {
      if (!member.ours) continue;
      for (const char* what : {"link", "prog"}) (void)::unlink((member.pin + what).c_str());
      cut = true;
    }
    if (cut) (void)::rmdir(chain.c_str());  // not if others are in it
  }
}

// libxdp tells reasons only to its log.
std::string last_warning;

int print_libxdp(libxdp_print_level level, const char* format, va_list args) {
  std::array<char, 1024> text;
  const int size = std::vsnprintf(text.data(), text.size(), format, args);
  std::string_view line(text.data());
  while (line.ends_with('\n') || line.ends_with(' ')) line.remove_suffix(1);
  log::debug("{}", line);
  if (level != LIBXDP_DEBUG) last_warning = line;
  return size;
}

std::unexpected<Error> failed(long code) {
  std::array<char, 128> text = {};
  libxdp_strerror(static_cast<int>(code), text.data(), text.size());
  return failure(static_cast<int>(std::abs(code)),
                 std::string(text.data()) + (last_warning.empty() ? "" : " (" + last_warning + ")"));
}

struct Close {
  void operator()(xdp_multiprog* chain) const { xdp_multiprog__close(chain); }
  void operator()(xdp_program* program) const { xdp_program__close(program); }
};

Expected<void> add(const Datapath& datapath, std::uint32_t ifindex, bool native) {
  auto object = datapath.open_uplink_rx();
  if (!object) return std::unexpected(object.error());
  xdp_program_opts options = {};
  options.sz = sizeof(options);
  options.obj = (*object)->obj;
  options.prog_name = uplink_program;
  xdp_program* program = xdp_program__create(&options);
  if (const long error = libxdp_get_error(program); error != 0) return failed(error);
  const std::unique_ptr<xdp_program, Close> owner(program);
  const auto mode = native ? XDP_MODE_NATIVE : XDP_MODE_SKB;
  if (const int error = xdp_program__attach(program, static_cast<int>(ifindex), mode, 0); error != 0)
    return failed(error);
  // Where it can make no chain, it attaches the program alone, without a link of ours: that is not what was asked for.
  const std::unique_ptr<xdp_multiprog, Close> chain(xdp_multiprog__get_from_ifindex(static_cast<int>(ifindex)));
  if (libxdp_get_error(chain.get()) == 0 && !xdp_multiprog__is_legacy(chain.get())) return {};
  const std::string why = last_warning;
  (void)xdp_program__detach(program, static_cast<int>(ifindex), mode, 0);
  return failure(EOPNOTSUPP, "libxdp made no chain" + (why.empty() ? "" : " (" + why + ")"));
}

Expected<void> remove(const std::vector<std::uint32_t>& ids, std::uint32_t ifindex) {
  const std::unique_ptr<xdp_multiprog, Close> chain(xdp_multiprog__get_from_ifindex(static_cast<int>(ifindex)));
  if (const long error = libxdp_get_error(chain.get()); error != 0) return failed(error);
  std::vector<xdp_program*> leaving;
  for (xdp_program* member = nullptr; (member = xdp_multiprog__next_prog(member, chain.get())) != nullptr;)
    if (std::ranges::find(ids, xdp_program__id(member)) != ids.end()) leaving.push_back(member);
  if (leaving.empty()) return {};
  const int error = xdp_program__detach_multi(leaving.data(), leaving.size(), static_cast<int>(ifindex),
                                              xdp_multiprog__attach_mode(chain.get()), 0);
  if (error != 0) return failed(error);
  return {};
}

// libxdp at work in a process of its own, which keeps what it leaks and whatever it makes of libbpf's state; all that
// lasts of its work is in the kernel. It ends with us: two at once would be one too many.
Expected<void> in_child(const std::function<Expected<void>()>& work) {
  struct Report {
    std::int32_t code;
    std::array<char, 508> text;  // ends in a NUL
  };
  std::array<int, 2> ends;
  if (::pipe2(ends.data(), O_CLOEXEC) < 0) return system_failure(errno, "cannot make a pipe");
  const Fd here(ends[0]);
  Fd there(ends[1]);
  const pid_t self = ::getpid(), child = ::fork();
  if (child < 0) return system_failure(errno, "cannot make a process for libxdp");
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != self) ::_exit(1);
    libxdp_set_print(print_libxdp);
    last_warning.clear();
    const auto done = work();
    Report report = {};
    if (!done) {
      report.code = done.error().code;
      done.error().what.copy(report.text.data(), report.text.size() - 1);
    }
    ::_exit(::write(there.get(), &report, sizeof(report)) == sizeof(report) ? 0 : 1);
  }
  there.reset();
  Report report = {};
  ssize_t size;
  do size = ::read(here.get(), &report, sizeof(report));
  while (size < 0 && errno == EINTR);
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (size != sizeof(report)) return failure(EIO, "libxdp ended with no result");
  if (report.code != 0) return failure(report.code, report.text.data());
  return {};
}

std::vector<std::uint32_t> our_ids(const std::vector<Member>& members) {
  std::vector<std::uint32_t> ids;
  for (const Member& member : members)
    if (member.ours) ids.push_back(member.id);
  return ids;
}

}  // namespace

bool is_on(const net::Link& device) {
  return !members_on(nobody, device).empty();
}

Expected<void> may_join(const net::Link& device) {
  const auto members = members_on(nobody, device);
  const auto other = std::ranges::find(members, uplink_program, &Member::name);
  if (other == members.end()) return {};
  const std::string id = std::to_string(other->id);
  return failure(EBUSY, "another MultiStack is in the chain: " + other->name + " (id " + id +
                            "); end it, or remove it (xdp-loader unload " + device.name + " --id " + id + ")");
}

bool is_member(int claims, const net::Link& device) {
  return !our_ids(members_on(claims, device)).empty();
}

Expected<void> join(const Datapath& datapath, const net::Link& device, bool native) {
  if (::libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_EXT, nullptr) != 1)
    return failure(EOPNOTSUPP, "this kernel cannot chain XDP programs (it takes none of type EXT)");
  if (auto may = may_join(device); !may) return may;
  return in_child([&] { return add(datapath, device.ifindex, native); });
}

Expected<bool> take_over(const Datapath& datapath, const net::Link& device) {
  cut_out(datapath, device.ifindex, device.xdp_program);
  const auto earlier = our_ids(members_on(datapath.map("claims"), device));
  if (earlier.empty()) return false;
  // Ours first, then the earlier one out: a packet that both see is decided by the first of them, by the same maps.
  const bool native = device.xdp == net::XdpAttached::native;
  if (auto added = in_child([&] { return add(datapath, device.ifindex, native); }); !added)
    log::warn("{}: the program of the mstackd before stays in the chain: {}", device.name, added.error().what);
  else if (auto removed = in_child([&] { return remove(earlier, device.ifindex); }); !removed)
    log::warn("{}: the program of the mstackd before stays in the chain too: {}", device.name, removed.error().what);
  return true;
}

void leave(const Datapath& datapath, std::uint32_t ifindex) {
  const auto program = [ifindex] {
    __u32 id = 0;
    (void)::bpf_xdp_query_id(static_cast<int>(ifindex), 0, &id);
    return id;
  };
  std::uint32_t dispatcher = 0;
  std::vector<std::uint32_t> ours;
  do {  // its pins go with it, and another may just come in its place
    dispatcher = program();
    ours = our_ids(read_chain(datapath.map("claims"), directory_of_chains() / name_of(ifindex, dispatcher)));
  } while (ours.empty() && dispatcher != program());
  std::array<char, IF_NAMESIZE> name = {};
  if (!ours.empty()) {
    if (auto removed = in_child([&] { return remove(ours, ifindex); }); !removed)
      log::error("cannot leave the chain of XDP programs on the device of ifindex {}: {}", ifindex,
                 removed.error().what);
  } else if (::if_indextoname(ifindex, name.data()) != nullptr) {
    return;  // somebody has taken us off, and may be about to remove the pins
  }
  cut_out(datapath, ifindex, dispatcher);
}

}  // namespace mstack::daemon::chain
