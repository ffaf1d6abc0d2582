// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/claims.hpp"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "daemon/log.hpp"
#include "messages.hpp"

namespace mstack::daemon {
namespace {

template <class Value>
Expected<Value> get_option(int socket, int option) {
  Value value = {};
  socklen_t size = sizeof(value);
  if (::getsockopt(socket, SOL_SOCKET, option, &value, &size) < 0) return system_failure(errno, "getsockopt");
  return value;
}

// No fstat() to see what a descriptor is: of a file on a FUSE mount, that would wait for its owner's answer. And no
// getsockname(), and no option of another level than SOL_SOCKET: they wait, some protocols' all of them, for the
// socket's lock, which the holder can keep. What the socket is bound to, the kernel has written down in `sockets`.
Expected<SocketFacts> read_facts(int socket, int sockets_map) {
  const auto domain = get_option<int>(socket, SO_DOMAIN);
  if (!domain) {
    if (domain.error().code == ENOTSOCK || domain.error().code == EBADF)
      return failure(ENOTSOCK, "the descriptor is not a socket: pass one that is bound to the address and port");
    return system_failure(domain.error().code, "cannot look at the descriptor");
  }
  const auto type = get_option<int>(socket, SO_TYPE);
  const auto protocol = get_option<int>(socket, SO_PROTOCOL);
  const auto listening = get_option<int>(socket, SO_ACCEPTCONN);
  const auto cookie = get_option<std::uint64_t>(socket, SO_COOKIE);
  const auto netns_cookie = get_option<std::uint64_t>(socket, SO_NETNS_COOKIE);
  if (!type || !protocol || !listening || !cookie || !netns_cookie)
    return failure(ESOCKTNOSUPPORT, "only TCP, UDP, UDP-Lite and DCCP sockets can own a claim: pass one of those");

  SocketFacts facts = {.domain = *domain,
                       .type = *type,
                       .protocol = *protocol,
                       .listening = *listening != 0,
                       .cookie = *cookie,
                       .netns_cookie = *netns_cookie,
                       .record = std::nullopt};
  mstack_socket record;
  if (::bpf_map_lookup_elem(sockets_map, &socket, &record) == 0)
    facts.record = record;
  else if (errno != ENOENT)
    return system_failure(errno, "cannot read the socket's record");
  return facts;
}

}  // namespace

// A descriptor on its way to be an owner.
struct Claims::Candidate {
  int socket;
  Outcome* outcome;
  SocketFacts facts = {};
  Tuples tuples = {};
  std::array<bool, 2> inserted = {};  // which of the tuples
  mstack_claim claim = {};

