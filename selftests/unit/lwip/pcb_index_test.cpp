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
  // What went to the port last.
  const Packet& last(std::uint16_t port) const { return last_.at(port); }

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
