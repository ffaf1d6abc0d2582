// SPDX-License-Identifier: BSD-2-Clause
//
// Messages to mstackd at random, most of them nearly right, with descriptors of all kinds in any number. It must
// neither end nor leak, and bob's stack must go on working all the while.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <iostream>
#include <random>
#include <thread>

#include "seed.hpp"
#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

using protocol::Type;
constexpr auto duration = 10s;
constexpr std::uint16_t first_port = 20000, ports = 400;
const Endpoint bobs{host4, 7000}, remote{wire4, 4000};

class Fuzzer {
 public:
  Fuzzer(std::string run_dir, std::uint64_t seed) : run_dir_(std::move(run_dir)), random_(seed) {}

  void run(const std::atomic<bool>& stop) {
    while (!stop) {
      try {
        const RawClient client{run_dir_};
        if (below(4) == 0) open(client);
        const std::size_t messages = 1 + below(400);
        for (std::size_t i = 0; i < messages && !stop; ++i) one(client);
        if (below(8) == 0) ::shutdown(client.fd(), static_cast<int>(below(3)));
      } catch (const std::exception&) {  // it was ended: connect anew
        ++ended_;
      }
      kept_.clear();
    }
  }
  std::uint64_t sent() const { return sent_; }
  std::uint64_t answered() const { return answered_; }
  std::uint64_t ended() const { return ended_; }

 private:
  std::size_t below(std::size_t end) { return random_() % end; }

  template <typename Message>
  static Bytes bytes_of(const Message& message) {
    const auto* begin = reinterpret_cast<const std::uint8_t*>(&message);
    return Bytes(begin, begin + sizeof(message));
  }

  void open(const RawClient& client) {
    auto answer = client.open_vport(1 + static_cast<std::uint32_t>(below(3)), 64);
    for (Fd& fd : answer.fds) {
      if (below(3) == 0) kept_.push_back(std::move(fd));
    }
  }

  Bytes nearly_right(std::size_t fds) {
    switch (below(40)) {
      case 0: return bytes_of(RawClient::open_request(static_cast<std::uint32_t>(below(18)), 1U << below(20)));
      case 1:
        return bytes_of(protocol::ResumeVport{.header = RawClient::header(Type::resume_vport),
                                              .vport = static_cast<std::uint32_t>(below(100)),
                                              .zero = 0});
      case 2:
      case 3:
      case 4:
      case 5: {
        protocol::Release release{.header = RawClient::header(Type::release),
                                  .count = static_cast<std::uint32_t>(below(252)),
                                  .zero = 0,
                                  .tuples = {}};
        for (auto& each : release.tuples) {
          each = below(8) == 0 ? tuple(IPPROTO_UDP, bobs) : tuple(IPPROTO_UDP, {host4, any_port()});
          if (below(16) == 0) each.zero = 1;
        }
        return bytes_of(release);
      }
      case 6: {
        protocol::Uplink uplink{.header = RawClient::header(below(2) == 0 ? Type::attach_uplink : Type::detach_uplink),
                                .name = {},
                                .mode = static_cast<protocol::XdpMode>(below(5)),
                                .flags = static_cast<std::uint32_t>(below(3))};
        const std::string name = below(2) == 0 ? "up0" : std::string(16, 'x');
        std::ranges::copy(name, uplink.name.begin());
        return bytes_of(uplink);
      }
      default:
        return bytes_of(protocol::Claim{.header = RawClient::header(Type::claim),
                                        .count = static_cast<std::uint32_t>(below(64) == 0 ? below(300) : fds),
                                        .flags = 0});
    }
  }

  void mutate(Bytes& message) {
    switch (below(80)) {
      case 0:
        for (std::size_t i = 0, flips = 1 + below(8); i < flips && !message.empty(); ++i)
          message[below(message.size())] ^= static_cast<std::uint8_t>(1U << below(8));
        break;
      case 1: message.resize(below(message.size() + 1)); break;
      case 2: message.resize(message.size() + below(8000)); break;
      case 3:
        if (message.size() >= 4) message[below(4) == 0 ? 0 : 4] = static_cast<std::uint8_t>(random_());
        break;
      case 4: std::ranges::generate(message, [&] { return static_cast<std::uint8_t>(random_()); }); break;
      default: break;  // right as it is
    }
  }

  std::uint16_t any_port() { return static_cast<std::uint16_t>(first_port + below(ports)); }

