// SPDX-License-Identifier: BSD-2-Clause
#include "support/hostile_fuse.hpp"

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <stdexcept>
#include <tuple>

#include "support/sandbox.hpp"

namespace mstack::test {

namespace {

constexpr std::uint64_t root_node = FUSE_ROOT_ID, file_node = 2;

fuse_attr attributes(std::uint64_t node) {
  fuse_attr attr{};
  attr.ino = node;
  attr.size = node == file_node ? HostileFuse::memory_size : 0;
  attr.mode = node == root_node ? S_IFDIR | 0755U : S_IFREG | 0644U;
  attr.nlink = 1;
  attr.blksize = 4096;
  return attr;
}

bool is_own_thread(std::uint32_t tid) {
  return ::access(("/proc/self/task/" + std::to_string(tid)).c_str(), F_OK) == 0;
}

std::string mount_options(int device) {
  return "fd=" + std::to_string(device) + ",rootmode=40000,user_id=0,group_id=0,allow_other";
}

std::string next_directory() {
  static std::atomic<int> number = 0;
  std::string path = Sandbox::get().directory() + "/fuse" + std::to_string(++number);
  check(::mkdir(path.c_str(), 0755), "mkdir " + path);
  return path;
}

}  // namespace

bool HostileFuse::available() {
  const std::string directory = next_directory();
  const Fd device{::open("/dev/fuse", O_RDWR | O_CLOEXEC)};
  if (!device) return false;
  if (::mount("hostile", directory.c_str(), "fuse", MS_NOSUID | MS_NODEV, mount_options(device.get()).c_str()) < 0)
    return false;
  ::umount2(directory.c_str(), MNT_DETACH);
  return true;
}

HostileFuse::HostileFuse()
    : directory_(next_directory()),
      device_(check(::open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK), "open /dev/fuse")),
      stop_(check(::eventfd(0, EFD_CLOEXEC), "eventfd")) {
  check(::mount("hostile", directory_.c_str(), "fuse", MS_NOSUID | MS_NODEV, mount_options(device_.get()).c_str()),
        "mount fuse");
  thread_ = std::thread([this] { serve(); });
  const Fd file = open();
  void* const mapped = ::mmap(nullptr, memory_size, PROT_READ, MAP_SHARED, file.get(), 0);
  if (mapped == MAP_FAILED) check(-1, "map a FUSE file");
  memory_ = static_cast<std::uint8_t*>(mapped);
}

HostileFuse::~HostileFuse() {
  const std::uint64_t one = 1;
  std::ignore = ::write(stop_.get(), &one, sizeof(one));
  thread_.join();
  device_.reset();  // ends every request that waits
  ::munmap(memory_, memory_size);
  ::umount2(directory_.c_str(), MNT_DETACH);
}

Fd HostileFuse::open() const {
  const std::string path = directory_ + "/file";
  return Fd{check(::open(path.c_str(), O_RDONLY | O_CLOEXEC), "open " + path)};
}

std::uint8_t* HostileFuse::memory() const {
  return memory_;
}

void HostileFuse::answer(std::uint64_t unique, const void* body, std::size_t size, int error) const {
  fuse_out_header header{.len = static_cast<std::uint32_t>(sizeof(header) + size), .error = -error, .unique = unique};
  const std::array<iovec, 2> parts{iovec{.iov_base = &header, .iov_len = sizeof(header)},
                                   iovec{.iov_base = const_cast<void*>(body), .iov_len = size}};
  std::ignore = ::writev(device_.get(), parts.data(), size == 0 ? 1 : 2);
}

void HostileFuse::serve() {
  alignas(fuse_in_header) std::array<std::byte, FUSE_MIN_READ_BUFFER + 65536> buffer{};
  for (;;) {
    std::array<pollfd, 2> entries{pollfd{.fd = device_.get(), .events = POLLIN, .revents = 0},
                                  pollfd{.fd = stop_.get(), .events = POLLIN, .revents = 0}};
    if (::poll(entries.data(), entries.size(), -1) < 0 && errno != EINTR) return;
    if (entries[1].revents != 0) return;
    const ssize_t size = ::read(device_.get(), buffer.data(), buffer.size());
    if (size < static_cast<ssize_t>(sizeof(fuse_in_header))) {
      if (size < 0 && errno == ENODEV) return;  // unmounted
      continue;
    }
    fuse_in_header request;
    std::memcpy(&request, buffer.data(), sizeof(request));
    switch (request.opcode) {
      case FUSE_INIT: {
        fuse_init_out init{};
        init.major = FUSE_KERNEL_VERSION;
        init.minor = FUSE_KERNEL_MINOR_VERSION;
        init.max_readahead = init.max_write = 4096;
        answer(request.unique, &init, sizeof(init));
        break;
      }
      case FUSE_LOOKUP: {
        fuse_entry_out entry{};
        entry.nodeid = file_node;
        entry.attr_valid = entry.entry_valid = 3600;
        entry.attr = attributes(file_node);
        answer(request.unique, &entry, sizeof(entry));
        break;
      }
      case FUSE_OPEN: {
        const fuse_open_out opened{};
        answer(request.unique, &opened, sizeof(opened));
        break;
      }
      case FUSE_READ: ++reads_; break;
      case FUSE_RELEASE:
      case FUSE_FORGET:
      case FUSE_INTERRUPT: break;
      default:
        if (!is_own_thread(request.pid)) {
          ++unanswered_;
        } else if (request.opcode == FUSE_GETATTR) {
          fuse_attr_out out{};
          out.attr_valid = 3600;
          out.attr = attributes(request.nodeid);
          answer(request.unique, &out, sizeof(out));
        } else {
          answer(request.unique, nullptr, 0, request.opcode == FUSE_FLUSH ? 0 : ENOSYS);
        }
    }
  }
}

}  // namespace mstack::test
