// SPDX-License-Identifier: BSD-2-Clause
// A frame under construction.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/bytes.hpp"
#include "model/tuple.hpp"

namespace differential {

// A frame and where in it things are: what a mutation aims at.
struct Draft {
  model::Bytes bytes;
  std::vector<std::size_t> boundaries;  // where headers begin
  std::vector<std::size_t> lengths;     // bytes that say how long something is
  std::vector<std::size_t> kinds;       // bytes that say what comes next

  std::size_t size() const { return bytes.size(); }
  void boundary() { boundaries.push_back(size()); }
  void u8(unsigned value) { bytes.push_back(static_cast<std::uint8_t>(value)); }
  void u16(unsigned value) {
    u8(value >> 8);
    u8(value);
  }
  void u32(std::uint32_t value) {
    u16(value >> 16);
    u16(value);
  }
  void add(std::span<const std::uint8_t> more) { bytes.insert(bytes.end(), more.begin(), more.end()); }
  // Another one, with all that is known of it.
  void add(const Draft& more) {
    for (const std::size_t at : more.boundaries) boundaries.push_back(size() + at);
    for (const std::size_t at : more.lengths) lengths.push_back(size() + at);
    for (const std::size_t at : more.kinds) kinds.push_back(size() + at);
    add(std::span(more.bytes));
  }
  void zeros(std::size_t count) { bytes.resize(size() + count); }
  void kind(unsigned value) {
    kinds.push_back(size());
    u8(value);
  }
  void length8(unsigned value) {
    lengths.push_back(size());
    u8(value);
  }
  void length16(unsigned value) {
    lengths.push_back(size());
    lengths.push_back(size() + 1);
    u16(value);
  }
  void address(const model::Address& address) {
    if (address.is_ip4()) {
      add(std::span(address.bytes()).subspan(12));
    } else {
      add(address.bytes());
    }
  }
  // A length, once it is known.
  void set16(std::size_t at, std::size_t value) { model::put16(bytes, at, static_cast<std::uint16_t>(value)); }
};

}  // namespace differential