  Fd any_descriptor() {
    switch (below(12)) {
      case 0: return Fd{::open("/dev/null", O_RDWR | O_CLOEXEC)};
      case 1: return Fd{::eventfd(0, EFD_CLOEXEC)};
      case 2: return Fd{::memfd_create("fuzz", MFD_CLOEXEC)};
      case 3: return kept_.empty() ? Fd{::eventfd(0, EFD_CLOEXEC)} : kept_[below(kept_.size())].duplicate();
      case 4: return make_socket(IPPROTO_UDP, false);  // not bound
      case 5: return Fd{::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)};
      default: {
        const int protocol = below(3) == 0 ? IPPROTO_TCP : IPPROTO_UDP;
        const bool ipv6 = below(3) == 0;
        const std::array<std::string, 4> four{host4, host4_second, "0.0.0.0", "127.0.0.1"},
            six{host6, host6_second, "::", "::1"};
        Fd fd = make_socket(protocol, ipv6, {.reuse_address = below(2) == 0, .v6only = below(2) == 0});
        bind_error(fd.get(), {(ipv6 ? six : four)[below(4)], any_port()});
        if (below(10) == 0 && protocol == IPPROTO_TCP) ::listen(fd.get(), 1);
        return fd;
      }
    }
  }

  void one(const RawClient& client) {
    std::vector<Fd> descriptors;
    std::vector<int> fds;
    const std::size_t count = below(3) == 0 ? 0 : below(20) == 0 ? below(254) : 1 + below(6);
    for (std::size_t i = 0; i < count; ++i) {
      Fd fd = any_descriptor();
      if (!fd) continue;
      fds.push_back(descriptors.emplace_back(std::move(fd)).get());
    }
    Bytes message = nearly_right(fds.size());
    mutate(message);
    const int error = client.send(message, fds, MSG_DONTWAIT);
    sent_ += error == 0;
    // Some are closed before mstackd has seen them, some live on for a while.
    for (Fd& fd : descriptors) {
      if (below(6) == 0 && kept_.size() < 64) kept_.push_back(std::move(fd));
    }
    if (error == 0 && below(2) == 0) {
      const auto answer = client.receive(Deadline{20s});
      if (!answer) throw std::runtime_error("ended");
      ++answered_;
    }
  }

  std::string run_dir_;
  std::mt19937_64 random_;
  std::vector<Fd> kept_;
  std::uint64_t sent_ = 0, answered_ = 0, ended_ = 0;
};

class Fuzz : public NetTest {};

TEST_F(Fuzz, MessagesAndDescriptors) {
  const std::uint64_t first_seed = seed();
  std::cout << "MSTACK_SEED=" << first_seed << '\n';
  Stack stack(world(), bob);
  const Claim claim = stack.claim(IPPROTO_UDP, bobs);

  std::atomic<bool> stop = false;
  std::array<std::unique_ptr<Fuzzer>, 3> fuzzers;
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < fuzzers.size(); ++i) {
    fuzzers[i] = std::make_unique<Fuzzer>(world().run_dir(), first_seed + i);
    threads.emplace_back([&, i] {
      assume({.netns = &world().host(), .uid = alice, .cgroup = {}});
      fuzzers[i]->run(stop);
    });
  }
  int rounds = 0;
  for (const Deadline end{duration}; !end.passed() && !HasFailure(); ++rounds) {
    const std::string text = "still here " + std::to_string(rounds);
    world().send(World::udp(remote, bobs, text));
    EXPECT_TRUE(stack.receive(udp_payload(text))) << "bob's stack does not receive";
    stack.send(World::udp(bobs, remote, text));
    EXPECT_TRUE(pins().claimed(IPPROTO_UDP, bobs));
    EXPECT_TRUE(daemon().running());
    const auto port = static_cast<std::uint16_t>(7100 + rounds % 100);
    const auto another = stack.try_claim(IPPROTO_UDP, {host4, port});
    EXPECT_TRUE(another) << another.error().what;
  }
  stop = true;
  std::uint64_t sent = 0, answered = 0, ended = 0;
  for (std::size_t i = 0; i < fuzzers.size(); ++i) {
    threads[i].join();
    sent += fuzzers[i]->sent();
    answered += fuzzers[i]->answered();
    ended += fuzzers[i]->ended();
  }
  std::cout << sent << " messages sent, " << answered << " answers read, " << ended << " connections ended; " << rounds
            << " rounds of bob's\n";
  EXPECT_GT(answered, 0U);
  EXPECT_TRUE(pins().claimed(IPPROTO_UDP, bobs));
}

}  // namespace
}  // namespace mstack::test
