// SPDX-License-Identifier: BSD-2-Clause
//
// What a client keeps must go on counting. It may close its connection and still have its AF_XDP sockets, duplicated or
// in another process, and its packet memory, mapped: memory that the kernel has pinned for mstackd, and for which no
// limit of the client's own stands in.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <fstream>

#include "support/fixture.hpp"
#include "support/stack.hpp"

#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif

namespace mstack::test {
namespace {

constexpr std::uint32_t frames = 512;  // of 2,048 bytes: 1 MiB
constexpr std::size_t memory_size = std::size_t{frames} * 2048;

class Evasion : public NetTest {
 protected:
  void SetUp() override { start({.arguments = {"--max-umem-mb", "1", "--max-vports", "2"}, .environment = {}}); }
  int open_error(uid_t uid = alice) const { return raw_client(uid).open_vport(1, frames).error(); }
  bool room_again() const {
    return eventually([&] { return open_error() == 0; });
  }
  static std::uint64_t allocated(int memory) {
    struct stat status {};
    check(::fstat(memory, &status), "fstat");
    return static_cast<std::uint64_t>(status.st_blocks) * 512;
  }
};

TEST_F(Evasion, SocketsThatAreKeptStillCount) {
  RawClient client = raw_client();
  RawClient::Answer vport = client.open_vport(1, frames);
  ASSERT_EQ(vport.error(), 0);
  const Fd copy = vport.fds.at(1).duplicate();
  client.close();
  // The vport itself is gone: it lived as long as the connection.
  EXPECT_TRUE(eventually([&] { return pins().vports().empty(); }));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(open_error(), EDQUOT) << "its packet memory counts no more";
  EXPECT_EQ(open_error(bob), 0);
  vport.fds.clear();
  EXPECT_EQ(open_error(), EDQUOT) << "there is a copy of the socket";
  { const Fd last = std::exchange(const_cast<Fd&>(copy), Fd{}).duplicate(); }
  const_cast<Fd&>(copy).reset();
  EXPECT_TRUE(room_again()) << "the account is never settled";
}

TEST_F(Evasion, SocketsOfAnotherProcessStillCount) {
  RawClient client = raw_client();
  RawClient::Answer vport = client.open_vport(1, frames);
  ASSERT_EQ(vport.error(), 0);
  const int socket = vport.fds.at(1).get();
  Process keeper = Process::function(
      [](Channel& channel) {
        channel.receive(Deadline{60s});
        return 0;
      },
      {.who = {.netns = &world().host(), .uid = alice, .cgroup = {}}, .environment = {}, .keep = {socket}});
  client.close();
  vport.fds.clear();
  EXPECT_TRUE(eventually([&] { return pins().vports().empty(); }));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(open_error(), EDQUOT);
  keeper.kill();
  EXPECT_TRUE(room_again());
}

// Nor are its slots given to others, whose packets the old sockets would be the ones to get.
TEST_F(Evasion, ASlotWhoseSocketIsKeptIsNobodyElses) {
  RawClient client = raw_client();
  RawClient::Answer vport = client.open_vport(1, 64);
  ASSERT_EQ(vport.error(), 0);
  const auto slot = vport.as<protocol::OpenVportReply>().slot;
  client.close();
  EXPECT_TRUE(eventually([&] { return pins().vports().empty(); }));
  Stack other(world(), bob);
  EXPECT_NE(pins().vports().at(other.id()).slot, slot);
  const Claim claim = other.claim(IPPROTO_UDP, {host4, 7000});
  world().send(World::udp({wire4, 4000}, {host4, 7000}, "bob's"));
  EXPECT_TRUE(other.receive(udp_payload("bob's")));
}

TEST_F(Evasion, MemoryThatIsStillMappedIsGivenBack) {
  RawClient client = raw_client();
  RawClient::Answer vport = client.open_vport(1, frames);
  ASSERT_EQ(vport.error(), 0);
  const int memory = vport.fds.at(0).get();
  void* const mapped = ::mmap(nullptr, memory_size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  ASSERT_NE(mapped, MAP_FAILED);
  EXPECT_EQ(allocated(memory), memory_size);
  vport.fds.erase(vport.fds.begin() + 1);
  client.close();
  EXPECT_TRUE(eventually([&] { return allocated(memory) == 0; })) << allocated(memory) << " bytes outlive the quota";
  ::munmap(mapped, memory_size);
}

// The same over a crash: the next mstackd goes by the pins, and by the sockets.
TEST_F(Evasion, SocketsThatAreKeptOverARestartStillCount) {
  RawClient client = raw_client();
  RawClient::Answer vport = client.open_vport(1, frames);
  ASSERT_EQ(vport.error(), 0);
  crash();
  client.close();
  start({.arguments = {"--max-umem-mb", "1", "--max-vports", "2"}, .environment = {}});
  EXPECT_EQ(open_error(), EDQUOT);
  vport.fds.clear();
  EXPECT_TRUE(room_again());
}

// In a user namespace of its own alice has the capability to make AF_XDP sockets, and one of those may share another's
// packet memory: hers, of the vport, on a device of her own. So she pins it for as long as she likes.
TEST_F(Evasion, MemoryThatASocketOfHersSharesStillCounts) {
  RawClient client = raw_client();
  RawClient::Answer vport = client.open_vport(1, frames);
  ASSERT_EQ(vport.error(), 0);
  const int shared = vport.fds.at(1).get();
  Process sharer = Process::function(
      [&](Channel& channel) -> int {
        if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
          channel.send("no user namespaces");
          return 0;
        }
        const Fd control{::socket(AF_INET, SOCK_DGRAM, 0)};
        ifreq up{};
        std::strcpy(up.ifr_name, "lo");
        up.ifr_flags = IFF_UP;
        check(::ioctl(control.get(), SIOCSIFFLAGS, &up), "lo up");
        const Fd own{check(::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0), "AF_XDP socket")};
        const int entries = 64;
        for (const int ring : {XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING, XDP_TX_RING})
          check(::setsockopt(own.get(), SOL_XDP, ring, &entries, sizeof(entries)), "ring");
        sockaddr_xdp address{};
        address.sxdp_family = AF_XDP;
        address.sxdp_flags = XDP_SHARED_UMEM;
        address.sxdp_ifindex = ::if_nametoindex("lo");
        address.sxdp_shared_umem_fd = static_cast<__u32>(shared);
        const bool bound = ::bind(own.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
        ::close(shared);
        channel.send(bound ? "shared" : "refused");
        channel.receive(Deadline{60s});
        return 0;
      },
      {.who = {.netns = &world().host(), .uid = alice, .cgroup = {}}, .environment = {}, .keep = {shared}});
  const auto said = sharer.channel().receive();
  ASSERT_TRUE(said) << sharer.err();
  std::cout << said->text << '\n';
  if (said->text != "shared")
    GTEST_SKIP() << "nobody but root may make a user namespace with a socket here: " << said->text;
  client.close();
  vport.fds.clear();
  EXPECT_TRUE(eventually([&] { return pins().vports().empty(); }));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(open_error(), EDQUOT) << "the memory is pinned, and counts no more";
  sharer.kill();
  EXPECT_TRUE(room_again());
}

}  // namespace
}  // namespace mstack::test
