// SPDX-License-Identifier: BSD-2-Clause
//
// lwIP's connections as PcbIndex and HalfOpen change them, without a network: packets go in and come out here.
#define LWIP_DONT_PROVIDE_BYTEORDER_FUNCTIONS  // <netinet/in.h> has them
#include "lwip/pcb_index.hpp"

#include <gtest/gtest.h>
#include <lwip/init.h>
#include <lwip/netif.h>
#include <lwip/priv/tcp_priv.h>

#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/frame.hpp"

namespace {

using namespace mstack::test;

const std::string client = "192.0.2.2", server = "192.0.2.1";
constexpr std::uint16_t server_port = 80;
constexpr std::size_t ethernet_size = 14;

class LwipConnections : public testing::Test {
 protected:
  void SetUp() override {
    index();
    const ip4_addr_t address = {lwip_htonl(0xc0000201)}, mask = {IPADDR_BROADCAST}, none = {IPADDR_ANY};
    netif_add(
        &interface_, &address, &mask, &none, this,
        [](netif* interface) {
          interface->mtu = 1500;
          interface->output = [](netif* from, pbuf* packet, const ip4_addr_t*) {
            static_cast<LwipConnections*>(from->state)->sent(*packet);
            return static_cast<err_t>(ERR_OK);
          };
          return static_cast<err_t>(ERR_OK);
        },
        &ip_input);
    netif_set_default(&interface_);
    netif_set_link_up(&interface_);
    netif_set_up(&interface_);
    tcp_pcb* const pcb = tcp_new();
    tcp_bind(pcb, IP_ANY_TYPE, server_port);
    listener_ = tcp_listen(pcb);
    tcp_arg(listener_, this);
    tcp_accept(listener_, [](void* self, tcp_pcb* accepted, err_t error) {
      static_cast<LwipConnections*>(self)->accepted(accepted);
      return error;
    });
  }
  void TearDown() override {
    tcp_close(listener_);
    while (tcp_active_pcbs != nullptr) tcp_abort(tcp_active_pcbs);
    while (tcp_tw_pcbs != nullptr) tcp_abort(tcp_tw_pcbs);
    netif_remove(&interface_);
  }

  // The last packet that went to the port since.
  std::optional<Packet> input(std::uint16_t port, std::uint8_t flags, std::uint32_t sequence,
                              std::uint32_t acknowledgement = 0, const std::string& payload = {}) {
    last_.erase(port);
    const Bytes frame = build(Segment{.from = {client, port},
                                      .to = {server, server_port},
                                      .protocol = IPPROTO_TCP,
                                      .payload = payload,
                                      .tcp_flags = flags,
                                      .sequence = sequence,
                                      .acknowledgement = acknowledgement});
    const auto size = static_cast<u16_t>(frame.size() - ethernet_size);
    pbuf* const packet = pbuf_alloc(PBUF_RAW, size, PBUF_RAM);
    pbuf_take(packet, frame.data() + ethernet_size, size);
    {
      const mstack_lwip::PcbIndex::Input around(index(), *packet);
      ip_input(packet, &interface_);
    }
    const auto answer = last_.find(port);
    return answer == last_.end() ? std::nullopt : std::optional(answer->second);
  }
  bool syn(std::uint16_t port, std::uint32_t sequence = 1000) {
    const auto answer = input(port, tcp_syn, sequence);
    if (!answer || answer->tcp_flags != (tcp_syn | tcp_ack)) return false;
    peers_[port] = {.sequence = sequence + 1, .acknowledgement = answer->sequence + 1};
    return true;
  }
  void acknowledge(std::uint16_t port) { input(port, tcp_ack, peers_[port].sequence, peers_[port].acknowledgement); }
  bool open(std::uint16_t port, std::uint32_t sequence = 1000) {
    if (!syn(port, sequence)) return false;
    acknowledge(port);
    return established(port);
  }
  void say(std::uint16_t port, const std::string& text) {
    Peer& peer = peers_[port];
    input(port, tcp_ack | tcp_psh, peer.sequence, peer.acknowledgement, text);
    peer.sequence += static_cast<std::uint32_t>(text.size());
  }
  void reset(std::uint16_t port) { input(port, TcpFlag::tcp_rst, peers_[port].sequence); }
  // What went to the port last.
  const Packet& last(std::uint16_t port) const { return last_.at(port); }
  // The server ends it, and the client agrees.
  void into_time_wait(std::uint16_t port) {
    Peer& peer = peers_[port];
    tcp_close(pcbs_[port]);
    ++peer.acknowledgement;
    input(port, tcp_fin | tcp_ack, peer.sequence, peer.acknowledgement);
    ++peer.sequence;
  }

