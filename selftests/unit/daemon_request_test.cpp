// SPDX-License-Identifier: BSD-2-Clause
#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "daemon/request.hpp"
#include "daemon/service.hpp"
#include "daemon/vport.hpp"

namespace mstack::daemon {
namespace {

protocol::OpenVport good() {
  return {.header = {.version = protocol::version, .type = protocol::Type::open_vport, .sequence = 1, .zero = 0},
          .queues = 1,
          .frames = 4096,
          .frame_size = 2048,
          .ring_size = 2048,
          .flags = 0,
          .zero = 0};
}

int code_of(const protocol::OpenVport& request) {
  const auto checked = check_request(request);
  return checked ? 0 : checked.error().code;
}

TEST(OpenVportRequest, TheLimitsThemselvesAreAllowed) {
  auto request = good();
  EXPECT_EQ(code_of(request), 0);
  request.queues = protocol::max_queues;
  request.frames = request.ring_size = protocol::max_frames;
  request.frame_size = 4096;
  request.flags = MSTACK_VPORT_THROUGHPUT | MSTACK_VPORT_MULTI_BUFFER;
  EXPECT_EQ(code_of(request), 0);
  EXPECT_EQ(umem_bytes_of(request), std::uint64_t{16} << 30);
  request.frames = request.ring_size = protocol::min_frames;
  EXPECT_EQ(code_of(request), 0);
}

TEST(OpenVportRequest, NumbersOutOfRangeAreNamed) {
  const auto refused = [](auto change, const char* word) {
    auto request = good();
    change(request);
    const auto checked = check_request(request);
    ASSERT_FALSE(checked) << word;
    EXPECT_EQ(checked.error().code, EINVAL);
    EXPECT_NE(checked.error().what.find(word), std::string::npos) << checked.error().what;
  };
  for (const std::uint32_t queues : {0u, 17u, 0xffffffffu})
    refused([&](auto& request) { request.queues = queues; }, "queues");
  for (const std::uint32_t frames : {0u, 32u, 63u, 65u, 4095u, (1u << 18) + 1, 1u << 19, 1u << 31, 0xffffffffu})
    refused([&](auto& request) { request.frames = frames; }, "frames");
  for (const std::uint32_t size : {0u, 1024u, 2047u, 2049u, 8192u, 0xffffffffu})
    refused([&](auto& request) { request.frame_size = size; }, "bytes");
  for (const std::uint32_t size : {0u, 32u, 100u, 8192u, 0xffffffffu})
    refused([&](auto& request) { request.ring_size = size; }, "rings");
  refused([&](auto& request) { request.flags = 4; }, "flag");
  refused([&](auto& request) { request.zero = 1; }, "flag");
}

TEST(Request, HasTheSizeAndTheDescriptorsOfItsType) {
  const auto fault = [](const auto& message, std::size_t descriptors) {
    return fault_of(std::as_bytes(std::span(&message, 1)), descriptors) != nullptr;
  };
  EXPECT_FALSE(fault(good(), 0));
  EXPECT_TRUE(fault(good(), 1));
  auto other = good();
  other.header.version += 1;
  EXPECT_TRUE(fault(other, 0));
  other = good();
  other.header.zero = 1;
  EXPECT_TRUE(fault(other, 0));
  other = good();
  for (const std::uint32_t type : {0u, 8u, 0xffffffffu, 3u}) {  // none, and one of another size
    other.header.type = static_cast<protocol::Type>(type);
    EXPECT_TRUE(fault(other, 0)) << type;
  }
  protocol::Claim claim = {.header = good().header, .count = 2, .flags = 0};
  claim.header.type = protocol::Type::claim;
  EXPECT_FALSE(fault(claim, 2));
  for (const std::uint32_t count : {0u, 1u, 3u, 251u, 0xffffffffu}) {
    claim.count = count;
    EXPECT_TRUE(fault(claim, 2)) << count;
  }
  protocol::Release release = {};
  release.header = good().header;
  release.header.type = protocol::Type::release;
  for (const auto& [count, wrong] : {std::pair{0u, true}, {1u, false}, {250u, false}, {251u, true}}) {
    release.count = count;
    EXPECT_EQ(fault(release, 0), wrong) << count;
  }
}

TEST(VportMtu, FitsTheUplinkTheFrameAndTheVeth) {
  auto request = good();
  EXPECT_EQ(vport_mtu(1500, request), 1500u);
  EXPECT_EQ(vport_mtu(1400, request), 1400u);
  EXPECT_EQ(vport_mtu(9000, request), 2048u - 256 - 14);
  EXPECT_EQ(vport_mtu(0, request), 1500u) << "no uplink yet";
  request.frame_size = 4096;
  EXPECT_EQ(vport_mtu(9000, request), 3498u);
}

TEST(VportMtu, OfPacketsOfSeveralFramesIsTheUplinksUpToEighteenFrames) {
  auto request = good();
  request.flags = MSTACK_VPORT_MULTI_BUFFER;
  EXPECT_EQ(vport_mtu(1500, request), 1500u);
  EXPECT_EQ(vport_mtu(9000, request), 9000u);
  EXPECT_EQ(vport_mtu(65535, request), 18 * (2048u - 256) - 14);
  request.frame_size = 4096;
  EXPECT_EQ(vport_mtu(65535, request), 65535u);
  EXPECT_EQ(vport_mtu(0, request), 1500u) << "no uplink yet";
}

TEST(ReplyText, IsCutBetweenCharactersAndEnds) {
  protocol::Reply reply = {};
  reply.text.fill('x');
  set_text(reply, "short");
  EXPECT_STREQ(reply.text.data(), "short");
  EXPECT_EQ(reply.text.back(), '\0');
  set_text(reply, std::string(protocol::max_text - 1, 'a'));
  EXPECT_EQ(std::string(reply.text.data()).size(), protocol::max_text - 1);
  set_text(reply, std::string(500, 'a'));
  EXPECT_EQ(std::string(reply.text.data()).size(), protocol::max_text - 1);
  // A character of three bytes that would be cut goes as a whole.
  set_text(reply, std::string(protocol::max_text - 3, 'a') + "\xe2\x82\xac" + "more");
  EXPECT_EQ(std::string(reply.text.data()).size(), protocol::max_text - 3);
}

}  // namespace
}  // namespace mstack::daemon
