// SPDX-License-Identifier: BSD-2-Clause
#include "support/fragments.hpp"

#include <algorithm>
#include <stdexcept>

namespace mstack::test {
namespace {

constexpr std::size_t ethernet_size = 14, ipv4_size = 20, ipv6_size = 40, fragment_header = 8;
constexpr std::uint8_t ipv6_fragment = 44;

std::size_t get16(std::span<const std::uint8_t> bytes, std::size_t at) {
  return static_cast<std::size_t>(bytes[at] << 8 | bytes[at + 1]);
}
void set16(Bytes& bytes, std::size_t at, std::size_t value) {
  bytes.at(at) = static_cast<std::uint8_t>(value >> 8);
  bytes.at(at + 1) = static_cast<std::uint8_t>(value);
}
bool is_ipv6(std::span<const std::uint8_t> frame) {
  return get16(frame, 12) == 0x86dd;
}

void set_length(Bytes& frame) {
  if (is_ipv6(frame)) return set16(frame, ethernet_size + 4, frame.size() - ethernet_size - ipv6_size);
  set16(frame, ethernet_size + 2, frame.size() - ethernet_size);
  set16(frame, ethernet_size + 10, 0);
  set16(frame, ethernet_size + 10, internet_checksum(std::span(frame).subspan(ethernet_size, ipv4_size)));
}

}  // namespace

std::vector<Bytes> cut_up(const Bytes& frame, std::size_t mtu, std::uint32_t id) {
  const bool ipv6 = is_ipv6(frame);
  const std::size_t headers = ethernet_size + (ipv6 ? ipv6_size : ipv4_size);
  const std::size_t room = (mtu - (headers - ethernet_size) - (ipv6 ? fragment_header : 0)) / 8 * 8;
  const std::span data = std::span(frame).subspan(headers);
  std::vector<Bytes> fragments;
  for (std::size_t offset = 0; offset < data.size(); offset += room) {
    const auto part = data.subspan(offset, std::min(room, data.size() - offset));
    const bool more = offset + part.size() < data.size();
    Bytes fragment(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(headers));
    if (ipv6) {
      const Bytes header = {fragment[ethernet_size + 6],
                            0,
                            static_cast<std::uint8_t>(offset >> 8),
                            static_cast<std::uint8_t>((offset & 0xf8U) | (more ? 1U : 0U)),
                            static_cast<std::uint8_t>(id >> 24),
                            static_cast<std::uint8_t>(id >> 16),
                            static_cast<std::uint8_t>(id >> 8),
                            static_cast<std::uint8_t>(id)};
      fragment[ethernet_size + 6] = ipv6_fragment;
      fragment.insert(fragment.end(), header.begin(), header.end());
    } else {
      set16(fragment, ethernet_size + 4, id);
      set16(fragment, ethernet_size + 6, offset / 8 | (more ? 0x2000U : 0U));
    }
    fragment.insert(fragment.end(), part.begin(), part.end());
    set_length(fragment);
    fragments.push_back(std::move(fragment));
  }
  return fragments;
}

void Reassembly::add(std::span<const std::uint8_t> frame) {
  if (frame.size() < ethernet_size + ipv4_size) return;
  const bool ipv6 = is_ipv6(frame);
  std::size_t at = ethernet_size + (ipv6 ? ipv6_size : ipv4_size), offset = 0, end = 0;
  bool more = false;
  if (ipv6) {
    if (frame.size() < at + fragment_header || frame[ethernet_size + 6] != ipv6_fragment) return;
    protocol_ = frame[at];
    offset = get16(frame, at + 2) & 0xfff8U;
    more = (frame[at + 3] & 1U) != 0;
    at += fragment_header;
    end = ethernet_size + ipv6_size + get16(frame, ethernet_size + 4);
  } else {
    const std::size_t field = get16(frame, ethernet_size + 6);
    if (get16(frame, 12) != 0x0800 || (field & 0x3fffU) == 0) return;
    offset = (field & 0x1fffU) * 8;
    more = (field & 0x2000U) != 0;
    end = ethernet_size + get16(frame, ethernet_size + 2);
  }
  if (end > frame.size() || end < at) throw std::runtime_error("a fragment whose length is wrong");
  if (offset == 0) headers_.assign(frame.begin(), frame.begin() + (ipv6 ? 54 : 34));
  parts_[offset].assign(frame.begin() + static_cast<std::ptrdiff_t>(at),
                        frame.begin() + static_cast<std::ptrdiff_t>(end));
  if (!more) size_ = offset + end - at;
}

std::optional<Packet> Reassembly::whole() const {
  Bytes frame = headers_, data;
  for (const auto& [offset, part] : parts_) {
    if (offset != data.size()) return std::nullopt;
    data.insert(data.end(), part.begin(), part.end());
  }
  if (headers_.empty() || !size_ || data.size() != *size_) return std::nullopt;
  if (is_ipv6(frame))
    frame.at(ethernet_size + 6) = protocol_;
  else
    set16(frame, ethernet_size + 6, 0);
  frame.insert(frame.end(), data.begin(), data.end());
  set_length(frame);
  return parse(frame);
}

}  // namespace mstack::test
