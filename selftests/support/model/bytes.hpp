// SPDX-License-Identifier: BSD-2-Clause
// Bytes as they are on the wire, and a view that cannot be read beyond.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <vector>

namespace model {

using Bytes = std::vector<std::uint8_t>;

// A part of a frame. To read what it does not hold is a mistake of the model, never of the frame: it throws.
class View {
 public:
  View() = default;
  // `buffer`: how much of it is in the first of the buffers that a driver hands over, which is all that an XDP program
  // can read headers from.
  explicit View(std::span<const std::uint8_t> bytes, std::size_t buffer = SIZE_MAX) : bytes_(bytes), buffer_(buffer) {}

  std::size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  const std::uint8_t* data() const { return bytes_.data(); }
  // Whether a header of so many bytes is there, and to be read.
  bool shows(std::size_t count) const { return count <= size() && count <= buffer_; }

  std::uint8_t u8(std::size_t at) const {
    require(at, 1);
    return bytes_[at];
  }
  std::uint16_t u16(std::size_t at) const { return static_cast<std::uint16_t>(u8(at) << 8 | u8(at + 1)); }
  std::uint32_t u32(std::size_t at) const { return std::uint32_t{u16(at)} << 16 | u16(at + 2); }

  View part(std::size_t at, std::size_t count) const {
    require(at, count);
    return View(bytes_.subspan(at, count), behind(at));
  }
  View from(std::size_t at) const {
    require(at, 0);
    return View(bytes_.subspan(at), behind(at));
  }
  View first(std::size_t count) const { return part(0, count); }

 private:
  void require(std::size_t at, std::size_t count) const {
    if (at > bytes_.size() || count > bytes_.size() - at) throw std::out_of_range("the model reads beyond the frame");
  }

  std::size_t behind(std::size_t at) const { return buffer_ - std::min(at, buffer_); }

  std::span<const std::uint8_t> bytes_;
  std::size_t buffer_ = SIZE_MAX;
};

// Numbers into bytes, in wire order.
inline void put16(Bytes& bytes, std::size_t at, std::uint16_t value) {
  bytes.at(at) = static_cast<std::uint8_t>(value >> 8);
  bytes.at(at + 1) = static_cast<std::uint8_t>(value);
}

inline void put(Bytes& bytes, std::size_t at, std::span<const std::uint8_t> with) {
  for (std::size_t i = 0; i < with.size(); ++i) bytes.at(at + i) = with[i];
}

}  // namespace model
