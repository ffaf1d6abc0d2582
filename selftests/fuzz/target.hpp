// SPDX-License-Identifier: BSD-2-Clause
// What every fuzz target is made of: libFuzzer calls LLVMFuzzerTestOneInput() with bytes of its own making, and what is
// wrong is said by a sanitizer, or by require().
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string_view>

namespace fuzz {

// Also where NDEBUG is defined.
inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

// The input, taken from its front. What it does not hold is zero.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : rest_(data, size) {}

  template <class Value>
  Value take() {
    Value value{};
    const std::size_t size = rest_.size() < sizeof(value) ? rest_.size() : sizeof(value);
    if (size != 0) std::memcpy(&value, rest_.data(), size);
    rest_ = rest_.subspan(size);
    return value;
  }
  std::span<const std::uint8_t> take(std::size_t size) {
    const auto taken = rest_.first(size < rest_.size() ? size : rest_.size());
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  std::span<const std::uint8_t> rest() const { return rest_; }
  std::string_view text() const { return {reinterpret_cast<const char*>(rest_.data()), rest_.size()}; }

 private:
  std::span<const std::uint8_t> rest_;
};

inline bool is_printable(std::string_view text, bool lines = false) {
  for (const unsigned char c : text) {
    if ((c < ' ' || c >= 0x7f) && !(lines && c == '\n')) return false;
  }
  return true;
}

}  // namespace fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
