// SPDX-License-Identifier: BSD-2-Clause
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <cstring>
#include <functional>

#include "messages.hpp"

namespace mstack::protocol {
namespace {

constexpr Header request = {.version = version, .type = Type::claim, .sequence = 7, .zero = 0};

Reply good_reply() {
  return Reply{.header = request, .error = 0, .zero = 0, .text = {}};
}

TEST(Protocol, EveryRequestHasOneSize) {
  EXPECT_EQ(request_size(Type::open_vport), 40u);
  EXPECT_EQ(request_size(Type::resume_vport), 24u);
  EXPECT_EQ(request_size(Type::claim), 24u);
  EXPECT_EQ(request_size(Type::release), 5024u);
  EXPECT_EQ(request_size(Type::attach_uplink), 40u);
  EXPECT_EQ(request_size(Type::detach_uplink), 40u);
  EXPECT_EQ(request_size(Type::bind_vport), 16u);
  for (const std::uint32_t none : {0u, 8u, 1000u, 0xffffffffu}) EXPECT_EQ(request_size(static_cast<Type>(none)), 0u);
}

TEST(CheckReply, TakesAnAnswerAndARefusal) {
  Reply reply = good_reply();
  EXPECT_TRUE(check_reply(bytes_of(reply), request, sizeof(Reply)));
  reply.error = EADDRINUSE;
  std::memcpy(reply.text.data(), "claimed", sizeof("claimed"));
  EXPECT_TRUE(check_reply(bytes_of(reply), request, sizeof(Reply)));
  EXPECT_EQ(text_of(reply), "claimed");
  EXPECT_TRUE(check_reply(bytes_of(reply), request, sizeof(TuplesReply))) << "a bare refusal";
  TuplesReply tuples = {};
  tuples.reply = good_reply();
  EXPECT_TRUE(check_reply(bytes_of(tuples), request, sizeof(TuplesReply)));
}

TEST(CheckReply, RefusesEveryOtherLength) {
  TuplesReply reply = {};
  reply.reply = good_reply();
  for (std::size_t size = 0; size < sizeof(reply); ++size)
    EXPECT_FALSE(check_reply(bytes_of(reply).first(size), request, sizeof(TuplesReply))) << size;
  reply.reply.error = EPERM;
  for (std::size_t size = 0; size < sizeof(reply); ++size)
    EXPECT_EQ(check_reply(bytes_of(reply).first(size), request, sizeof(TuplesReply)).has_value(), size == sizeof(Reply))
        << size;
}

TEST(CheckReply, RefusesWhatDoesNotBelongToTheRequest) {
  const auto refused = [](const std::function<void(Reply&)>& change) {
    Reply reply = good_reply();
    change(reply);
    const auto checked = check_reply(bytes_of(reply), request, sizeof(Reply));
    return checked ? 0 : checked.error().code;
  };
  EXPECT_EQ(refused([](Reply&) {}), 0);
  EXPECT_EQ(refused([](Reply& reply) { reply.header.version = version + 1; }), EPROTONOSUPPORT);
  EXPECT_EQ(refused([](Reply& reply) { reply.header.type = Type::release; }), EPROTO);
  EXPECT_EQ(refused([](Reply& reply) { reply.header.sequence = 6; }), EPROTO);
  EXPECT_EQ(refused([](Reply& reply) { reply.error = -1; }), EPROTO);
  EXPECT_EQ(refused([](Reply& reply) { reply.error = 4096; }), EPROTO);
  EXPECT_EQ(refused([](Reply& reply) { reply.text.fill('x'); }), EPROTO);
}

OpenVport open_request() {
  return {.header = request, .queues = 2, .frames = 4096, .frame_size = 2048, .ring_size = 2048, .flags = 0, .zero = 0};
}

OpenVportReply open_reply() {
  return {.reply = good_reply(),
          .vport = 1,
          .queues = 2,
          .frames = 4096,
          .frame_size = 2048,
          .ring_size = 2048,
          .mtu = 1500,
          .slot = 1,
          .flags = 0};
}

TEST(CheckOpen, TakesOnlyWhatWasAskedFor) {
  EXPECT_TRUE(check_open(open_reply(), open_request()));
  for (std::uint32_t OpenVportReply::*field :
       {&OpenVportReply::queues, &OpenVportReply::frames, &OpenVportReply::frame_size, &OpenVportReply::ring_size})
    for (const std::uint32_t value : {0u, 1u, 8192u, 0xffffffffu}) {
      OpenVportReply reply = open_reply();
      reply.*field = value;
      EXPECT_FALSE(check_open(reply, open_request())) << value;
    }
}

TEST(CheckOpen, RefusesASlotOrMtuThatCannotBe) {
  for (const std::uint32_t slot : {0u, 1023u, 1024u, 0xffffffffu}) {
    OpenVportReply reply = open_reply();
    reply.slot = slot;
    EXPECT_FALSE(check_open(reply, open_request())) << slot;
  }
  for (const std::uint32_t mtu : {0u, 2048u, 0xffffffffu}) {
    OpenVportReply reply = open_reply();
    reply.mtu = mtu;
    EXPECT_FALSE(check_open(reply, open_request())) << mtu;
  }
}

TEST(CheckOpen, RefusesAFlagThatItDoesNotKnow) {
  OpenVportReply reply = open_reply();
  reply.flags = open_reply_unbound;
  EXPECT_TRUE(check_open(reply, open_request()));
  reply.flags = open_reply_unbound << 1 | open_reply_unbound;
  EXPECT_FALSE(check_open(reply, open_request()));
}

TEST(CheckTuples, TakesOneResultForEach) {
  TuplesReply reply = {};
  reply.reply = good_reply();
  reply.count = 2;
  for (auto& result : reply.results) result.tuple.protocol = IPPROTO_UDP;
  EXPECT_TRUE(check_tuples(reply, 2));
  EXPECT_FALSE(check_tuples(reply, 1));
  EXPECT_FALSE(check_tuples(reply, 3));
  reply.count = 251;
  EXPECT_FALSE(check_tuples(reply, 251));
  reply.count = 2;
  reply.results[1].error = EADDRINUSE;
  EXPECT_FALSE(check_tuples(reply, 2)) << "an error that the reply does not have";
  reply.reply.error = EADDRINUSE;
  EXPECT_TRUE(check_tuples(reply, 2));
  reply.results[1].error = 0;
  EXPECT_FALSE(check_tuples(reply, 2)) << "an error of no result";
  reply.results[1].error = -5;
  EXPECT_FALSE(check_tuples(reply, 2));
  reply = {};
  reply.reply = good_reply();
  reply.count = 1;
  EXPECT_FALSE(check_tuples(reply, 1)) << "protocol 0";
}

}  // namespace
}  // namespace mstack::protocol
