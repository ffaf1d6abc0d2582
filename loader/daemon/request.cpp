// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/request.hpp"

#include <cstring>
#include <optional>

namespace mstack::daemon {
namespace {

std::optional<std::size_t> count_within_limit(std::uint32_t count) {
  if (count < 1 || count > protocol::max_descriptors) return std::nullopt;
  return count;
}

// How many descriptors must come with a request; nullopt: its own numbers contradict each other.
std::optional<std::size_t> descriptors_of(protocol::Type type, std::span<const std::byte> message) {
  switch (type) {
    case protocol::Type::resume_vport: return 1;
    case protocol::Type::claim: {
      protocol::Claim claim;
      std::memcpy(&claim, message.data(), sizeof(claim));
      return count_within_limit(claim.count);
    }
    case protocol::Type::release: {
      std::uint32_t count;
      std::memcpy(&count, message.data() + offsetof(protocol::Release, count), sizeof(count));
      if (!count_within_limit(count)) return std::nullopt;
      return 0;
    }
    case protocol::Type::open_vport:
    case protocol::Type::bind_vport:
    case protocol::Type::attach_uplink:
    case protocol::Type::detach_uplink: return 0;
  }
  return std::nullopt;
}

}  // namespace

const char* fault_of(std::span<const std::byte> message, std::size_t descriptors) {
  protocol::Header header;
  if (message.size() < sizeof(header)) return "a message without a header";
  std::memcpy(&header, message.data(), sizeof(header));
  if (header.version != protocol::version) return "another version of the protocol";
  const std::size_t size = protocol::request_size(header.type);
  if (size == 0) return "an unknown type of message";
  if (message.size() != size || header.zero != 0) return "a malformed message";
  const auto expected = descriptors_of(header.type, message);
  if (!expected || descriptors != *expected) return "a wrong number of descriptors or tuples";
  return nullptr;
}

}  // namespace mstack::daemon
