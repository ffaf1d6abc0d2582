// SPDX-License-Identifier: BSD-2-Clause
//
// The host's addresses come and go while claims on them live: exact ones, wildcards, and both families' at once; with
// mstackd there, dead and started again; and under traffic.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "support/fixture.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

const std::string late4 = "192.0.2.77", late6 = "2001:db8::77";
const Endpoint always{host4, 7001};  // a tuple whose address stays

// A wider prefix on lo would make all of it the host's.
std::string with_prefix(const std::string& address, const std::string& device) {
  if (device == "lo") return address;
  return address + (address.contains(':') ? "/64" : "/24");
}
Endpoint peer_of(const Endpoint& local) {
  return {local.ipv6() ? wire6 : wire4, 4000};
}

class AddressChanges : public NetTest {
 protected:
  explicit AddressChanges(const WorldOptions& options = {}) : NetTest(options) {}

  void host(const std::string& command) const { World::in(world().host(), command); }
  void add(const std::string& address, const std::string& device = uplink) const {
    host("ip addr add " + with_prefix(address, device) + " dev " + device + (address.contains(':') ? " nodad" : ""));
  }
  void remove(const std::string& address, const std::string& device = uplink) const {
    host("ip addr del " + with_prefix(address, device) + " dev " + device);
  }
  // Many lines of ip(8) at once.
  void batch(const std::string& lines) const {
    const std::string file = world().directory() + "/batch";
    std::ofstream(file) << lines;
    host("ip -batch " + file);
  }

  std::optional<std::uint32_t> state(const Endpoint& endpoint, int protocol = IPPROTO_UDP) const {
    for (const auto& [key, claim] : pins().claims())
      if (same(key, tuple(protocol, endpoint))) return claim.state;
    return std::nullopt;
  }
  bool becomes(const Endpoint& endpoint, mstack_claim_state wanted, int protocol = IPPROTO_UDP) const {
    return eventually([&] { return state(endpoint, protocol) == wanted; });
  }

  // One packet in, one out, at once.
  testing::AssertionResult works(Stack& stack, const Endpoint& local) const {
    const auto capture = world().capture();
    const std::string text = "number " + std::to_string(++number_);
    world().send(World::udp(peer_of(local), local, text));
    if (!stack.receive(udp_payload(text))) return testing::AssertionFailure() << "nothing comes to " << local;
    stack.send(World::udp(local, peer_of(local), text));
    const auto sent = capture->wait(udp_payload(text));
    if (!sent) return testing::AssertionFailure() << "nothing leaves from " << local;
    if (sent->from != local) return testing::AssertionFailure() << "it leaves from " << sent->from;
    return testing::AssertionSuccess();
  }
  // Nothing in or out, by these reasons; `always` is the stack's too.
  testing::AssertionResult is_shut(Stack& stack, const Endpoint& local, mstack_verdict in, mstack_verdict out) const {
    const auto capture = world().capture();
    const auto received = pins().counter(in), sent = pins().counter(out);
    const std::string text = "number " + std::to_string(++number_);
    world().send(World::udp(peer_of(local), local, text));
    stack.send(World::udp(local, peer_of(local), text));
    if (auto other = works(stack, always); !other) return other;
    if (std::ranges::any_of(stack.seen(), [&](const Packet& packet) { return packet.payload == text; }))
      return testing::AssertionFailure() << "the stack gets what comes to " << local;
    if (capture->count(udp_payload(text)) != 0) return testing::AssertionFailure() << "it leaves from " << local;
    if (pins().counter(in) != received + 1) return testing::AssertionFailure() << verdict_name(in) << " is not counted";
    if (pins().counter(out) != sent + 1) return testing::AssertionFailure() << verdict_name(out) << " is not counted";
    return testing::AssertionSuccess();
  }
  testing::AssertionResult is_suspended(Stack& stack, const Endpoint& local) const {
    return is_shut(stack, local, MSTACK_RX_PASS_UNCLAIMED, MSTACK_TX_DROP_UNCLAIMED);
  }
  testing::AssertionResult is_not_covered(Stack& stack, const Endpoint& local) const {
    return is_shut(stack, local, MSTACK_RX_PASS_NOT_LOCAL, MSTACK_TX_DROP_NOT_LOCAL);
  }

 private:
  mutable int number_ = 0;
};

