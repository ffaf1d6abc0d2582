// SPDX-License-Identifier: BSD-2-Clause
//
// A client has no privilege and is given none: an unprivileged uid, no capabilities, no_new_privs, and descriptors with
// which nothing can be done but to use the vport.
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/if_xdp.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>

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

const Endpoint service{host4, 7000}, remote{wire4, 4000};

// The attempts of one client. Each must fail; what succeeds is told on stderr, and counted.
class Attempts {
 public:
  void refused(const std::string& what, long result) {
    if (result < 0) return;
    std::cerr << what << " was not refused\n";
    ++succeeded_;
  }
  // For want of a privilege: what is not there, or makes no sense, would be refused to anybody.
  void forbidden(const std::string& what, long result) {
    const int got = errno;
    refused(what, result);
    if (result >= 0 || got == EPERM || got == EACCES) return;
    std::cerr << what << ": refused with " << strerrordesc_np(got) << '\n';
    ++succeeded_;
  }
  // The same by the errno, where another reason would prove nothing.
  void refused(const std::string& what, long result, int error) {
    const int got = errno;
    refused(what, result);
    if (result >= 0 || got == error) return;
    std::cerr << what << ": refused with " << strerrordesc_np(got) << ", not " << strerrordesc_np(error) << '\n';
    ++succeeded_;
  }
  int succeeded() const { return succeeded_; }

 private:
  int succeeded_ = 0;
};

int bind_xsk(int fd, unsigned ifindex, unsigned queue, unsigned flags, int shared = 0) {
  sockaddr_xdp address{};
  address.sxdp_family = AF_XDP;
  address.sxdp_flags = static_cast<__u16>(flags);
  address.sxdp_ifindex = ifindex;
  address.sxdp_queue_id = queue;
  address.sxdp_shared_umem_fd = static_cast<__u32>(shared);
  return ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

void try_xsk(Attempts& attempts, int fd, int other, unsigned uplink_index, void* memory, std::size_t size) {
  // The slots of all stack ends that there can be are small numbers, as is the uplink's ifindex.
  for (unsigned ifindex = 0; ifindex < 64; ++ifindex) {
    for (const unsigned flags : {0U, unsigned{XDP_COPY}, unsigned{XDP_ZEROCOPY}, unsigned{XDP_USE_NEED_WAKEUP}}) {
      attempts.refused("bind an AF_XDP socket to " + std::to_string(ifindex), bind_xsk(fd, ifindex, 0, flags));
    }
    attempts.refused("bind an AF_XDP socket sharing another's UMEM", bind_xsk(fd, ifindex, 0, XDP_SHARED_UMEM, other));
  }
  attempts.refused("bind to the uplink", bind_xsk(fd, uplink_index, 0, XDP_COPY));
  const int entries = 64;
  for (const int ring : {XDP_RX_RING, XDP_TX_RING, XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING}) {
    attempts.refused("a new ring", ::setsockopt(fd, SOL_XDP, ring, &entries, sizeof(entries)));
  }
  xdp_umem_reg umem{};
  umem.addr = reinterpret_cast<std::uintptr_t>(memory);
  umem.len = size;
  umem.chunk_size = 2048;
  attempts.refused("a new UMEM", ::setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &umem, sizeof(umem)));
  attempts.refused("its network namespace", ::ioctl(fd, SIOCGSKNS), EPERM);
  ifreq request{};
  request.ifr_ifindex = 1;
  std::strcpy(request.ifr_name, "lo");
  for (const unsigned long code : {SIOCSIFFLAGS, SIOCSIFNAME, SIOCSIFHWADDR, SIOCSIFMTU, SIOCETHTOOL}) {
    attempts.refused("an ioctl on a device of its namespace", ::ioctl(fd, code, &request));
  }
  const int on = 1;
  attempts.refused("SO_MARK", ::setsockopt(fd, SOL_SOCKET, SO_MARK, &on, sizeof(on)));
  attempts.refused("setns by a socket", ::setns(fd, CLONE_NEWNET));
}

