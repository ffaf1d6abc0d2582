// SPDX-License-Identifier: BSD-2-Clause
//
// lwIP over a vport queue: what a program needs to put lwIP's TCP and UDP beside the kernel's, on the same address.
//
//   auto vport = mstack::Vport::open();
//   auto claim = vport->claim(mstack::tcp("192.0.2.1", 80));
//   mstack_lwip::Netif netif(vport->queue(0));
//   tcp_pcb* listener = tcp_listen(...);                    // lwIP's raw API, from here on
//   while (auto ran = netif.run_once(500ms)) ...;
//
// lwIP has global state and no locks: one Netif a process, used by one thread. A stack on several cores is several
// processes, see Workers.
#pragma once

#include <lwip/netif.h>
#include <lwip/pbuf.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mstack/mstack.hpp>

#include "pcb_index.hpp"

namespace mstack_lwip {

struct NetifCounters {
  std::uint64_t received = 0;   // packets given to lwIP
  std::uint64_t copied = 0;     // of them: copied, since too many frames were kept already
  std::uint64_t not_ip = 0;     // frames that lwIP has no use for
  std::uint64_t sent = 0;       // packets put into the TX ring
  std::uint64_t no_room = 0;    // times that lwIP had to wait for room in the TX ring or for a free frame
  std::uint64_t no_memory = 0;  // packets dropped for want of memory to copy them to
};

// What happens to a packet:
//   received  lwIP gets a pbuf over the UMEM frame, without a copy. The frame is free again when lwIP or the program
//             frees the pbuf; the pbuf's own struct is in the frame's headroom. A program may hold on to pbufs: when a
//             quarter of all frames are held, further packets are copied, so that frames to receive into never run out.
//   sent      lwIP's pbufs are copied into a UMEM frame, once; with tcp_write() without TCP_WRITE_FLAG_COPY this is the
//             only copy of the data. When the TX ring is full lwIP keeps its segments, and sends them when there is
//             room.
//   checksums are lwIP's, both ways.
//   MSS       follows from the queue's MTU with IPv4, whose packets routers cut. With IPv6 it is 1,220, which passes
//             everywhere: lwIP heeds "packet too big" only for destinations that its neighbour discovery knows, and
//             here it does none.
//   addresses the netif has no address of its own: what MultiStack delivers is for a tuple of this vport, and is taken
//             as such; so an address of every claim, wildcards included, works without being configured. To connect,
//             call connects_from(), and bind the pcb to the address and port of a claim first.
class Netif {
 public:
  // The queue must outlive it, and be one of a process that uses lwIP nowhere else.
  explicit Netif(mstack::Queue& queue);
  ~Netif();
  Netif(Netif&&) = delete;

  // Waits until there is something to do, at most that long, and does it: received packets, timers, sends. The
  // program's lwIP callbacks run in here. An error is the queue's: ENETDOWN, the vport is gone.
  mstack::Expected<void> run_once(std::chrono::milliseconds most);

  // For a program that connects: lwIP routes by an address of the netif. Not a wildcard.
  void connects_from(const mstack::Address& address);

  // Sends what lwIP has put into the TX ring; for a program that has called lwIP outside of run_once() and does not
  // call that next.
  mstack::Expected<void> flush();
  // The same, and waits, at most that long, until none of it is on its way: for the end of a claim.
  mstack::Expected<void> drain(std::chrono::milliseconds most);

  [[nodiscard]] const NetifCounters& counters() const { return counters_; }
  [[nodiscard]] std::size_t kept() const { return kept_; }  // frames that lwIP or the program holds

 private:
  struct FramePbuf;

  static err_t initialise(netif* interface);
  static err_t output(netif* interface, pbuf* packet, std::uint16_t type);
  static void free_pbuf(pbuf* packet);

  void receive(mstack::Frame frame);
  pbuf* wrap(mstack::Frame frame);
  pbuf* copy(mstack::Frame frame);
  void be_destination(const pbuf* packet);
  void be_address(const ip_addr_t& address);
  err_t send(const pbuf* packet, std::uint16_t type);

  mstack::Queue& queue_;
  netif interface_ = {};
  std::size_t most_kept_;
  std::size_t kept_ = 0;
  bool waits_for_room_ = false;
  NetifCounters counters_;
  PcbIndex pcbs_;
};

// The same address in lwIP's form; :: and 0.0.0.0 as those of their own family.
[[nodiscard]] ip_addr_t to_lwip(const mstack::Address& address);

}  // namespace mstack_lwip
