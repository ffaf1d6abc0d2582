// SPDX-License-Identifier: BSD-2-Clause
#include "content.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <utility>

#include "date.hpp"

namespace http {
namespace {

constexpr std::uint64_t most_in_memory = 256 * 1024;  // of one file
constexpr std::size_t most_known = 64 * 1024 * 1024;  // of all of them
constexpr std::size_t most_known_files = 4096;
constexpr std::uint64_t block = 32 * 1024;  // of a larger file, at once: memory of each who does not read it

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

// Bytes of a prime number's length, so that no two segments, blocks or pages of a body are alike.
constexpr std::size_t pattern_size = 1'048'573;

const std::vector<std::uint8_t>& pattern() {
  static const auto bytes = [] {
    std::vector<std::uint8_t> made(pattern_size);
    std::uint32_t state = 0x6d737461;
    for (std::uint8_t& byte : made) {
      state ^= state << 13;
      state ^= state >> 17;
      state ^= state << 5;
      byte = static_cast<std::uint8_t>(state >> 11);
    }
    return made;
  }();
  return bytes;
}

class Generated final : public Content {
 public:
  explicit Generated(std::uint64_t size) : size_(size) {}
  [[nodiscard]] std::uint64_t size() const override { return size_; }
  [[nodiscard]] Piece read(std::uint64_t offset, std::uint64_t end) const override {
    const std::size_t at = offset % pattern_size;
    return {.bytes = std::span(pattern()).subspan(at, std::min<std::uint64_t>(end - offset, pattern_size - at)),
            .owner = nullptr};
  }

 private:
  std::uint64_t size_;
};

// As many bytes as there are, up to `size`.
std::shared_ptr<const std::vector<std::uint8_t>> read_block(int fd, std::uint64_t offset, std::uint64_t size) {
  auto bytes = std::make_shared<std::vector<std::uint8_t>>(size);
  std::size_t done = 0;
  while (done < size) {
    const ssize_t got = ::pread(fd, bytes->data() + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    done += static_cast<std::size_t>(got);
  }
  bytes->resize(done);
  return bytes;
}

// What makes a file another file.
struct Identity {
  dev_t device;
  ino_t inode;
  off_t size;
  std::int64_t modified_ns;
  friend bool operator==(const Identity&, const Identity&) = default;
  explicit Identity(const struct stat& status)
      : device(status.st_dev),
        inode(status.st_ino),
        size(status.st_size),
        modified_ns(std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec) {}
};

class File final : public Content {
 public:
  File(Descriptor fd, const Identity& identity)
      : identity_(identity), size_(static_cast<std::uint64_t>(identity.size)) {
    if (size_ <= most_in_memory) {
      memory_ = read_block(fd.get(), 0, size_);
      size_ = memory_->size();  // if it shrank meanwhile
    } else {
      fd_.emplace(std::move(fd));
    }
  }
  [[nodiscard]] std::uint64_t size() const override { return size_; }
  [[nodiscard]] Piece read(std::uint64_t offset, std::uint64_t end) const override {
    if (memory_) return {.bytes = std::span(*memory_).subspan(offset, end - offset), .owner = memory_};
    // Not mapped: if somebody cut the file short, reading the mapping would be a SIGBUS.
    const auto bytes = read_block(fd_->get(), offset, std::min(block, end - offset));
    return {.bytes = *bytes, .owner = bytes};
  }
  [[nodiscard]] const Identity& identity() const { return identity_; }
  [[nodiscard]] bool in_memory() const { return memory_ != nullptr; }

 private:
  Identity identity_;
  std::uint64_t size_;
  std::optional<Descriptor> fd_;
  std::shared_ptr<const std::vector<std::uint8_t>> memory_;
};

std::string_view type_of(std::string_view path) {
  constexpr std::array<std::array<std::string_view, 2>, 14> types = {{{".html", "text/html; charset=utf-8"},
                                                                      {".htm", "text/html; charset=utf-8"},
                                                                      {".txt", "text/plain; charset=utf-8"},
                                                                      {".css", "text/css"},
                                                                      {".js", "text/javascript"},
                                                                      {".json", "application/json"},
                                                                      {".xml", "application/xml"},
                                                                      {".svg", "image/svg+xml"},
                                                                      {".png", "image/png"},
                                                                      {".jpg", "image/jpeg"},
                                                                      {".gif", "image/gif"},
                                                                      {".ico", "image/x-icon"},
                                                                      {".wasm", "application/wasm"},
                                                                      {".pdf", "application/pdf"}}};
  for (const auto& [suffix, type] : types)
    if (path.ends_with(suffix)) return type;
  return "application/octet-stream";
}

int status_of(int error) {
  if (error == EMFILE || error == ENFILE || error == ENOMEM) return 503;
  return error == EACCES ? 403 : 404;
}

}  // namespace

ContentRef generated(std::uint64_t size) {
  return std::make_shared<Generated>(size);
}

std::uint8_t generated_byte(std::uint64_t offset) {
  return pattern()[offset % pattern_size];
}

Files::Files(const std::string& folder) {
  if (folder.empty()) return;
  folder_ = ::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (folder_ < 0) error_ = errno;
}

Files::~Files() {
  if (folder_ >= 0) ::close(folder_);
}

std::expected<ContentRef, int> Files::load(const std::string& path, const ContentRef& known) const {
  open_how how = {};
  // O_NONBLOCK: to open a FIFO must not wait for its writer; only regular files are served.
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  const std::size_t start = path.find_first_not_of('/');
  const std::string below = start == std::string::npos ? "." : path.substr(start);
  Descriptor fd(static_cast<int>(::syscall(SYS_openat2, folder_, below.c_str(), &how, sizeof(how))));
  struct stat status = {};
  if (fd.get() < 0 || ::fstat(fd.get(), &status) != 0) return std::unexpected(status_of(errno));
  if (S_ISDIR(status.st_mode) && path.ends_with('/')) return load(path + "index.html", known);
  if (!S_ISREG(status.st_mode)) return std::unexpected(404);
  const Identity identity(status);
  if (const auto* same = dynamic_cast<const File*>(known.get()); same != nullptr && same->identity() == identity)
    return known;
  auto file = std::make_shared<File>(std::move(fd), identity);
  file->type = type_of(path);
  file->modified = date(status.st_mtim.tv_sec);
  file->tag = '"' + std::to_string(identity.modified_ns) + '-' + std::to_string(identity.size) + '"';
  return file;
}

std::expected<ContentRef, int> Files::find(const std::string& path) {
  if (folder_ < 0) return std::unexpected(404);
  const std::time_t now = ::time(nullptr);
  const auto known = known_.find(path);
  if (known != known_.end() && known->second.looked_at == now) return known->second.content;
  auto loaded = load(path, known != known_.end() ? known->second.content : nullptr);
  ContentRef content = loaded.value_or(nullptr);
  if (known != known_.end()) {
    if (content == known->second.content) {
      known->second.looked_at = now;
      return content;
    }
    known_bytes_ -= known->second.content->size();
    known_.erase(known);
  }
  const auto* file = dynamic_cast<const File*>(content.get());
  if (file == nullptr || !file->in_memory()) return loaded;  // a large one is not kept open for its next reader
  if (known_.size() == most_known_files || known_bytes_ + content->size() > most_known) {
    known_.clear();
    known_bytes_ = 0;
  }
  known_bytes_ += content->size();
  known_.emplace(path, Known{.content = content, .looked_at = now});
  return content;
}

}  // namespace http