  static std::vector<std::uint16_t> ports(const tcp_pcb* pcb) {
    std::vector<std::uint16_t> found;
    for (; pcb != nullptr; pcb = pcb->next) found.push_back(pcb->remote_port);
    return found;
  }
  bool established(std::uint16_t port) const {
    for (const tcp_pcb* pcb = tcp_active_pcbs; pcb != nullptr; pcb = pcb->next)
      if (pcb->remote_port == port) return pcb->state == ESTABLISHED;
    return false;
  }
  static std::size_t half_open() {
    std::size_t count = 0;
    for (const tcp_pcb* pcb = tcp_active_pcbs; pcb != nullptr; pcb = pcb->next) count += pcb->state == SYN_RCVD;
    return count;
  }
  // Ports whose connections have one place.
  static std::vector<std::uint16_t> sharing(std::size_t count) {
    const ip_addr_t from = IPADDR4_INIT_BYTES(192, 0, 2, 2);
    std::map<std::size_t, std::vector<std::uint16_t>> by_place;
    for (std::uint32_t port = 1; port <= UINT16_MAX; ++port) {
      auto& there = by_place[mstack_lwip::PcbIndex::place_number(from, static_cast<std::uint16_t>(port), server_port)];
      there.push_back(static_cast<std::uint16_t>(port));
      if (there.size() == count) return there;
    }
    throw std::runtime_error("no place has so many connections");
  }

  std::map<std::uint16_t, std::string> heard;  // by the server, from each port since it was opened

 private:
  struct Peer {
    std::uint32_t sequence, acknowledgement;
  };

  // As lwIP itself, there is one in a process.
  static mstack_lwip::PcbIndex& index() {
    static const bool initialised = [] {
      lwip_init();
      return true;
    }();
    static_cast<void>(initialised);
    static mstack_lwip::PcbIndex made;
    return made;
  }
  void accepted(tcp_pcb* pcb) {
    pcbs_[pcb->remote_port] = pcb;
    heard[pcb->remote_port].clear();
    tcp_recv(pcb, [](void* self, tcp_pcb* from, pbuf* data, err_t) {
      if (data == nullptr) return static_cast<err_t>(ERR_OK);
      std::string text(data->tot_len, '\0');
      pbuf_copy_partial(data, text.data(), data->tot_len, 0);
      static_cast<LwipConnections*>(self)->heard[from->remote_port] += text;
      tcp_recved(from, data->tot_len);
      pbuf_free(data);
      return static_cast<err_t>(ERR_OK);
    });
  }
  void sent(const pbuf& packet) {
    Bytes frame(ethernet_size + packet.tot_len);
    frame[12] = 0x08;
    pbuf_copy_partial(&packet, frame.data() + ethernet_size, packet.tot_len, 0);
    if (const auto read = parse(frame)) last_[read->to.port] = *read;
  }

