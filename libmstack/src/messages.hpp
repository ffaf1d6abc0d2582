// SPDX-License-Identifier: BSD-2-Clause
//
// Checks of what mstackd answers. No system calls: given the bytes and what was asked, the answer is taken or refused.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "mstack/error.hpp"
#include "mstack/tuple.hpp"
#include "protocol.hpp"

namespace mstack::protocol {

template <class Message>
std::span<const std::byte> bytes_of(const Message& message) {
  return std::as_bytes(std::span(&message, 1));
}

// The text up to its NUL; an array without one is refused by check_reply().
std::string_view text_of(const Reply& reply);

// `received` must be an answer to `request`: the full response of `response_size` bytes, or, for a refusal, the bare
// Reply. EPROTONOSUPPORT: another version. EPROTO: anything else that is wrong. A refusal itself is not an error here.
Expected<void> check_reply(std::span<const std::byte> received, const Header& request, std::size_t response_size);

// The numbers of an accepted OpenVport: what the library maps and indexes by.
Expected<void> check_open(const OpenVportReply& reply, const OpenVport& request);

// The count is what was asked about, errors are errno values, and a granted tuple is a TCP or UDP tuple.
Expected<void> check_tuples(const TuplesReply& reply, std::size_t asked);

mstack_tuple to_wire(const Tuple& tuple);
Tuple from_wire(const mstack_tuple& tuple);

}  // namespace mstack::protocol
