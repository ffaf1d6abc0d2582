// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/local_addresses.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "daemon/log.hpp"

namespace mstack::daemon {

LocalAddresses::Key LocalAddresses::key_of(const mstack_address& address) {
  Key key;
  static_assert(sizeof(key) == sizeof(address));
  std::memcpy(key.data(), &address, sizeof(key));
  return key;
}

mstack_address LocalAddresses::address_of(const Key& key) {
  mstack_address address;
  std::memcpy(&address, key.data(), sizeof(address));
  return address;
}

Expected<void> LocalAddresses::take_over() {
  auto taken = map_.for_each([this](const mstack_address& address, const mstack_local& where) {
    addresses_.insert_or_assign(key_of(address), where);
  });
  if (taken) correct_gate();
  return taken;
}

// An mstackd that was killed between an address and its gate has left it counted once too often.
void LocalAddresses::correct_gate() const {
  std::map<std::uint32_t, std::uint32_t> counts;
  for (const auto& [key, where] : addresses_) ++counts[mstack_address_gate_index(key.data())];
  for (std::uint32_t index = 0; index < 1u << MSTACK_ADDRESS_GATE_BITS; ++index)
    gate_->store(index, counts.contains(index) ? counts[index] : 0);
}

Whose LocalAddresses::whose(const mstack_address& address) const {
  const auto found = addresses_.find(key_of(address));
  if (found == addresses_.end()) return Whose::nobodys;
  return found->second.broadcast ? Whose::subnets : Whose::hosts;
}

bool LocalAddresses::is_outdated_by(const net::RouteEvent& link) const {
  return std::ranges::any_of(addresses_, [&link](const auto& entry) {
    return entry.second.ifindex == link.ifindex && !std::ranges::equal(entry.second.mac, link.mac);
  });
}

Expected<void> LocalAddresses::sync() {
  const auto current = net::local_addresses(*links_);
  if (!current) return std::unexpected(current.error());
  Entries wanted;
  for (const net::LocalAddress& local : *current) wanted.emplace(key_of(local.address), local.where);

  auto added = add(wanted);
  if (!added) return std::unexpected(added.error());
  for (auto entry = addresses_.begin(); entry != addresses_.end();) {
    if (wanted.contains(entry->first)) {
      ++entry;
      continue;
    }
    if (auto erased = map_.erase(address_of(entry->first)); !erased) return std::unexpected(erased.error());
    gate_->add(mstack_address_gate_index(entry->first.data()), -1);
    entry = addresses_.erase(entry);
    ++changes_;
  }
  if (!*added) added = add(wanted);  // there may be room by now
  if (!added) return std::unexpected(added.error());
  if (!*added) log::warn("this host has more than {} addresses: the rest cannot be claimed", MSTACK_MAX_ADDRS);
  return {};
}

Expected<bool> LocalAddresses::add(const Entries& wanted) {
  // What room there is is first for addresses that the host has.
  for (const bool broadcast : {false, true})
    for (const auto& [key, where] : wanted) {
      if ((where.broadcast != 0) != broadcast) continue;
      if (auto added = add(key, where); !added || !*added) return added;
    }
  return true;
}

// The gate is open before the address is there, and closed after it has gone.
Expected<bool> LocalAddresses::add(const Key& key, const mstack_local& where) {
  const auto known = addresses_.find(key);
  if (known != addresses_.end() && std::memcmp(&known->second, &where, sizeof(where)) == 0) return true;
  const std::uint32_t index = mstack_address_gate_index(key.data());
  const bool is_new = known == addresses_.end();
  if (is_new) gate_->add(index, 1);
  const auto added = map_.set(address_of(key), where);
  if (!added && is_new) gate_->add(index, -1);
  if (!added && added.error().code == E2BIG) return false;
  if (!added) return std::unexpected(added.error());
  addresses_.insert_or_assign(key, where);
  ++changes_;
  return true;
}

}  // namespace mstack::daemon
