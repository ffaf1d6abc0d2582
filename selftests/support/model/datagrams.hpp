// SPDX-License-Identifier: BSD-2-Clause
// What is remembered of datagrams that come in fragments.
#pragma once

#include <chrono>
#include <map>

#include "packet.hpp"

namespace model {

// What the first fragment of a datagram said, and under whose claim it went.
struct First {
  Tuple source;
  Tuple destination;
  std::size_t length = 0;
  std::uint32_t vport = 0;
  std::uint64_t cookie = 0;
  std::uint8_t hop_limit = 0;
  std::uint32_t traffic = 0;
};

// The table of a program is bounded: somebody else's first may push one out, and time does. So one of which that may be
// true is in doubt: the program may go without it, and only it knows.
class Datagrams {
 public:
  using Time = std::chrono::steady_clock::time_point;
  struct Found {
    First first;
    bool in_doubt = false;
  };

  std::optional<Found> find(const Datagram& datagram, Time now) const {
    const auto found = entries_.find(datagram);
    if (found == entries_.end() || now > found->second.since + lifetime + margin) return std::nullopt;
    const Entry& entry = found->second;
    return Found{.first = entry.first, .in_doubt = entry.number != newest_ || now > entry.since + lifetime - margin};
  }
  void remember(const Datagram& datagram, const First& first, Time now) {
    entries_[datagram] = {.first = first, .since = now, .number = ++newest_};
  }
  void forget(const Datagram& datagram) { entries_.erase(datagram); }
  void clear() { entries_.clear(); }
  std::size_t size() const { return entries_.size(); }

 private:
  static constexpr std::chrono::seconds lifetime{30};
  static constexpr std::chrono::seconds margin{1};

  struct Entry {
    First first;
    Time since;
    std::uint64_t number = 0;
  };
  std::map<Datagram, Entry> entries_;
  std::uint64_t newest_ = 0;
};

struct Memory {
  Datagrams received;                       // by uplinks
  Datagrams looped;                         // by the loopback device
  std::map<std::uint32_t, Datagrams> sent;  // by vport: none pushes another's out
  Datagrams::Time now;
};

}  // namespace model
