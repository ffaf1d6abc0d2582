// SPDX-License-Identifier: BSD-2-Clause
// What a stack asks about others' link-layer addresses, and the host end's answer.
#pragma once

#include <expected>

#include "packet.hpp"
#include "state.hpp"

namespace model {

// The whole frame of the answer. Reason::malformed: it is no message at all; Reason::protocol: no question about
// another.
std::expected<Bytes, Reason> answer_arp(View frame, std::uint32_t slot);
std::expected<Bytes, Reason> answer_icmp6(const Network& network, std::uint32_t slot);

}  // namespace model
