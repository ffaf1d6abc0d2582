// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/local_addresses.hpp"

#include <cerrno>
#include <cstring>
#include <vector>

#include "daemon/log.hpp"
#include "net/addresses.hpp"

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
  return map_.for_each([this](const mstack_address& address, std::uint32_t) { addresses_.insert(key_of(address)); });
}

Expected<void> LocalAddresses::sync() {
  const auto current = net::local_addresses();
  if (!current) return std::unexpected(current.error());
  std::set<Key> wanted;
  for (const mstack_address& address : *current) wanted.insert(key_of(address));

  auto added = add(wanted);
  if (!added) return std::unexpected(added.error());
  for (auto entry = addresses_.begin(); entry != addresses_.end();) {
    if (wanted.contains(*entry)) {
      ++entry;
      continue;
    }
    if (auto erased = map_.erase(address_of(*entry)); !erased) return std::unexpected(erased.error());
    entry = addresses_.erase(entry);
    ++changes_;
  }
  if (!*added) added = add(wanted);  // there may be room by now
  if (!added) return std::unexpected(added.error());
  if (!*added) log::warn("this host has more than {} addresses: the rest cannot be claimed", MSTACK_MAX_ADDRS);
  return {};
}

Expected<bool> LocalAddresses::add(const std::set<Key>& wanted) {
  for (const Key& key : wanted) {
    if (addresses_.contains(key)) continue;
    const auto added = map_.set(address_of(key), 1);
    if (!added && added.error().code == E2BIG) return false;
    if (!added) return std::unexpected(added.error());
    addresses_.insert(key);
    ++changes_;
  }
  return true;
}

}  // namespace mstack::daemon