class OneAddress : public AddressChanges, public testing::WithParamInterface<std::string> {
 protected:
  const std::string& address() const { return GetParam(); }
  Endpoint service() const { return {address(), 7000}; }
};
INSTANTIATE_TEST_SUITE_P(Families, OneAddress, testing::Values(late4, late6),
                         [](const auto& chosen) { return chosen.param == late4 ? "IPv4" : "IPv6"; });

TEST_P(OneAddress, AnExactClaimIsSuspendedWhileItIsGone) {
  add(address());
  Stack stack(world());
  const Claim other = stack.claim(IPPROTO_UDP, always);
  Claim claim = stack.claim(IPPROTO_UDP, service());
  EXPECT_TRUE(works(stack, service()));
  for (int times = 0; times < 3; ++times) {
    remove(address());
    ASSERT_TRUE(becomes(service(), MSTACK_CLAIM_SUSPENDED));
    EXPECT_TRUE(is_suspended(stack, service()));
    // It is nobody else's meanwhile, not even for those who may bind what is not there.
    const Fd freebind = as_user(
        bob, [&] { return make_socket(IPPROTO_UDP, service().ipv6(), {.reuse_address = true, .freebind = true}); });
    EXPECT_EQ(as_user(bob, [&] { return bind_error(freebind.get(), service()); }), EADDRINUSE);
    const auto shown = nlohmann::json::parse(world().command({"claims", "--json"}).out)["claims"];
    EXPECT_EQ(std::ranges::count_if(shown, [](const auto& entry) { return entry["state"] == "suspended"; }), 1);
    add(address());
    ASSERT_TRUE(becomes(service(), MSTACK_CLAIM_ACTIVE));
    EXPECT_TRUE(works(stack, service()));
  }
  EXPECT_EQ(pins().gate_sum(), 2U);
  EXPECT_EQ(pins().slot_claims_sum(), 2U);
}

TEST_P(OneAddress, ASuspendedClaimEndsAsAnyOther) {
  Stack stack(world()), next(world(), bob);
  for (const bool by_request : {true, false}) {
    SCOPED_TRACE(by_request ? "released" : "closed");
    add(address());
    {
      const Fd owner = bound_as(alice, IPPROTO_UDP, service());
      Claim claim = stack.claim(owner);
      remove(address());
      ASSERT_TRUE(becomes(service(), MSTACK_CLAIM_SUSPENDED));
      if (by_request) {
        const auto released = stack.try_release(claim);
        EXPECT_TRUE(released) << released.error().what;
      }
    }
    EXPECT_EQ(state(service()), std::nullopt);
    EXPECT_EQ(pins().gate_sum(), 0U);
    EXPECT_EQ(pins().slot_claims_sum(), 0U);
    add(address());
    const Claim claim = next.claim(IPPROTO_UDP, service());
    EXPECT_TRUE(works(next, service()));
    remove(address());
  }
}

TEST_P(OneAddress, AWildcardTakesWhatThereIs) {
  Stack stack(world());
  const Claim other = stack.claim(IPPROTO_UDP, always);
  const Claim claim = stack.claim(IPPROTO_UDP, {address().contains(':') ? "::" : "0.0.0.0", 7000}, {.v6only = true});
  EXPECT_TRUE(is_not_covered(stack, service()));
  for (int times = 0; times < 3; ++times) {
    add(address(), times == 1 ? "lo" : uplink);
    const auto covered = [&] {
      const auto before = pins().counter(MSTACK_RX_STEERED);
      world().send(World::udp(peer_of(service()), service(), "is it there?"));
      return stack.receive(udp_payload("is it there?"), Deadline{50ms}) && pins().counter(MSTACK_RX_STEERED) > before;
    };
    ASSERT_TRUE(eventually(covered));
    EXPECT_TRUE(works(stack, service()));
    remove(address(), times == 1 ? "lo" : uplink);
    ASSERT_TRUE(eventually([&] { return !covered(); }));
    EXPECT_TRUE(is_not_covered(stack, service()));
    for (const auto& [key, entry] : pins().claims()) EXPECT_EQ(entry.state, MSTACK_CLAIM_ACTIVE);
  }
}

