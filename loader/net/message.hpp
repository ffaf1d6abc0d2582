// SPDX-License-Identifier: BSD-2-Clause
//
// What a netlink message holds, read no further than it goes: a header or a value that is not whole is none. In place
// of libmnl's readers, which take the sender's word for sizes (and whose macros are C alone until 1.0.5).
#pragma once

#include <libmnl/libmnl.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

namespace mstack::net {

// The messages of a datagram, one after the other. One that is not whole is the end.
class Messages {
 public:
  explicit Messages(std::span<const std::byte> datagram) : rest_(datagram) {}

  const nlmsghdr* next() {
    const auto* message = reinterpret_cast<const nlmsghdr*>(rest_.data());
    if (rest_.size() < NLMSG_HDRLEN || message->nlmsg_len < NLMSG_HDRLEN || message->nlmsg_len > rest_.size())
      return nullptr;
    rest_ = rest_.subspan(std::min<std::size_t>(MNL_ALIGN(message->nlmsg_len), rest_.size()));
    return message;
  }

 private:
  std::span<const std::byte> rest_;
};

// Behind netlink's own header.
inline std::span<const std::byte> payload_of(const nlmsghdr& message) {
  const auto* start = reinterpret_cast<const std::byte*>(&message);
  if (message.nlmsg_len < NLMSG_HDRLEN) return {};
  return {start + NLMSG_HDRLEN, message.nlmsg_len - NLMSG_HDRLEN};
}

// The family's header, right after netlink's own.
template <class Header>
std::optional<Header> header_of(const nlmsghdr& message) {
  const auto payload = payload_of(message);
  Header header;
  if (payload.size() < sizeof(header)) return std::nullopt;
  std::memcpy(&header, payload.data(), sizeof(header));
  return header;
}

inline std::span<const std::byte> value_of(const nlattr* attribute) {
  const auto* start = reinterpret_cast<const std::byte*>(attribute);
  return {start + NLA_HDRLEN, static_cast<std::size_t>(attribute->nla_len) - NLA_HDRLEN};
}

// Of exactly this size.
template <class Value>
std::optional<Value> value_as(const nlattr* attribute) {
  const auto bytes = value_of(attribute);
  Value value;
  if (bytes.size() != sizeof(value)) return std::nullopt;
  std::memcpy(&value, bytes.data(), sizeof(value));
  return value;
}

// Up to its NUL, or its end.
inline std::string_view text_of(const nlattr* attribute) {
  const auto value = value_of(attribute);
  const auto* text = reinterpret_cast<const char*>(value.data());
  return {text, static_cast<std::size_t>(std::find(text, text + value.size(), '\0') - text)};
}

// Shows each attribute, visit(const nlattr*): all of it is inside the span.
template <class Visit>
void for_each_attribute(std::span<const std::byte> attributes, Visit&& visit) {
  while (attributes.size() >= sizeof(nlattr)) {
    const auto* attribute = reinterpret_cast<const nlattr*>(attributes.data());
    if (attribute->nla_len < NLA_HDRLEN || attribute->nla_len > attributes.size()) return;
    visit(attribute);
    attributes = attributes.subspan(std::min<std::size_t>(NLA_ALIGN(attribute->nla_len), attributes.size()));
  }
}

template <class Visit>
void for_each_attribute(const nlmsghdr& message, std::size_t header_size, Visit&& visit) {
  const auto payload = payload_of(message);
  const std::size_t offset = MNL_ALIGN(header_size);
  if (payload.size() > offset) for_each_attribute(payload.subspan(offset), visit);
}

template <class Visit>
void for_each_nested(const nlattr* nest, Visit&& visit) {
  for_each_attribute(value_of(nest), visit);
}

}  // namespace mstack::net
