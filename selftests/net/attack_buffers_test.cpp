// SPDX-License-Identifier: BSD-2-Clause
//
// A packet may be cut into buffers by whoever sends it, anywhere. The check must read what the wire will carry, and
// what the kernel makes of descriptors that are no packet must harm nobody else. Any client can say these things, also
// on a vport that was opened without multi_buffer.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "support/fixture.hpp"
#include "support/multi_buffer.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

constexpr std::uint32_t frame_size = 2048, umem_size = 64 * frame_size;
const Endpoint victim{host4, 7000}, own{host4, 7001}, remote{wire4, 4000};

class AttackBuffers : public NetTest, public ::testing::WithParamInterface<bool> {
 protected:
  AttackBuffers() : NetTest({.mtu = 9000}) {}

  void SetUp() override {
    NetTest::SetUp();
    if (!kernel_has_multi_buffer()) GTEST_SKIP() << "this kernel has no AF_XDP packets of several frames";
    capture_ = world().capture();
    victim_.emplace(world(), bob);
    victim_claim_.emplace(victim_->claim(IPPROTO_UDP, victim));
    client_.emplace(raw_client());
    auto request = RawClient::open_request();
    request.flags = GetParam() ? MSTACK_VPORT_MULTI_BUFFER : 0;
    opened_ = client_->ask(request);
    ASSERT_EQ(opened_.error(), 0) << opened_.text();
    if ((opened_.as<protocol::OpenVportReply>().flags & protocol::open_reply_unbound) != 0) {
      ASSERT_EQ(client_->ask(protocol::BindVport{.header = RawClient::header(protocol::Type::bind_vport)}).error(), 0);
    }
    slot_ = opened_.as<protocol::OpenVportReply>().slot;
    socket_ = bound_as(alice, IPPROTO_UDP, own);
    ASSERT_EQ(client_->claim(socket_.get()).error(), 0);
    tx_.emplace(opened_);
  }

  void TearDown() override {
    if (tx_) {
      expect_harmless();
      tx_.reset();
      opened_ = {};
      client_.reset();
      victim_claim_.reset();
      victim_.reset();
      capture_.reset();
      socket_.reset();
    }
    NetTest::TearDown();
  }

  static Bytes spoofed() { return build(World::udp(victim, remote, "spoofed")); }
  // Bytes, a buffer each, from where the next is to be: buffers are of the memory's 64 frames, in turn.
  TxDescriptor place(std::span<const std::uint8_t> bytes, bool more) {
    const std::uint64_t at = next_frame_++ % 64 * frame_size;
    std::ranges::copy(bytes, tx_->memory().begin() + static_cast<std::ptrdiff_t>(at));
    return {.address = at, .length = static_cast<std::uint32_t>(bytes.size()), .options = more ? goes_on : 0};
  }
  std::vector<TxDescriptor> cut_at(std::span<const std::uint8_t> frame, std::vector<std::size_t> offsets) {
    std::vector<TxDescriptor> packet;
    std::size_t from = 0;
    offsets.push_back(frame.size());
    for (const std::size_t to : offsets) {
      packet.push_back(place(frame.subspan(from, to - from), to != frame.size()));
      from = to;
    }
    return packet;
  }
  std::uint64_t counted(mstack_verdict verdict) const { return pins().counter(verdict, slot_); }

  // An own packet gets through, so all before it has been judged; nothing in the victim's name left, and it works.
  void expect_harmless() {
    const std::string text = "own " + std::to_string(next_frame_);
    const Bytes frame = build(World::udp(own, remote, text));
    EXPECT_TRUE(eventually([&] {
      const TxDescriptor descriptor = place(frame, false);
      tx_->send({&descriptor, 1});
      return capture_->count(udp_payload(text)) != 0;
    }));
    EXPECT_EQ(capture_->count([](const Packet& packet) { return packet.from == victim && packet.payload != "victim"; }),
              0U);
    victim_->send(World::udp(victim, remote, "victim"));
    EXPECT_TRUE(capture_->wait(udp_payload("victim")));
    world().send(World::udp(remote, victim, text));
    EXPECT_TRUE(victim_->receive(udp_payload(text)));
  }

  std::unique_ptr<Capture> capture_;
  std::optional<Stack> victim_;
  std::optional<Claim> victim_claim_;
  std::optional<RawClient> client_;
  RawClient::Answer opened_;
  std::uint32_t slot_ = 0;
  Fd socket_;
  std::optional<RawTx> tx_;
  std::uint64_t next_frame_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Vports, AttackBuffers, ::testing::Bool(),
                         [](const auto& chosen) { return chosen.param ? "MultiBuffer" : "Ordinary"; });