void try_memory(Attempts& attempts, int fd) {
  struct stat status {};
  check(::fstat(fd, &status), "fstat");
  for (const off_t size : {off_t{0}, status.st_size - 4096, status.st_size + 4096, off_t{1} << 40}) {
    attempts.refused("another size of the UMEM", ::ftruncate(fd, size), EPERM);
  }
  attempts.refused("more UMEM", ::fallocate(fd, 0, status.st_size, 4096));
  attempts.refused("more UMEM by writing", ::pwrite(fd, "x", 1, status.st_size));
  attempts.refused("more seals", ::fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
}

long bpf(int command, bpf_attr& attributes) {
  return ::syscall(SYS_bpf, command, &attributes, sizeof(attributes));
}

void try_system(Attempts& attempts, const std::string& pin_dir, pid_t mstackd) {
  attempts.forbidden("a new AF_XDP socket", ::socket(AF_XDP, SOCK_RAW, 0));
  attempts.forbidden("a packet socket", ::socket(AF_PACKET, SOCK_RAW, 0));
  for (const char* map :
       {"claims", "vport_xsks", "uplinks", "sockets", "host_ends", "port_gate", "meta", "local_addrs"}) {
    const std::string path = pin_dir + "/" + map;
    for (const __u32 flags : {0U, unsigned{BPF_F_RDONLY}, unsigned{BPF_F_WRONLY}}) {
      bpf_attr attributes{};
      attributes.pathname = reinterpret_cast<std::uintptr_t>(path.c_str());
      attributes.file_flags = flags;
      attempts.forbidden("open the pinned map " + path, bpf(BPF_OBJ_GET, attributes));
    }
    attempts.forbidden("unlink " + path, ::unlink(path.c_str()));
  }
  for (const int command : {BPF_MAP_GET_FD_BY_ID, BPF_PROG_GET_FD_BY_ID, BPF_LINK_GET_FD_BY_ID}) {
    for (__u32 id = 1; id < 100; ++id) {
      bpf_attr attributes{};
      attributes.map_id = id;
      attempts.forbidden("a BPF object by its id", bpf(command, attributes));
    }
  }
  const std::string process = "/proc/" + std::to_string(mstackd);
  for (const char* file : {"/ns/net", "/mem", "/fd"}) {
    attempts.forbidden("open mstackd's " + std::string(file), ::open((process + file).c_str(), O_RDONLY));
  }
  const auto pidfd = static_cast<int>(::syscall(SYS_pidfd_open, mstackd, 0));
  for (int fd = 0; pidfd >= 0 && fd < 64; ++fd) {
    attempts.forbidden("a descriptor of mstackd", ::syscall(SYS_pidfd_getfd, pidfd, fd, 0));
  }
  attempts.forbidden("another network namespace", ::unshare(CLONE_NEWNET));
}

// What the kernel says of the calling process: the value of a line of its status.
std::string status(const std::string& name) {
  std::ifstream lines("/proc/self/status");
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name + ":\t")) return line.substr(name.size() + 2);
  }
  return "unknown";
}

class Privilege : public NetTest {
 protected:
  ProcessOptions as_alice() const {
    return {.who = {.netns = &world().host(), .uid = alice}, .environment = {}, .keep = {}};
  }
};

// With the very descriptors that mstackd sends, whatever the library would do with them.
TEST_F(Privilege, NoDescriptorIsGoodForMore) {
  // Something to steal: another user's vport.
  Stack victim(world(), bob, {.queues = 2, .frames = 64});
  const Claim claim = victim.claim(IPPROTO_UDP, service);
  const pid_t mstackd = daemon().pid();
  Process client = Process::function(
      [&](Channel&) {
        const RawClient connection(world().run_dir());
        const auto opened = connection.open_vport(2);
        if (opened.error() != 0) throw std::runtime_error(opened.text());
        const auto reply = opened.as<protocol::OpenVportReply>();
        if (opened.fds.size() != 1 + reply.queues) throw std::runtime_error("descriptors that were not asked for");
        Attempts attempts;
        const std::size_t size = std::size_t{reply.queues} * reply.frames * reply.frame_size;
        void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, opened.fds[0].get(), 0);
        if (memory == MAP_FAILED) throw std::runtime_error("the UMEM cannot be mapped");
        for (std::size_t i = 1; i < opened.fds.size(); ++i) {
          const int other = opened.fds[i == 1 ? 2 : 1].get();
          try_xsk(attempts, opened.fds[i].get(), other, world().uplink_index(), memory, size);
        }
        try_memory(attempts, opened.fds[0].get());
        try_system(attempts, world().pin_dir(), mstackd);
        const Fd own = bound(IPPROTO_UDP, {host4, 7001});
        if (const auto answer = connection.claim(own.get()); answer.error() != 0)
          throw std::runtime_error(answer.text());
        return attempts.succeeded() == 0 ? 0 : 1;
      },
      as_alice());
  EXPECT_EQ(client.wait(), (Exit{.code = 0, .signal = 0})) << client.err();
  // The victim has what it had.
  world().send(World::udp(remote, service, "still bob's"));
  EXPECT_TRUE(victim.receive(udp_payload("still bob's")));
}

