// SPDX-License-Identifier: BSD-2-Clause
//
// What the server has to give: the files below a folder, and bodies of any size that it makes up.
#pragma once

#include <cstdint>
#include <ctime>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace http {

// Bytes that stay where they are as long as somebody holds the owner; without one, for ever.
struct Piece {
  std::span<const std::uint8_t> bytes;
  std::shared_ptr<const void> owner;
};

class Content {
 public:
  virtual ~Content() = default;
  [[nodiscard]] virtual std::uint64_t size() const = 0;
  // Some bytes from there on, at most to `end`; none if they cannot be had (any more).
  [[nodiscard]] virtual Piece read(std::uint64_t offset, std::uint64_t end) const = 0;

  std::string type = "application/octet-stream";
  std::string tag, modified;  // of HTTP's ETag and Last-Modified; empty for what is made up
};

using ContentRef = std::shared_ptr<const Content>;

// /bytes/N: byte i is that of `generated_byte(i)`, so that a reader can tell what is missing.
ContentRef generated(std::uint64_t size);
std::uint8_t generated_byte(std::uint64_t offset);

// The regular files below a folder. The kernel keeps paths below it (RESOLVE_BENEATH): no "..", no symbolic link and
// no /proc magic leads out, whenever the folder changes. Small files are kept in memory, and looked at again when a
// second has passed; large ones are read as they are sent. Reading a file blocks, as it does in most servers.
class Files {
 public:
  // Without a folder there are no files. On failure: errno.
  explicit Files(const std::string& folder);
  ~Files();
  Files(Files&&) = delete;

  [[nodiscard]] int error() const { return error_; }
  // A status where there is none: 404, 403, or 503 if the server has run out of something.
  [[nodiscard]] std::expected<ContentRef, int> find(const std::string& path);

 private:
  struct Known {
    ContentRef content;
    std::time_t looked_at;
  };
  [[nodiscard]] std::expected<ContentRef, int> load(const std::string& path, const ContentRef& known) const;

  int folder_ = -1;
  int error_ = 0;
  std::unordered_map<std::string, Known> known_;
  std::size_t known_bytes_ = 0;
};

}  // namespace http
