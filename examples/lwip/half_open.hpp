// SPDX-License-Identifier: BSD-2-Clause
//
// SYNs cost whoever sends them nothing, also from addresses that are not his, and each takes a pcb for 20 s if nobody
// goes on. So there is a limit to those connections, and the oldest makes room for a new one, as in BSD's SYN cache
// (Lemon, "Resisting SYN flood DoS attacks with a SYN cache", 2002). lwIP would refuse the new one instead.
#pragma once

#include <lwip/tcp.h>

#include <cstddef>
#include <cstdint>
#include <list>

namespace mstack_lwip {

class HalfOpen {
 public:
  static constexpr std::size_t most = MEMP_NUM_TCP_PCB / 4;

  HalfOpen() : argument_(tcp_ext_arg_alloc_id()) {}
  HalfOpen(HalfOpen&&) = delete;

  // To be called, outside of lwIP, for each connection that an input has made or changed.
  void see(tcp_pcb* pcb);
  // Frees the pcb of the oldest, if there is one.
  void drop_oldest();

 private:
  struct Entry {
    tcp_pcb* pcb;
    std::list<Entry>* entries;
    std::list<Entry>::iterator self;
  };
  static void forget(Entry* entry);

  std::uint8_t argument_;  // our number among the extra arguments of a pcb, which point to its entry
  std::list<Entry> entries_;
};

}  // namespace mstack_lwip