TEST_P(AttackBuffers, HeadersCutAnywhereAreReadAsTheyAreSent) {
  const Bytes frame = spoofed();
  std::uint64_t cuts = 0;
  for (std::size_t at = 1; at < frame.size(); ++at, ++cuts) tx_->send(cut_at(frame, {at}));
  for (std::size_t at = 1; at + 16 < frame.size(); ++at, ++cuts) {  // 17 buffers, of a byte but for the last
    std::vector<std::size_t> offsets;
    for (std::size_t i = 0; i < 16; ++i) offsets.push_back(at + i);
    tx_->send(cut_at(frame, offsets));
  }
  EXPECT_TRUE(eventually([&] { return counted(MSTACK_TX_DROP_NOT_OWNER) == cuts; }))
      << pins().counter(MSTACK_TX_DROP_NOT_OWNER);
  EXPECT_EQ(counted(MSTACK_TX_SENT), 0U);
}

// The owner's own packet, cut as cruelly, does leave.
TEST_P(AttackBuffers, AnHonestPacketLeavesHoweverItIsCut) {
  for (std::size_t at = 1; at < 50; ++at) {
    const std::string text = "cut " + std::to_string(at);
    tx_->send(cut_at(build(World::udp(own, remote, text + std::string(20, '.'))), {at}));
    EXPECT_TRUE(capture_->wait(udp_payload(text + std::string(20, '.')))) << at;
  }
}

// What looks like a packet of the attacker's in its first buffer is the beginning of one that is not.
TEST_P(AttackBuffers, TheFirstBufferIsNotThePacket) {
  const Bytes honest = build(World::udp(own, remote, "honest"));
  Bytes longer = honest;
  longer[16] = 0x0f;  // the IP header says 4,000 bytes and more
  longer[17] = 0xa0;
  tx_->send(cut_at(longer, {34}));
  EXPECT_TRUE(eventually([&] { return counted(MSTACK_TX_DROP_MALFORMED) == 1; }));
  // The same, and the bytes are there: whole frames in the victim's name, as somebody's payload.
  Bytes carrier = build(World::udp(own, remote, std::string(1600, 'x')));
  const Bytes inner = spoofed();
  std::ranges::copy(inner, carrier.begin() + 800);
  tx_->send(cut_at(carrier, {800}));
  EXPECT_TRUE(capture_->wait([](const Packet& packet) { return packet.from == own && packet.payload.size() == 1600; }));
}

TEST_P(AttackBuffers, RunsWithoutAnEnd) {
  const Bytes frame = spoofed();
  for (const int buffers : {1, 2, 17, 18, 19, 40, 100}) {
    std::vector<TxDescriptor> run;
    for (int i = 0; i < buffers; ++i) run.push_back(place(frame, true));
    tx_->send(run);
  }
}

// The kernel takes what is behind the eighteenth buffer for a packet of its own.
TEST_P(AttackBuffers, AHundredBuffersOfAForeignPacketEach) {
  const Bytes frame = spoofed();
  for (int round = 0; round < 5; ++round) {
    std::vector<TxDescriptor> run;
    for (int i = 0; i < 100; ++i) run.push_back(place(frame, i != 99));
    tx_->send(run);
  }
}

TEST_P(AttackBuffers, DescriptorsThatAreNoneInTheMidstOfAPacket) {
  const Bytes frame = spoofed();
  for (const TxDescriptor bad : {TxDescriptor{.address = 0, .length = 0, .options = goes_on},
                                 TxDescriptor{.address = umem_size, .length = 60, .options = goes_on},
                                 TxDescriptor{.address = ~std::uint64_t{0}, .length = 60, .options = goes_on},
                                 TxDescriptor{.address = 2000, .length = 100, .options = goes_on},
                                 TxDescriptor{.address = 0, .length = ~0U, .options = goes_on},
                                 TxDescriptor{.address = 0, .length = 60, .options = ~0U}}) {
    for (const bool end : {false, true}) {
      std::vector<TxDescriptor> run = cut_at(frame, {20});
      run.insert(run.begin() + 1, bad);
      if (end) run.back().options = goes_on;
      tx_->send(run);
    }
  }
}

TEST_P(AttackBuffers, Anything) {
  std::mt19937 random(7);
  const Bytes frame = spoofed();
  for (int i = 0; i < 64; ++i)
    std::ranges::copy(frame, tx_->memory().begin() + static_cast<std::ptrdiff_t>(i) * frame_size);
  for (int round = 0; round < 300; ++round) {
    std::vector<TxDescriptor> run;
    for (auto count = random() % 30; count != 0; --count)
      run.push_back({.address = random() % 64 * frame_size + random() % 60,
                     .length = static_cast<std::uint32_t>(random() % 8 == 0 ? random() : random() % 100),
                     .options = static_cast<std::uint32_t>(random() % 16 == 0 ? random() : random() % 2)});
    tx_->send(run);
  }
}

}  // namespace
}  // namespace mstack::test