  [[nodiscard]] std::uint16_t port() const { return ntohs(tuples.tuple[0].port); }
  void refuse(const Error& error) const {
    outcome->error = error.code;
    outcome->text = error.what;
  }
};

std::vector<Claims::Outcome> Claims::claim(const Claimant& claimant, std::span<const Fd> owners) {
  std::vector<Outcome> outcomes(owners.size());
  std::vector<Candidate> wildcards;
  std::uint32_t left = claimant.claims_left;
  // The news of an address that came a moment ago may still be unread: ask once before refusing.
  bool asked = false;
  const LookUp look_up = [&](const mstack_address& address) {
    if (const Whose whose = addresses_->whose(address); whose != Whose::nobodys) return whose;
    if (!std::exchange(asked, true))
      if (auto synced = addresses_->sync(); !synced) log::warn("addresses: {}", synced.error().what);
    return addresses_->whose(address);
  };

  for (std::size_t i = 0; i < owners.size(); ++i) {
    Candidate candidate = {.socket = owners[i].get(), .outcome = &outcomes[i]};
    if (auto entered = enter(candidate, claimant, left, look_up); !entered)
      candidate.refuse(entered.error());
    else if (is_wildcard(address_of(candidate.tuples.tuple[0])))
      wildcards.push_back(candidate);
    else if (auto confirmed = confirm(candidate); !confirmed)
      refuse(candidate, confirmed.error());
  }
  confirm_wildcards(wildcards);
  if (asked) follow_addresses();
  return outcomes;
}

void Claims::follow_addresses() {
  if (std::exchange(followed_, addresses_->changes()) == addresses_->changes()) return;
  struct Change {
    mstack_tuple tuple;
    mstack_claim claim;
    mstack_claim_state state;
  };
  std::vector<Change> changes;
  auto seen = store_->for_each([&](const mstack_tuple& tuple, const mstack_claim& claim) {
    const mstack_address address = address_of(tuple);
    if (is_wildcard(address) || is_group(address)) return;
    const bool is_there = addresses_->whose(address) != Whose::nobodys;
    const auto state = is_there ? MSTACK_CLAIM_ACTIVE : MSTACK_CLAIM_SUSPENDED;
    if (claim.state != state) changes.push_back({.tuple = tuple, .claim = claim, .state = state});
  });
  if (!seen) log::warn("claims: {}", seen.error().what);
  for (const Change& change : changes) {
    // Its owner may close it meanwhile. None can have come in its place: that is done by this thread alone.
    auto set = store_->set_state(change.tuple, change.claim, change.state);
    if (!set && set.error().code != ENOENT) log::warn("claims: {}", set.error().what);
    log::debug("vport {}: {} {}", change.claim.vport, protocol::from_wire(change.tuple).to_string(),
               change.state == MSTACK_CLAIM_ACTIVE ? "is claimed again" : "is suspended until its address is back");
  }
}

// First look, quota, PENDING.
Expected<void> Claims::enter(Candidate& candidate, const Claimant& claimant, std::uint32_t& left,
                             const LookUp& look_up) {
  auto facts = read_facts(candidate.socket, datapath_->map("sockets"));
  if (!facts) return std::unexpected(facts.error());
  candidate.facts = std::move(*facts);
  if (candidate.facts.record) candidate.outcome->tuple = candidate.facts.record->tuple;
  auto tuples = first_look(candidate.facts, datapath_->netns_cookie(), look_up);
  if (!tuples) return std::unexpected(tuples.error());
  candidate.tuples = *tuples;

  if (auto inserted = insert(candidate, claimant, left); !inserted) return inserted;
  left -= static_cast<std::uint32_t>(std::ranges::count(candidate.inserted, true));
  return {};
}

Expected<void> Claims::insert(Candidate& candidate, const Claimant& claimant, std::uint32_t left) {
  candidate.claim = {.cookie = candidate.facts.cookie,
                     .vport = claimant.vport,
                     .uid = candidate.facts.record->uid,
                     .slot = static_cast<__u16>(claimant.slot),
                     .queues = static_cast<__u16>(claimant.queues),
                     .state = MSTACK_CLAIM_PENDING};
  for (std::size_t i = 0; i < candidate.tuples.count; ++i) {
    const mstack_tuple& tuple = candidate.tuples.tuple[i];
    if (claimant.repeated && is_claimed(tuple, candidate.claim)) continue;
    if (left == 0) {
      withdraw(candidate);
      return failure(EDQUOT,
                     fmt::format("the limit of {} claims of one user is reached: release some, or raise mstackd's "
                                 "--max-claims",
                                 claimant.max_claims));
    }
    auto inserted = store_->insert(tuple, candidate.claim);
    if (inserted) {
      candidate.inserted[i] = true;
      --left;
      continue;
    }
    withdraw(candidate);
    switch (inserted.error().code) {
      case EEXIST: return failure(EADDRINUSE, "the address and port are claimed already: release that claim first");
      case E2BIG:
        return failure(ENOSPC, fmt::format("there are as many claims as there can be ({}): start mstackd anew with a "
                                           "higher --claims",
                                           datapath_->max_claims()));
      default: return inserted;
    }
  }
  return {};
}

// Second look, ACTIVE.
Expected<void> Claims::confirm(const Candidate& candidate) {
  const auto now = read_facts(candidate.socket, datapath_->map("sockets"));
  if (!now) return std::unexpected(now.error());
  if (auto unchanged = second_look(candidate.facts, *now); !unchanged) return unchanged;
  for (const mstack_tuple& tuple : candidate.tuples.all()) {
    auto activated = store_->set_state(tuple, candidate.claim, MSTACK_CLAIM_ACTIVE);
    if (activated) continue;
    // BPF deleted it, and has counted it down: the owner was bound anew just now.
    if (activated.error().code == ENOENT)
      return failure(ECONNABORTED, "the socket was bound anew while it was claimed: claim it again");
    return activated;
  }
  return {};
}

// The look around, which walks all of the kernel's sockets of a protocol, is one for all wildcards of a message.
void Claims::confirm_wildcards(std::span<Candidate> candidates) {
  for (const std::uint8_t protocol : {std::uint8_t{IPPROTO_UDP}, std::uint8_t{IPPROTO_TCP}}) {
    std::vector<std::uint16_t> ports;
    for (const Candidate& candidate : candidates)
      if (candidate.facts.protocol == protocol) ports.push_back(candidate.port());
    if (ports.empty()) continue;
    std::ranges::sort(ports);
    ports.erase(std::ranges::unique(ports).begin(), ports.end());

    const auto holders = net::holders(protocol, ports);
    for (Candidate& candidate : candidates) {
      if (candidate.facts.protocol != protocol) continue;
      if (!holders) {
        refuse(candidate, holders.error());
        continue;
      }
      // They come in the order of their ports.
      const auto port_of = [](const net::Holder& holder) { return ntohs(holder.tuple.port); };
      const auto same_port = std::ranges::equal_range(*holders, candidate.port(), std::ranges::less{}, port_of);
      auto confirmed = look_around(candidate.facts, std::span(same_port.begin(), same_port.end()), bound_tcp_is_seen_);
      if (confirmed) confirmed = confirm(candidate);
      if (!confirmed) refuse(candidate, confirmed.error());
    }
  }
}

void Claims::refuse(Candidate& candidate, const Error& error) {
  candidate.refuse(error);
  withdraw(candidate);
}

// Nothing half-made stays: of a dual-stack :: neither the one nor the other.
void Claims::withdraw(Candidate& candidate) {
  for (std::size_t i = 0; i < candidate.tuples.count; ++i) {
    if (!std::exchange(candidate.inserted[i], false)) continue;
    if (auto erased = store_->erase(candidate.tuples.tuple[i], candidate.claim); !erased)
      log::error("cannot withdraw a claim: {}", erased.error().what);
  }
}

// For the same owner and by the same vport.
bool Claims::is_claimed(const mstack_tuple& tuple, const mstack_claim& claim) const {
  const auto found = store_->find(tuple);
  return found && *found && (*found)->vport == claim.vport && (*found)->cookie == claim.cookie;
}

std::vector<Claims::Outcome> Claims::release(std::uint32_t vport, std::span<const mstack_tuple> tuples) {
  std::vector<Outcome> outcomes;
  outcomes.reserve(tuples.size());
  for (const mstack_tuple& tuple : tuples) {
    Outcome& outcome = outcomes.emplace_back(Outcome{.tuple = tuple, .error = 0, .text = {}});
    const auto claim = store_->find(tuple);
    if (!claim) {
      outcome.error = claim.error().code;
      outcome.text = claim.error().what;
      continue;
    }
    // Another's claim is not told from none: who has what is nobody else's business.
    if (!*claim || (*claim)->vport != vport) {
      outcome.error = ENOENT;
      outcome.text = "this vport has no such claim: it may have been released with its socket";
      continue;
    }
    (void)store_->erase(tuple, **claim);
    if (!is_any_ipv6(address_of(tuple))) continue;
    const mstack_tuple twin = ipv4_wildcard(tuple);
    const auto twin_claim = store_->find(twin);
    if (twin_claim && *twin_claim && (*twin_claim)->vport == vport && (*twin_claim)->cookie == (*claim)->cookie)
      (void)store_->erase(twin, **twin_claim);
  }
  return outcomes;
}

}  // namespace mstack::daemon
