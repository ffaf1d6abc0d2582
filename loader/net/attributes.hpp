// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <libmnl/libmnl.h>

#include <cstddef>

namespace mstack::net {

// Shows each attribute, visit(const nlattr*). In place of libmnl's macros, which are C alone until 1.0.5.
template <class Visit>
void for_each_attribute(const void* first, const void* end, Visit&& visit) {
  const auto left = [end](const nlattr* at) {
    return static_cast<int>(static_cast<const std::byte*>(end) - reinterpret_cast<const std::byte*>(at));
  };
  for (auto* at = static_cast<const nlattr*>(first); mnl_attr_ok(at, left(at)); at = mnl_attr_next(at)) visit(at);
}

template <class Visit>
void for_each_attribute(const nlmsghdr& message, std::size_t header_size, Visit&& visit) {
  for_each_attribute(mnl_nlmsg_get_payload_offset(&message, header_size), mnl_nlmsg_get_payload_tail(&message), visit);
}

template <class Visit>
void for_each_nested(const nlattr* nest, Visit&& visit) {
  const auto* first = static_cast<const std::byte*>(mnl_attr_get_payload(nest));
  for_each_attribute(first, first + mnl_attr_get_payload_len(nest), visit);
}

}  // namespace mstack::net
