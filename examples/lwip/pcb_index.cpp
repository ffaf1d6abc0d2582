// SPDX-License-Identifier: BSD-2-Clause
#include "pcb_index.hpp"

#include <lwip/memp.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/prot/ip4.h>
#include <lwip/prot/ip6.h>

#include <cstring>
#include <optional>
#include <utility>

namespace mstack_lwip {
namespace {

constexpr std::size_t places = 32768;  // a power of two, several times MEMP_NUM_TCP_PCB
static_assert(places >= std::size_t{4} * MEMP_NUM_TCP_PCB);

struct Key {
  ip_addr_t local, remote;
  std::uint16_t local_port, remote_port;
  std::uint8_t flags;
  std::uint32_t sequence;
};

std::uint16_t get16(const std::uint8_t* bytes) {
  return static_cast<std::uint16_t>(bytes[0] << 8 | bytes[1]);
}

// Nothing where a packet is no plain TCP: lwIP finds out what it is.
std::optional<Key> key_of(const pbuf& packet) {
  const auto* bytes = static_cast<const std::uint8_t*>(packet.payload);
  const bool ipv6 = bytes[0] >> 4 == 6;
  const std::size_t header = ipv6 ? IP6_HLEN : (bytes[0] & 0xfU) * 4;
  if (header < IP_HLEN || packet.len < header + TCP_HLEN || bytes[ipv6 ? 6 : 9] != IP_PROTO_TCP) return std::nullopt;
  Key key = {};
  if (ipv6) {
    std::memcpy(ip_2_ip6(&key.remote)->addr, bytes + 8, 16);
    std::memcpy(ip_2_ip6(&key.local)->addr, bytes + 24, 16);
    IP_SET_TYPE(&key.remote, IPADDR_TYPE_V6);
    IP_SET_TYPE(&key.local, IPADDR_TYPE_V6);
  } else {
    std::memcpy(&ip_2_ip4(&key.remote)->addr, bytes + 12, 4);
    std::memcpy(&ip_2_ip4(&key.local)->addr, bytes + 16, 4);
  }
  const std::uint8_t* tcp = bytes + header;
  key.remote_port = get16(tcp);
  key.local_port = get16(tcp + 2);
  key.sequence = std::uint32_t{get16(tcp + 4)} << 16 | get16(tcp + 6);
  key.flags = tcp[13] & TCP_FLAGS;
  return key;
}

bool is_of(const tcp_pcb& pcb, const Key& key) {
  return pcb.remote_port == key.remote_port && pcb.local_port == key.local_port &&
         ip_addr_cmp(&pcb.remote_ip, &key.remote) && ip_addr_cmp(&pcb.local_ip, &key.local);
}

// Whether the segment opens the connection anew: beyond all that the old one may still have under way.
bool may_replace(const tcp_pcb& pcb, const Key& key) {
  return pcb.state == TIME_WAIT && key.flags == TCP_SYN && TCP_SEQ_GT(key.sequence, pcb.rcv_nxt);
}

}  // namespace

// It needs no secret: whoever makes connections share a place only makes them as slow as all are without this.
std::size_t PcbIndex::place_number(const ip_addr_t& remote, std::uint16_t remote_port, std::uint16_t local_port) {
  std::uint64_t sum = std::uint64_t{remote_port} << 16 | local_port;
  if (IP_IS_V6_VAL(remote)) {
    for (const std::uint32_t word : ip_2_ip6(&remote)->addr) sum = sum * 0x9e3779b97f4a7c15 + word;
  } else {
    sum = sum * 0x9e3779b97f4a7c15 + ip4_addr_get_u32(ip_2_ip4(&remote));
  }
  sum *= 0x9e3779b97f4a7c15;
  return (sum >> 32) & (places - 1);
}

PcbIndex::PcbIndex() : argument_(tcp_ext_arg_alloc_id()), places_(places) {}

PcbIndex::Place* PcbIndex::place_of(const tcp_pcb* pcb) const {
  if (pcb == nullptr) return nullptr;
  auto* place = static_cast<Place*>(tcp_ext_arg_get(pcb, argument_));
  return place != nullptr && place->pcb == pcb ? place : nullptr;
}

tcp_pcb* PcbIndex::before(const Place& place) {
  if (place.previous != nullptr && place.previous->pcb != nullptr && place.previous->pcb->next == place.pcb)
    return place.previous->pcb;
  // One that was between has gone.
  tcp_pcb* at = tcp_active_pcbs;
  while (at != nullptr && at->next != place.pcb) at = at->next;
  return at;
}

void PcbIndex::prepare(const pbuf& packet) {
  const auto key = key_of(packet);
  if (!key) return;
  Place& place = places_[place_number(key->remote, key->remote_port, key->local_port)];
  tcp_pcb* pcb = place.pcb;
  if (pcb != nullptr && !is_of(*pcb, *key)) {
    if (key->flags != TCP_SYN) return;
    // Its place is another's by now.
    for (pcb = tcp_tw_pcbs; pcb != nullptr && !is_of(*pcb, *key);) pcb = pcb->next;
  } else if (pcb != nullptr && pcb->state != TIME_WAIT) {
    to_front(place);
    return;
  }
  if (pcb != nullptr && may_replace(*pcb, *key)) {
    tcp_abort(pcb);  // without a reset, in this state
    pcb = nullptr;
  }
  if (pcb == nullptr && key->flags == TCP_SYN) expect_connection();
}

void PcbIndex::end() {
  show_time_wait();
  learn();
  if (tcp_active_pcbs != nullptr) half_open_.see(tcp_active_pcbs);
}

void PcbIndex::expect_connection() {
  void* const free = memp_malloc(MEMP_TCP_PCB);
  if (free == nullptr) {
    // lwIP takes the oldest in TIME_WAIT for the new connection.
    if (tcp_tw_pcbs == nullptr) half_open_.drop_oldest();
    return;
  }
  memp_free(MEMP_TCP_PCB, free);
  hidden_ = std::exchange(tcp_tw_pcbs, nullptr);
}

void PcbIndex::show_time_wait() {
  if (hidden_ == nullptr) return;
  tcp_pcb** end = &tcp_tw_pcbs;
  while (*end != nullptr) end = &(*end)->next;
  *end = std::exchange(hidden_, nullptr);
}

void PcbIndex::to_front(Place& place) {
  tcp_pcb* const pcb = place.pcb;
  if (pcb == tcp_active_pcbs) return;
  tcp_pcb* const previous = before(place);
  if (previous == nullptr) return;

  tcp_pcb *const next = pcb->next, *const first = tcp_active_pcbs;
  previous->next = next;
  pcb->next = first;
  tcp_active_pcbs = pcb;
  if (Place* of_next = place_of(next)) of_next->previous = place_of(previous);
  if (Place* of_first = place_of(first)) of_first->previous = &place;
  place.previous = nullptr;
}

// Whether lwIP made a connection or found one that we do not know, it is in front now.
void PcbIndex::learn() {
  static const tcp_ext_arg_callbacks callbacks = {.destroy =
                                                      [](u8_t, void* data) {
                                                        // If the place is another's by now, that one is looked for by
                                                        // lwIP once more, and learnt again.
                                                        if (data != nullptr) static_cast<Place*>(data)->pcb = nullptr;
                                                      },
                                                  .passive_open = nullptr};
  tcp_pcb* const pcb = tcp_active_pcbs;
  if (pcb == nullptr || place_of(pcb) != nullptr) return;
  Place& place = places_[place_number(pcb->remote_ip, pcb->remote_port, pcb->local_port)];
  place = {.pcb = pcb, .previous = nullptr};
  tcp_ext_arg_set_callbacks(pcb, argument_, &callbacks);
  tcp_ext_arg_set(pcb, argument_, &place);
  if (Place* of_next = place_of(pcb->next)) of_next->previous = &place;
}

}  // namespace mstack_lwip