TEST_P(OneAddress, FollowedByTheNextMstackd) {
  add(address());
  Stack stack(world());
  const Claim other = stack.claim(IPPROTO_UDP, always);
  const Claim exact = stack.claim(IPPROTO_UDP, service());
  const Endpoint by_wildcard{address(), 7002};
  const Claim wildcard = stack.claim(IPPROTO_UDP, {address().contains(':') ? "::" : "0.0.0.0", 7002}, {.v6only = true});
  crash();
  remove(address());
  EXPECT_EQ(state(service()), MSTACK_CLAIM_ACTIVE) << "nobody follows, as mstackd(8) says";
  start();
  EXPECT_EQ(state(service()), MSTACK_CLAIM_SUSPENDED);
  EXPECT_TRUE(is_suspended(stack, service()));
  EXPECT_TRUE(is_not_covered(stack, by_wildcard));
  crash();
  EXPECT_TRUE(is_suspended(stack, service()));
  add(address());
  EXPECT_TRUE(is_suspended(stack, service()));
  EXPECT_TRUE(is_not_covered(stack, by_wildcard));
  start();
  EXPECT_EQ(state(service()), MSTACK_CLAIM_ACTIVE);
  EXPECT_TRUE(works(stack, service()));
  EXPECT_TRUE(works(stack, by_wildcard));
  // Gone and back between two mstackds: as if nothing had been.
  crash();
  remove(address());
  add(address());
  EXPECT_TRUE(works(stack, service()));
  start();
  EXPECT_EQ(state(service()), MSTACK_CLAIM_ACTIVE);
  EXPECT_TRUE(works(stack, service()));
  EXPECT_TRUE(works(stack, by_wildcard));
}

// It is the host's, whatever device has it: a claim loses no packet while it moves.
TEST_P(OneAddress, OneThatMovesIsNeverMissing) {
  add(address());
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  for (int times = 0; times < 10; ++times) {
    const bool home = times % 2 != 0;
    add(address(), home ? uplink : "lo");
    EXPECT_TRUE(works(stack, service())) << times;
    remove(address(), home ? "lo" : uplink);
    EXPECT_TRUE(works(stack, service())) << times;
  }
  EXPECT_EQ(pins().counter(MSTACK_TX_DROP_UNCLAIMED) + pins().counter(MSTACK_TX_DROP_NOT_LOCAL), 0U);
  EXPECT_EQ(daemon().log().find("is suspended"), std::string::npos);
}

// :: of both families is two claims, and each follows the addresses of its own.
TEST_F(AddressChanges, ADualStackWildcardFollowsBothFamilies) {
  Stack stack(world());
  const Claim other = stack.claim(IPPROTO_UDP, always);
  const Claim claim = stack.claim(IPPROTO_UDP, {"::", 7000});
  const auto has = [&](const std::string& address) {
    return eventually([&] {
      world().send(World::udp(peer_of({address, 7000}), {address, 7000}, "to " + address));
      return stack.receive(udp_payload("to " + address), Deadline{50ms}).has_value();
    });
  };
  const auto lost = [&](const std::string& address) {
    return eventually([&] {
      const auto before = pins().counter(MSTACK_RX_PASS_NOT_LOCAL);
      world().send(World::udp(peer_of({address, 7000}), {address, 7000}, "to " + address));
      EXPECT_TRUE(works(stack, always));
      return pins().counter(MSTACK_RX_PASS_NOT_LOCAL) > before;
    });
  };
  add(late4);
  add(late6);
  EXPECT_TRUE(has(late4) && has(late6));
  EXPECT_TRUE(works(stack, {late4, 7000}) && works(stack, {late6, 7000}));
  remove(late4);
  EXPECT_TRUE(lost(late4));
  EXPECT_TRUE(is_not_covered(stack, {late4, 7000}));
  EXPECT_TRUE(works(stack, {late6, 7000}));
  remove(late6);
  add(late4);
  EXPECT_TRUE(has(late4) && lost(late6));
  EXPECT_TRUE(is_not_covered(stack, {late6, 7000}));
  EXPECT_TRUE(works(stack, {late4, 7000}) && works(stack, {host6, 7000}));
}