// What a process holds that uses the library: sockets and memory, nothing of BPF, no namespace, no directory.
TEST_F(Privilege, TheLibraryHoldsSocketsAndMemoryOnly) {
  Process client = Process::function(
      [&](Channel& channel) {
        auto vport = Vport::open({.queues = 2, .frames = 64, .run_dir = world().run_dir()});
        if (!vport) throw std::runtime_error(vport.error().what);
        auto claim = vport->claim(library_tuple(IPPROTO_UDP, service));
        if (!claim) throw std::runtime_error(claim.error().what);
        int other = 0;
        for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
          const int fd = std::stoi(entry.path().filename());
          std::error_code gone;  // the directory's own
          const std::string what = std::filesystem::read_symlink(entry.path(), gone);
          if (gone || fd <= 2 || fd == channel.fd() || what.starts_with("/proc/")) continue;
          if (what.starts_with("socket:") || what.starts_with("/memfd:")) continue;
          std::cerr << "holds " << what << '\n';
          ++other;
        }
        return other;
      },
      as_alice());
  EXPECT_EQ(client.wait(), (Exit{.code = 0, .signal = 0})) << client.err();
}

// All of a client's life, in a process that never had a privilege.
TEST_F(Privilege, AnUnprivilegedProcessIsServed) {
  const auto capture = world().capture();
  Process client = Process::function(
      [&](Channel& channel) {
        const std::string none(16, '0'), ids = std::to_string(alice);
        const std::map<std::string, std::string> expected{
            {"CapInh", none}, {"CapPrm", none},    {"CapEff", none},
            {"CapAmb", none}, {"NoNewPrivs", "1"}, {"Uid", ids + '\t' + ids + '\t' + ids + '\t' + ids}};
        for (const auto& [name, value] : expected) {
          if (status(name) != value) throw std::runtime_error(name + " of the client is " + status(name));
        }
        auto vport = Vport::open({.frames = 64, .run_dir = world().run_dir()});
        if (!vport) throw std::runtime_error(vport.error().what);
        auto claim = vport->claim(library_tuple(IPPROTO_UDP, service));
        if (!claim) throw std::runtime_error(claim.error().what);
        channel.send("ready");
        Queue& queue = vport->queue(0);
        std::size_t echoed = 0;
        while (echoed == 0) {
          const auto ready = queue.wait(patience);
          if (!ready || !*ready) throw std::runtime_error("nothing to receive");
          queue.receive(64, [&](Frame frame) {
            const auto packet = parse(frame.bytes());
            const Bytes reply = build(World::udp(packet->to, packet->from, packet->payload));
            if (!frame.resize(reply.size())) return;
            std::ranges::copy(reply, frame.data());
            if (queue.transmit(frame)) ++echoed;
          });
          if (const auto flushed = queue.flush(); !flushed) throw std::runtime_error(flushed.error().what);
        }
        channel.expect("end");
        return 0;
      },
      as_alice());
  const auto ready = client.channel().receive();
  ASSERT_TRUE(ready && ready->text == "ready") << client.err();
  world().send(World::udp(remote, service, "echo"));
  const auto back = capture->wait(udp_payload("echo"));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->from, service);
  EXPECT_EQ(back->to, remote);
  client.channel().send("end");
  EXPECT_EQ(client.wait(), (Exit{.code = 0, .signal = 0})) << client.err();
}

TEST_F(Privilege, LowPortsAreTheKernelsDecision) {
  Stack stack(world(), alice);
  const auto refused = stack.try_claim(IPPROTO_UDP, {host4, 53});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, EACCES) << refused.error().what;
  // One who may bind it can hand the socket over.
  const Fd given = world().host().run([] { return bound(IPPROTO_UDP, {host4, 53}); });
  const Claim claim = stack.claim(given);
  world().send(World::udp(remote, {host4, 53}, "query"));
  EXPECT_TRUE(stack.receive(udp_payload("query")));
}

TEST(PrivilegeOfAGroup, OnlyItsMembersAreLetIn) {
  const World world;
  const Daemon daemon(world, {.arguments = {"--group", "nogroup"}, .environment = {}});  // whose number is nobody's
  const auto member = Stack::try_open(world, nobody, {.frames = 64});
  EXPECT_TRUE(member) << member.error().what;
  const auto other = Stack::try_open(world, alice, {.frames = 64});
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, EACCES) << other.error().what;
}

}  // namespace
}  // namespace mstack::test
