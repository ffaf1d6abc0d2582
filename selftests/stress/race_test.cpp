// SPDX-License-Identifier: BSD-2-Clause
//
// Races around who owns a tuple. An attacker binds, claims, connects, disconnects, binds anew, releases and closes, in
// several threads and as fast as it goes, on a few ports that a victim of another user wants as well. Whenever the
// victim holds a port alone, it is the victim's: no claim of another may stand on it, and its datagrams must come.
#include <bpf/bpf.h>
#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <fstream>
#include <iostream>
#include <random>
#include <thread>
#include <tuple>

#include "seed.hpp"
#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

constexpr std::uint16_t first_port = 40100, ports = 4;
constexpr int rounds_of_victim = 20'000;
constexpr auto at_most = 15s;
const Endpoint remote{wire4, 4000};

class Race : public NetTest {
 protected:
  Race() {
    world().host().run(
        [] { std::ofstream("/proc/sys/net/ipv4/ip_local_port_range") << first_port << ' ' << first_port + ports - 1; });
    std::cout << "MSTACK_SEED=" << seed_ << '\n';
  }
  void TearDown() override {
    // The fixture's own client needs a port too.
    world().host().run([] { std::ofstream("/proc/sys/net/ipv4/ip_local_port_range") << "32768 60999"; });
    NetTest::TearDown();
  }

  template <typename Random>
  static std::uint16_t any_port(Random& random) {
    return static_cast<std::uint16_t>(first_port + random() % ports);
  }

  // One life of a socket of the attacker's, at random.
  void attack_once(const RawClient& client, int& unanswered, std::mt19937_64& random) {
    const int protocol = random() % 4 == 0 ? IPPROTO_TCP : IPPROTO_UDP;
    const bool ipv6 = random() % 4 == 0;
    const Fd socket =
        make_socket(protocol, ipv6,
                    {.reuse_address = random() % 2 == 0, .reuse_port = random() % 4 == 0, .v6only = random() % 2 == 0});
    const std::array<std::string, 3> four{host4, host4_second, "0.0.0.0"}, six{host6, host6_second, "::"};
    const auto any_address = [&] { return (ipv6 ? six : four)[random() % 3]; };
    const auto any_bind = [&] {
      return bind_error(socket.get(), {any_address(), random() % 4 == 0 ? std::uint16_t{0} : any_port(random)});
    };
    if (any_bind() != 0) return;
    const int steps = static_cast<int>(random() % 6);
    bool asked = false;
    for (int i = 0; i < steps; ++i) {
      switch (random() % 8) {
        case 0:
        case 1:
        case 2:
          if (!asked) asked = claim(client, socket.get());
          break;
        case 3: {
          const SocketAddress to{ipv6 ? Endpoint{wire6, 4000} : remote};
          if (protocol == IPPROTO_UDP) std::ignore = ::connect(socket.get(), to.get(), to.size);
          break;
        }
        case 4: {
          const sockaddr nowhere{.sa_family = AF_UNSPEC, .sa_data = {}};
          std::ignore = ::connect(socket.get(), &nowhere, sizeof(nowhere));
          break;
        }
        case 5: any_bind(); break;
        case 6: ::setsockopt(socket.get(), SOL_SOCKET, SO_BINDTODEVICE, "lo", 3); break;
        default: {
          const int one = 1;
          ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
          break;
        }
      }
    }
    // Half the time it is closed before the answer, which is then read in a later life.
    unanswered += asked;
    if (random() % 2 != 0 && unanswered < 16) return;
    for (; unanswered > 0; --unanswered) {
      if (const auto answer = client.receive(); answer && answer->error() == 0) ++granted_;
    }
  }
  static bool claim(const RawClient& client, int fd) {
    return client.send(protocol::Claim{.header = RawClient::header(protocol::Type::claim), .count = 1, .flags = 0},
                       std::span(&fd, 1)) == 0;
  }
  // What stands on the tuple, or on the wildcard over it, of another owner than this.
  bool is_claimed_by_other(const Fd& map, int protocol, const Endpoint& endpoint, std::uint64_t cookie) const {
    for (const std::string& address : {endpoint.address, std::string(endpoint.ipv6() ? "::" : "0.0.0.0")}) {
      const mstack_tuple key = tuple(protocol, {address, endpoint.port});
      mstack_claim claim{};
      if (::bpf_map_lookup_elem(map.get(), &key, &claim) == 0 && claim.state == MSTACK_CLAIM_ACTIVE &&
          claim.cookie != cookie)
        return true;
    }
    return false;
  }

  std::uint64_t seed_ = seed();
  std::atomic<std::uint64_t> granted_ = 0;  // claims, to the attacker
  std::atomic<std::uint64_t> ended_ = 0;    // connections of the attacker's, by mstackd
};