// With an IPv4 address go the secondary ones of its network; with a device's end of service all of its IPv6 addresses.
TEST_F(AddressChanges, WhatTheKernelTakesAwayByItselfIsFollowedToo) {
  Stack stack(world());
  const Endpoint primary{host4, 7000}, secondary{host4_second, 7000}, six{host6, 7000};
  const Claim first = stack.claim(IPPROTO_UDP, primary), second = stack.claim(IPPROTO_TCP, secondary),
              third = stack.claim(IPPROTO_UDP, six);
  remove(host4);
  EXPECT_TRUE(becomes(primary, MSTACK_CLAIM_SUSPENDED));
  EXPECT_TRUE(becomes(secondary, MSTACK_CLAIM_SUSPENDED, IPPROTO_TCP));
  EXPECT_EQ(state(six), MSTACK_CLAIM_ACTIVE);
  add(host4);
  EXPECT_TRUE(becomes(primary, MSTACK_CLAIM_ACTIVE));
  EXPECT_TRUE(works(stack, primary));
  EXPECT_EQ(state(secondary, IPPROTO_TCP), MSTACK_CLAIM_SUSPENDED);
  add(host4_second);
  EXPECT_TRUE(becomes(secondary, MSTACK_CLAIM_ACTIVE, IPPROTO_TCP));
  host("ip link set up0 down");
  EXPECT_TRUE(becomes(six, MSTACK_CLAIM_SUSPENDED));
  EXPECT_EQ(state(primary), MSTACK_CLAIM_ACTIVE);
  host("ip link set up0 up");
  add(host6);
  EXPECT_TRUE(becomes(six, MSTACK_CLAIM_ACTIVE));
  EXPECT_TRUE(works(stack, six) && works(stack, primary));
}

// Nobody's until the kernel has asked the neighbours, and never if one of them has it.
TEST_F(AddressChanges, ADuplicateOfANeighboursIsNotTheHosts) {
  Stack stack(world());
  const Claim other = stack.claim(IPPROTO_UDP, always);
  const Claim wildcard = stack.claim(IPPROTO_UDP, {"::", 7000}, {.v6only = true});
  host("sysctl -qw net.ipv6.conf.up0.accept_dad=1");
  World::in(world().wire(), "ip addr add 2001:db8::77/64 dev wire0 nodad");
  host("ip addr add 2001:db8::77/64 dev up0");
  ASSERT_TRUE(eventually(
      [&] { return World::in(world().host(), "ip addr show dev up0").find("dadfailed") != std::string::npos; }));
  EXPECT_TRUE(is_not_covered(stack, {late6, 7000}));
  host("ip addr add 2001:db8::78/64 dev up0");
  EXPECT_TRUE(eventually([&] { return stack.try_claim(IPPROTO_UDP, {"2001:db8::78", 7004}).has_value(); }));
  EXPECT_TRUE(works(stack, {"2001:db8::78", 7000}));
  EXPECT_TRUE(is_not_covered(stack, {late6, 7000}));
}

TEST_F(AddressChanges, AllClaimsOnAnAddressAtOnce) {
  constexpr std::size_t count = 2000;
  add(late4);
  Stack stack(world());
  std::vector<int> numbers;
  const std::vector<Fd> owners = as_user(alice, [&] {
    std::vector<Fd> out;
    for (std::size_t i = 0; i < count; ++i) out.push_back(bound(IPPROTO_UDP, {late4, 0}));
    return out;
  });
  for (const Fd& owner : owners) numbers.push_back(owner.get());
  const auto claims = stack.try_claim_all(numbers);
  ASSERT_TRUE(std::ranges::all_of(claims, [](const auto& claim) { return claim.has_value(); }));
  const auto all_are = [&](mstack_claim_state wanted) {
    const auto now = pins().claims();
    return now.size() == count &&
           std::ranges::all_of(now, [&](const auto& entry) { return entry.second.state == wanted; });
  };
  for (int times = 0; times < 2; ++times) {
    remove(late4);
    EXPECT_TRUE(eventually([&] { return all_are(MSTACK_CLAIM_SUSPENDED); }));
    add(late4);
    EXPECT_TRUE(eventually([&] { return all_are(MSTACK_CLAIM_ACTIVE); }));
  }
  EXPECT_EQ(pins().gate_sum(), count);
  EXPECT_EQ(pins().slot_claims_sum(), count);
}

// A host with as many as there is room for: one that comes for another that went finds room.
TEST_F(AddressChanges, AsManyAsThereIsRoomFor) {
  std::string lines;
  const int others = MSTACK_MAX_ADDRS - 5;  // up0 has four, and a subnet
  const auto line = [](const char* verb, int i) {
    return std::string("addr ") + verb + " 2001:db8:ffff::" + std::to_string(i) + "/128 dev lo nodad\n";
  };
  for (int i = 0; i < others; ++i) lines += line("add", i);
  batch(lines);
  Stack stack(world());
  const std::string last = "2001:db8:ffff::" + std::to_string(others - 1);
  EXPECT_TRUE(eventually([&] { return stack.try_claim(IPPROTO_UDP, {last, 7000}).has_value(); }));
  ::kill(daemon().pid(), SIGSTOP);
  batch(line("del", 0) + line("add", 9999));
  ::kill(daemon().pid(), SIGCONT);
  EXPECT_TRUE(eventually([&] { return stack.try_claim(IPPROTO_UDP, {"2001:db8:ffff::9999", 7000}).has_value(); }));
  EXPECT_EQ(daemon().log().find("more than 4096"), std::string::npos);
  batch(line("add", 0));
  EXPECT_TRUE(eventually([&] { return daemon().log().find("more than 4096 addresses") != std::string::npos; }));
}

