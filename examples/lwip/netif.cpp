// SPDX-License-Identifier: BSD-2-Clause
#include "netif.hpp"

#include <lwip/init.h>
#include <lwip/ip4.h>
#include <lwip/ip6.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/timeouts.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <new>
#include <span>

namespace mstack_lwip {
namespace {

constexpr std::size_t ethernet_size = 14, ethernet_type_at = 12;
constexpr std::uint16_t type_ipv4 = 0x0800, type_ipv6 = 0x86dd;
constexpr u16_t least_ipv6_mtu = 1280;  // of any link: RFC 8200
constexpr std::size_t batch = 64;

std::uint16_t ethernet_type(std::span<const std::uint8_t> frame) {
  return static_cast<std::uint16_t>(frame[ethernet_type_at] << 8 | frame[ethernet_type_at + 1]);
}

}  // namespace

// A received packet as lwIP sees it. It lies in the headroom of the frame that it is about.
struct Netif::FramePbuf {
  pbuf_custom custom;  // first: lwIP passes a pointer to it
  Netif* owner;
  mstack::Frame frame;
};

Netif::Netif(mstack::Queue& queue) : queue_(queue), most_kept_(queue.frames() / 4) {
  static std::once_flag once;
  std::call_once(once, [] { lwip_init(); });
  // A mask of all ones: no address is a broadcast address of this interface, and every other is behind the gateway.
  const ip4_addr_t none = {IPADDR_ANY}, host = {IPADDR_BROADCAST};
  netif_add(&interface_, &none, &host, &none, this, &Netif::initialise, &ip_input);
  interface_.mtu6 = std::min(interface_.mtu, least_ipv6_mtu);  // which netif_add() makes the same
  netif_set_default(&interface_);
  netif_set_link_up(&interface_);
  netif_set_up(&interface_);
}

Netif::~Netif() {
  netif_remove(&interface_);
}

err_t Netif::initialise(netif* interface) {
  const Netif& self = *static_cast<Netif*>(interface->state);
  interface->name[0] = 'm';
  interface->name[1] = 's';
  interface->mtu = static_cast<u16_t>(std::min<std::size_t>(self.queue_.mtu(), UINT16_MAX));
  interface->hwaddr_len = static_cast<u8_t>(self.queue_.mac().size());
  std::ranges::copy(self.queue_.mac(), interface->hwaddr);
  interface->output = [](netif* to, pbuf* packet, const ip4_addr_t*) { return output(to, packet, type_ipv4); };
  interface->output_ip6 = [](netif* to, pbuf* packet, const ip6_addr_t*) { return output(to, packet, type_ipv6); };
  return ERR_OK;
}

void Netif::connects_from(const mstack::Address& address) {
  be_address(to_lwip(address));
}

mstack::Expected<void> Netif::run_once(std::chrono::milliseconds most) {
  const std::chrono::milliseconds timer(std::min<std::uint32_t>(sys_timeouts_sleeptime(), INT32_MAX));
  if (const auto ready = queue_.wait(std::min(most, timer)); !ready) return std::unexpected(ready.error());
  sys_check_timeouts();
  queue_.receive(batch, [this](mstack::Frame frame) { receive(frame); });
  return flush();
}

mstack::Expected<void> Netif::flush() {
  // Segments that found no room go out before anything new does; each turn makes room for a ring full of them, and
  // ends when the kernel takes no more: then the next call goes on.
  for (;;) {
    const auto unsent = queue_.flush();
    if (!unsent) return std::unexpected(unsent.error());
    if (!waits_for_room_ || *unsent != 0) return {};
    waits_for_room_ = false;
    tcp_txnow();
  }
}

mstack::Expected<void> Netif::drain(std::chrono::milliseconds most) {
  if (auto flushed = flush(); !flushed) return flushed;
  if (const auto left = queue_.drain(most); !left) return std::unexpected(left.error());
  return {};
}

void Netif::receive(mstack::Frame frame) {
  if (frame.size() <= ethernet_size) {
    ++counters_.not_ip;
    return;
  }
  const std::uint16_t type = ethernet_type(frame.bytes());
  if (type != type_ipv4 && type != type_ipv6) {
    ++counters_.not_ip;
    return;
  }
  pbuf* packet = kept_ < most_kept_ ? wrap(frame) : copy(frame);
  if (packet == nullptr) {
    ++counters_.no_memory;
    return;
  }
  ++counters_.received;
  be_destination(packet);
  const PcbIndex::Input input(pcbs_, *packet);
  ip_input(packet, &interface_);  // which frees the packet, now or later
}

pbuf* Netif::wrap(mstack::Frame frame) {
  static_assert(alignof(FramePbuf) <= 64 && sizeof(FramePbuf) <= mstack::detail::frame_headroom);
  if (frame.headroom() < sizeof(FramePbuf) || !queue_.keep(frame)) return copy(frame);
  auto* wrapped = new (frame.data() - frame.headroom()) FramePbuf{.custom = {}, .owner = this, .frame = frame};
  wrapped->custom.custom_free_function = &Netif::free_pbuf;
  ++kept_;
  const auto size = static_cast<u16_t>(frame.size() - ethernet_size);
  return pbuf_alloced_custom(PBUF_RAW, size, PBUF_REF, &wrapped->custom, frame.data() + ethernet_size, size);
}

pbuf* Netif::copy(mstack::Frame frame) {
  const std::span<const std::uint8_t> packet = frame.bytes().subspan(ethernet_size);
  pbuf* copied = pbuf_alloc(PBUF_RAW, static_cast<u16_t>(packet.size()), PBUF_RAM);
  if (copied == nullptr) return nullptr;
  std::memcpy(copied->payload, packet.data(), packet.size());
  ++counters_.copied;
  return copied;
}

void Netif::free_pbuf(pbuf* packet) {
  // By value: the frame may be received into as soon as it is given back.
  const FramePbuf wrapped = *reinterpret_cast<FramePbuf*>(packet);
  --wrapped.owner->kept_;
  wrapped.owner->queue_.give_back(wrapped.frame);
}

// lwIP takes what is for the netif's address. That is whatever this packet is for: it would not be here otherwise.
void Netif::be_destination(const pbuf* packet) {
  const auto* bytes = static_cast<const std::uint8_t*>(packet->payload);
  ip_addr_t destination = {};
  if (bytes[0] >> 4 == 4) {
    if (packet->len < IP_HLEN) return;
    std::memcpy(&ip_2_ip4(&destination)->addr, bytes + offsetof(ip_hdr, dest), 4);
  } else {
    if (packet->len < IP6_HLEN) return;
    IP_SET_TYPE(&destination, IPADDR_TYPE_V6);
    std::memcpy(ip_2_ip6(&destination)->addr, bytes + offsetof(ip6_hdr, dest), 16);
  }
  be_address(destination);
}

// Assigned without netif_set_addr(), which would abort the connections of the address before.
void Netif::be_address(const ip_addr_t& address) {
  if (IP_IS_V4_VAL(address)) {
    interface_.ip_addr = address;
  } else {
    interface_.ip6_addr[0] = address;
    interface_.ip6_addr_state[0] = IP6_ADDR_PREFERRED;
  }
}

err_t Netif::output(netif* interface, pbuf* packet, std::uint16_t type) {
  return static_cast<Netif*>(interface->state)->send(packet, type);
}

err_t Netif::send(const pbuf* packet, std::uint16_t type) {
  auto frame = queue_.allocate();
  if (!frame) {
    ++counters_.no_room;
    waits_for_room_ = true;
    return ERR_MEM;  // lwIP keeps the segment
  }
  if (!frame->resize(ethernet_size + packet->tot_len)) {
    queue_.give_back(*frame);
    return ERR_BUF;
  }
  std::uint8_t* at = std::ranges::copy(queue_.gateway_mac(), frame->data()).out;
  at = std::ranges::copy(queue_.mac(), at).out;
  *at++ = static_cast<std::uint8_t>(type >> 8);
  *at++ = static_cast<std::uint8_t>(type);
  for (const pbuf* part = packet; part != nullptr; part = part->next) {
    std::memcpy(at, part->payload, part->len);
    at += part->len;
    if (part->len == part->tot_len) break;  // the end of this packet; a queue of packets may go on
  }
  if (!queue_.transmit(*frame)) {
    queue_.give_back(*frame);
    ++counters_.no_room;
    waits_for_room_ = true;
    return ERR_MEM;
  }
  ++counters_.sent;
  return ERR_OK;
}

ip_addr_t to_lwip(const mstack::Address& address) {
  ip_addr_t out = {};
  if (address.is_ipv4()) {
    ip_2_ip4(&out)->addr = lwip_htonl(address.ipv4());
  } else {
    IP_SET_TYPE(&out, IPADDR_TYPE_V6);
    std::memcpy(ip_2_ip6(&out)->addr, address.bytes.data(), 16);
  }
  return out;
}

}  // namespace mstack_lwip