TEST_F(Race, AVictimsPortIsTheVictims) {
  std::vector<std::jthread> attackers;
  for (int i = 0; i < 3; ++i) {
    attackers.emplace_back([&, i](const std::stop_token& stop) {
      assume({.netns = &world().host(), .uid = alice, .cgroup = {}});
      std::mt19937_64 random(seed_ + static_cast<unsigned>(i));
      while (!stop.stop_requested()) {
        try {
          const RawClient client{world().run_dir()};
          client.open_vport();
          int unanswered = 0;
          for (int life = 0; life < 200 && !stop.stop_requested(); ++life) attack_once(client, unanswered, random);
        } catch (const std::exception&) {
          ++ended_;
        }
      }
    });
  }

  std::mt19937_64 random(seed_ - 1);
  const Fd claims = pins().open("claims");
  const Deadline deadline{at_most};
  int held = 0, delivered = 0, picked = 0;
  for (int round = 0; round < rounds_of_victim && !deadline.passed() && !HasFailure(); ++round) {
    const bool unbound = random() % 3 == 0;
    const int protocol = unbound || random() % 4 != 0 ? IPPROTO_UDP : IPPROTO_TCP;
    const Fd socket = as_user(bob, [&] {
      Fd made = make_socket(protocol, false);
      if (unbound) {
        const SocketAddress to{remote};
        if (::connect(made.get(), to.get(), to.size) < 0) made.reset();
      } else if (bind_error(made.get(), {random() % 2 == 0 ? host4 : "0.0.0.0", any_port(random)}) != 0) {
        made.reset();
      }
      return made;
    });
    if (!socket) continue;
    ++held;
    picked += unbound;
    const Endpoint at{host4, local_endpoint(socket.get()).port};
    const std::uint64_t cookie = socket_cookie(socket.get());
    for (int look = 0; look < 20; ++look) {
      ASSERT_FALSE(is_claimed_by_other(claims, protocol, at, cookie))
          << at << " is claimed, and " << (unbound ? "was given to" : "is bound by") << " the victim";
    }
    if (protocol != IPPROTO_UDP) continue;
    const std::string text = "round " + std::to_string(round);
    world().send(World::udp(remote, at, text));
    const auto got = receive_from(socket.get(), Deadline{10s});
    ASSERT_TRUE(got) << at << " is the victim's, but its datagram did not come";
    EXPECT_EQ(got->payload, text);
    ++delivered;
  }
  attackers.clear();
  std::cout << "the victim held a port " << held << " times, " << picked << " of them one that the kernel picked; "
            << delivered << " datagrams; the attacker was granted " << granted_ << " claims, and " << ended_
            << " connections ended\n";
  EXPECT_GT(held, 0);
  EXPECT_GT(granted_, 0U);
}

// Passed, and closed before mstackd looks: nothing stays, which TearDown() checks.
TEST_F(Race, PassedAndClosedAtOnce) {
  const RawClient client = raw_client();
  ASSERT_EQ(client.open_vport().error(), 0);
  std::mt19937_64 random(seed_);
  int unanswered = 0;
  for (int i = 0; i < 2000; ++i) {
    auto socket = world().host().run([&] { return try_bind(IPPROTO_UDP, {host4, any_port(random)}); });
    if (!socket) continue;  // mstackd has not closed its copy of the last one there
    ASSERT_TRUE(claim(client, socket->get()));
    socket->reset();
    if (++unanswered < 8) continue;
    for (; unanswered > 0; --unanswered) ASSERT_TRUE(client.receive());
  }
}

// The connection ends while its claim is looked at.
TEST_F(Race, ClaimedByAConnectionThatEnds) {
  const Fd socket = bound_as(alice, IPPROTO_UDP, {host4, first_port});
  for (int i = 0; i < 24; ++i) {
    RawClient client = raw_client();
    ASSERT_EQ(client.open_vport().error(), 0);
    for (int more = 0; more < i % 4; ++more) claim(client, socket.get());
    client.close();
  }
  EXPECT_TRUE(eventually([&] { return pins().claims().empty(); }));
  EXPECT_EQ(pins().gate_sum(), 0U);
}

// One socket, several vports, at once: one of them gets it, and none when it is closed.
TEST_F(Race, OneSocketClaimedByManyAtOnce) {
  constexpr int many = 4;
  std::vector<RawClient> clients;
  std::vector<std::uint32_t> ids;
  for (int i = 0; i < many; ++i) {
    clients.push_back(raw_client(i % 2 == 0 ? alice : bob));
    ids.push_back(clients.back().open_vport().as<protocol::OpenVportReply>().vport);
  }
  std::barrier start(many);
  for (int round = 0; round < 100; ++round) {
    Fd socket = bound_as(alice, round % 2 == 0 ? IPPROTO_UDP : IPPROTO_TCP, {host4, first_port});
    std::array<int, many> errors{};
    {
      std::vector<std::jthread> threads;
      for (std::size_t i = 0; i < many; ++i) {
        threads.emplace_back([&, i] {
          start.arrive_and_wait();
          errors[i] = clients[i].claim(socket.get()).error();
        });
      }
    }
    EXPECT_EQ(std::ranges::count(errors, 0), 1);
    EXPECT_EQ(std::ranges::count(errors, EADDRINUSE), many - 1);
    const auto claims = pins().claims();
    ASSERT_EQ(claims.size(), 1U);
    const auto winner = static_cast<std::size_t>(std::ranges::find(errors, 0) - errors.begin());
    EXPECT_EQ(claims[0].second.vport, ids.at(winner));
    socket.reset();
    ASSERT_TRUE(eventually([&] { return pins().claims().empty() && pins().gate_sum() == 0; }));
  }
}

}  // namespace
}  // namespace mstack::test