// The address flaps two hundred times under traffic. A claim on it comes back each time, what came and left under its
// name was its own, and who has nothing to do with it loses nothing.
TEST_F(AddressChanges, UnderTraffic) {
  constexpr std::uint64_t ahead = 64;
  add(late4);
  Stack stack(world()), bystander(world(), bob);
  const Endpoint exact{late4, 7000}, covered{late4, 7002};
  const Claim one = stack.claim(IPPROTO_UDP, exact);
  const Claim two = stack.claim(IPPROTO_UDP, {"0.0.0.0", 7002});
  const Claim three = bystander.claim(IPPROTO_UDP, always);
  const auto capture = world().capture();

  std::atomic<bool> stop = false, flapped = false;
  std::atomic<std::uint64_t> sent = 0, received = 0;
  std::thread sender([&] {
    for (std::uint64_t i = 0; !stop; ++i) {
      while (sent - received >= ahead && !stop) std::this_thread::yield();
      world().send(World::udp(peer_of(exact), exact, "exact"));
      world().send(World::udp(peer_of(covered), covered, "covered"));
      world().send(World::udp(peer_of(always), always, "always"));
      ++sent;
    }
  });
  std::thread flapper([&] {
    std::string lines;
    for (int i = 0; i < 200; ++i) lines += "addr del 192.0.2.77/24 dev up0\naddr add 192.0.2.77/24 dev up0\n";
    batch(lines);
    flapped = true;
  });
  std::uint64_t answered = 0, misled = 0;
  const auto poll = [&] {
    for (std::size_t seen = stack.seen().size(); answered < seen; ++answered) {
      const Packet& packet = stack.seen()[answered];
      if (packet.payload != (packet.to == exact ? "exact" : "covered")) ++misled;
      stack.send(World::udp(packet.to, packet.from, "answer"));
    }
    received = bystander.seen().size();
    stack.flush();
    bystander.flush();
  };
  const Deadline deadline;
  while (!flapped && !deadline.passed()) poll();
  flapper.join();
  ASSERT_TRUE(flapped);
  EXPECT_TRUE(eventually([&] {
    poll();
    return state(exact) == MSTACK_CLAIM_ACTIVE;
  }));
  stop = true;
  sender.join();
  EXPECT_TRUE(eventually([&] {
    poll();
    return received == sent;
  })) << received
      << " of " << sent;
  EXPECT_EQ(bystander.seen().size(), sent);
  EXPECT_TRUE(std::ranges::all_of(bystander.seen(), [](const Packet& packet) { return packet.payload == "always"; }));
  EXPECT_GT(answered, 0U);
  EXPECT_EQ(misled, 0U);
  EXPECT_TRUE(works(stack, exact) && works(stack, covered));
  EXPECT_EQ(capture->count([&](const Packet& packet) {
    return packet.payload == "answer" && packet.from != exact && packet.from != covered;
  }),
            0U);
}

// More news of addresses than the kernel keeps for mstackd.
TEST_F(AddressChanges, LostNewsAreMadeUpFor) {
  add(late4);
  Stack stack(world());
  const Claim other = stack.claim(IPPROTO_UDP, always);
  const Claim claim = stack.claim(IPPROTO_UDP, {late4, 7000});
  std::string flood;
  for (int i = 0; i < 4000; ++i) flood += "addr add 203.0.113.77/32 dev lo\naddr del 203.0.113.77/32 dev lo\n";
  for (const bool gone : {true, false}) {
    ::kill(daemon().pid(), SIGSTOP);
    batch(flood);
    gone ? remove(late4) : add(late4);
    ::kill(daemon().pid(), SIGCONT);
    EXPECT_TRUE(becomes({late4, 7000}, gone ? MSTACK_CLAIM_SUSPENDED : MSTACK_CLAIM_ACTIVE));
  }
  EXPECT_NE(daemon().log().find("more happened"), std::string::npos) << "the kernel kept all of it";
  EXPECT_TRUE(works(stack, {late4, 7000}));
}

}  // namespace
}  // namespace mstack::test