  netif interface_ = {};
  tcp_pcb* listener_ = nullptr;
  std::map<std::uint16_t, Peer> peers_;
  std::map<std::uint16_t, tcp_pcb*> pcbs_;
  std::map<std::uint16_t, Packet> last_;
};

using LwipPcbIndex = LwipConnections;

TEST_F(LwipPcbIndex, ThreeConnectionsInOnePlace) {
  const auto shared = sharing(3);
  for (const std::uint16_t port : shared) ASSERT_TRUE(open(port));
  for (const char* text : {"a", "b", "c", "d"})
    for (const std::uint16_t port : shared) {
      say(port, text + std::to_string(port));
      // The last one heard is in front, wherever its place is, and nobody is lost.
      EXPECT_EQ(ports(tcp_active_pcbs).front(), port);
      EXPECT_EQ(ports(tcp_active_pcbs).size(), 3U);
    }
  for (const std::uint16_t port : shared) {
    std::string all;
    for (const char* text : {"a", "b", "c", "d"}) all += text + std::to_string(port);
    EXPECT_EQ(heard[port], all);
  }
}

// The one that ends takes the place from the one that has it by now.
TEST_F(LwipPcbIndex, APlaceIsUsedAgainAfterItWasShared) {
  const auto shared = sharing(2);
  const std::uint16_t first = shared[0], second = shared[1];
  ASSERT_TRUE(open(first));
  ASSERT_TRUE(open(second));
  reset(first);
  EXPECT_EQ(ports(tcp_active_pcbs), std::vector{second});
  say(second, "after the first");
  EXPECT_EQ(heard[second], "after the first");
  ASSERT_TRUE(open(first));
  say(second, ", and before it");
  say(first, "anew");
  EXPECT_EQ(heard[second], "after the first, and before it");
  EXPECT_EQ(heard[first], "anew");
  reset(first);
  reset(second);
  EXPECT_EQ(tcp_active_pcbs, nullptr);
  ASSERT_TRUE(open(second));
  say(second, "alone");
  EXPECT_EQ(heard[second], "alone");
}

// Each is found and put in front from anywhere on the list, also when those around it have gone.
TEST_F(LwipPcbIndex, TheListStaysWholeWhileItsNeighboursGo) {
  for (std::uint16_t port = 1; port <= 100; ++port) ASSERT_TRUE(open(port));
  for (std::uint16_t port = 3; port <= 100; port += 3) {
    reset(port - 1);
    say(port - 2, "x");
    say(port, "x");
    const auto now = ports(tcp_active_pcbs);
    ASSERT_EQ(now.size(), 100U - port / 3);
    EXPECT_EQ(now[0], port);
    EXPECT_EQ(now[1], port - 2);
  }
}

// In TIME_WAIT, in a place that is another's by now.
TEST_F(LwipPcbIndex, OpensAgainFromTimeWaitAlsoInASharedPlace) {
  const auto shared = sharing(2);
  const std::uint16_t first = shared[0], second = shared[1];
  ASSERT_TRUE(open(first));
  into_time_wait(first);
  ASSERT_EQ(ports(tcp_tw_pcbs), std::vector{first});
  ASSERT_TRUE(open(second));
  EXPECT_FALSE(syn(first, 900)) << "what may be of the old one opens none";
  EXPECT_EQ(ports(tcp_tw_pcbs), std::vector{first});
  ASSERT_TRUE(open(first, 5000));
  EXPECT_EQ(tcp_tw_pcbs, nullptr);
  say(second, "s");
  say(first, "f");
  EXPECT_EQ(heard[second], "s");
  EXPECT_EQ(heard[first], "f");
}

using LwipHalfOpen = LwipConnections;

TEST_F(LwipHalfOpen, TheOldestMakesRoom) {
  constexpr std::uint16_t most = mstack_lwip::HalfOpen::most, kept = 60000, slow = 60001;
  ASSERT_TRUE(open(kept));
  for (std::uint16_t port = 1; port <= most; ++port) ASSERT_TRUE(syn(port)) << port;
  EXPECT_EQ(half_open(), most);
  ASSERT_TRUE(syn(slow));
  EXPECT_EQ(half_open(), most);
  // Without a reset to whoever has the address; who goes on after all is told.
  EXPECT_EQ(last(1).tcp_flags, tcp_syn | tcp_ack);
  acknowledge(1);
  EXPECT_EQ(last(1).tcp_flags & TcpFlag::tcp_rst, TcpFlag::tcp_rst);
  // Whoever goes on in time counts no longer.
  acknowledge(slow);
  acknowledge(2);
  EXPECT_TRUE(established(2));
  EXPECT_EQ(half_open(), most - 2U);
  for (std::uint16_t port = most + 1; port <= 3 * most; ++port) ASSERT_TRUE(syn(port)) << port;
  EXPECT_EQ(half_open(), most);
  for (const std::uint16_t port : {kept, slow, std::uint16_t{2}}) {
    say(port, "x");
    EXPECT_EQ(heard[port], "x");
  }
}

// There are fewer pcbs left than may be half open.
TEST_F(LwipHalfOpen, TheOldestMakesRoomWhereNoPcbIsFree) {
  constexpr std::uint16_t established_ones = MEMP_NUM_TCP_PCB - 100, last_one = MEMP_NUM_TCP_PCB + 1000;
  for (std::uint16_t port = 1; port <= established_ones; ++port) ASSERT_TRUE(open(port)) << port;
  for (std::uint16_t port = established_ones + 1; port <= last_one; ++port) ASSERT_TRUE(syn(port)) << port;
  EXPECT_EQ(half_open(), 100U);
  EXPECT_EQ(ports(tcp_active_pcbs).size(), MEMP_NUM_TCP_PCB);
  acknowledge(last_one);
  EXPECT_TRUE(established(last_one));
}

}  // namespace
