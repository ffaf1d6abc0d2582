// SPDX-License-Identifier: BSD-2-Clause
//
// lwIP keeps its connections on one list, and looks for a packet's from the front. With many busy connections each is
// found near the end, since those used last are in front. This finds it by a hash, and moves it to the front of the
// list before lwIP looks; lwIP's list is a list of lwIP's at all times, whoever adds to it or removes from it.
//
// It also lets a client open a connection again that is in TIME_WAIT here (RFC 9293, 3.6.1, as Linux does): lwIP would
// refuse it for as long as that lasts, and the clients of a server that closes first use their ports again at once. And
// no other opening segment walks the list of all those in TIME_WAIT.
#pragma once

#include <lwip/pbuf.h>
#include <lwip/tcp.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "half_open.hpp"

namespace mstack_lwip {

class PcbIndex {
 public:
  PcbIndex();

  // Around an input of that packet, which begins with its IP header.
  class Input {
   public:
    Input(PcbIndex& index, const pbuf& packet) : index_(index) { index.prepare(packet); }
    Input(Input&&) = delete;
    ~Input() { index_.end(); }

   private:
    PcbIndex& index_;
  };

  // The number of a connection's place.
  [[nodiscard]] static std::size_t place_number(const ip_addr_t& remote, std::uint16_t remote_port,
                                                std::uint16_t local_port);

 private:
  // Of at most one connection: where two share a place, the one that came first is left to lwIP's own search.
  struct Place {
    tcp_pcb* pcb = nullptr;     // until lwIP frees it
    Place* previous = nullptr;  // of the one before it on the list, the last time we looked
  };

  void prepare(const pbuf& packet);
  void end();
  void to_front(Place& place);
  void learn();
  void expect_connection();
  void show_time_wait();
  [[nodiscard]] Place* place_of(const tcp_pcb* pcb) const;
  [[nodiscard]] static tcp_pcb* before(const Place& place);

  tcp_pcb* hidden_ = nullptr;  // the list of those in TIME_WAIT, while lwIP has no use for it
  std::uint8_t argument_;      // our number among the extra arguments of a pcb, which point to its place
  std::vector<Place> places_;
  HalfOpen half_open_;
};

}  // namespace mstack_lwip
