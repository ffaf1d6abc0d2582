// SPDX-License-Identifier: BSD-2-Clause
//
// Peers that know nothing of this repository: ping, traceroute and scapy. A stack gets what is its own, as it was sent,
// and nothing else; what is nobody's is the kernel's.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <regex>

#include "support/fixture.hpp"
#include "support/scapy.hpp"
#include "support/stack.hpp"

namespace mstack::test {
namespace {

using Json = nlohmann::json;

struct Family {
  const char* name;
  std::string host, wire, near, far;
  std::size_t headers;  // in front of what ping sends
};
const Family families[] = {{"IPv4", host4, wire4, near4, far4, 28}, {"IPv6", host6, wire6, near6, far6, 48}};

using Mode = std::tuple<const char*, Family>;

std::string name_of(const ::testing::TestParamInfo<Mode>& chosen) {
  return std::string(std::get<0>(chosen.param)) + "_" + std::get<1>(chosen.param).name;
}

class PeerTest : public NetTest, public ::testing::WithParamInterface<Mode> {
 protected:
  explicit PeerTest(const WorldOptions& options = {}) : NetTest(options) {}
  void start_in_mode() { start({.arguments = {}, .xdp_mode = std::get<0>(GetParam()), .environment = {}}); }
  const Family& family() const { return std::get<1>(GetParam()); }
  bool ipv6() const { return family().host == host6; }
  Endpoint service() const { return {family().host, 7000}; }
  Endpoint kernels() const { return {family().host, 7001}; }
  Endpoint remote() const { return {family().wire, 4000}; }
  Fd on_the_wire() const {
    return world().wire().run([&] { return bound(IPPROTO_UDP, remote()); });
  }
};

// ---- ping and traceroute, beside a claim

class Peers : public PeerTest {
 protected:
  Peers() : PeerTest({.far = true}) {}
  void SetUp() override {
    start_in_mode();
    // Of kernels, which send one a second to a peer otherwise, and so many a second in all their namespaces.
    for (const Namespace* netns : {&world().host(), &world().wire(), &world().far()})
      World::in(*netns,
                "sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv4.icmp_ratemask=0 net.ipv6.icmp.ratelimit=0 "
                "net.ipv6.icmp.ratemask=0");
  }

  Completed ping(const Namespace& from, const std::string& to, std::size_t size) const {
    return run({"ping", "-n", "-c", "1", "-W", "20", "-M", "do", "-s", std::to_string(size), to},
               {.who = {.netns = &from}, .environment = {}, .keep = {}});
  }
  // Who answered at which hop, one a line: "1 192.0.2.2", "2 *".
  std::string trace(const Namespace& from, const std::string& to, std::vector<std::string> how) const {
    how.insert(how.begin(), {"traceroute", "-n", "-q", "1"});
    how.push_back(to);
    const std::string out = run_or_throw(how, {.who = {.netns = &from}, .environment = {}, .keep = {}});
    static const std::regex hop(R"(\n *(\d+)  ([0-9a-f.:]+|\*))");
    std::string hops;
    for (std::sregex_iterator at(out.begin(), out.end(), hop), end; at != end; ++at)
      hops += at->str(1) + ' ' + at->str(2) + '\n';
    return hops;
  }
  // The claim's own traffic goes there and back, and the stack has got nothing but that.
  void expect_undisturbed(Stack& stack, const Fd& peer) {
    const std::string text = "its own " + std::to_string(++received_);
    send_to(peer.get(), service(), text);
    EXPECT_TRUE(stack.receive(udp_payload(text)));
    stack.send(World::udp(service(), remote(), "answer to " + text));
    const auto answer = receive_from(peer.get());
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->payload, "answer to " + text);
    (void)stack.seen();
    EXPECT_EQ(stack.seen_on(0), received_);
  }

  std::size_t received_ = 0;  // by the stack
};

INSTANTIATE_TEST_SUITE_P(Modes, Peers,
                         ::testing::Combine(::testing::Values("native", "generic"), ::testing::ValuesIn(families)),
                         name_of);

TEST_P(Peers, PingsOfEverySizeAreAnswered) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Fd peer = on_the_wire();
  const std::size_t largest = 1500 - family().headers;
  for (const std::size_t size : {std::size_t{0}, std::size_t{56}, std::size_t{1200}, largest}) {
    for (const auto& [from, to] : {std::pair{&world().wire(), family().host}, {&world().host(), family().wire}}) {
      const Completed done = ping(*from, to, size);
      EXPECT_EQ(done.exit, (Exit{.code = 0, .signal = 0})) << done.out << done.err;
      EXPECT_NE(done.out.find(std::to_string(size + 8) + " bytes from " + to), std::string::npos) << done.out;
    }
    expect_undisturbed(stack, peer);
  }
}

TEST_P(Peers, PingLearnsTheMtuOfARouter) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Fd peer = on_the_wire();
  World::in(world().wire(), "ip link set near0 mtu 1300");
  World::in(world().far(), "ip link set far0 mtu 1300");
  const Completed refused = ping(world().host(), family().far, 1300 - family().headers + 1);
  EXPECT_NE(refused.exit.code, 0);
  // "From 192.0.2.2 icmp_seq=1 Frag needed and DF set (mtu = 1300)", "From 2001:db8::2 icmp_seq=1 Packet too big: ..."
  EXPECT_TRUE(std::regex_search(refused.out, std::regex("From " + family().wire + " .*mtu ?= ?1300"))) << refused.out;
  expect_undisturbed(stack, peer);
  const Completed known = ping(world().host(), family().far, 1300 - family().headers + 1);
  EXPECT_TRUE(std::regex_search(known.err + known.out, std::regex("message too long.*mtu[:=] ?1300")))
      << known.out << known.err;
  const Completed fits = ping(world().host(), family().far, 1300 - family().headers);
  EXPECT_EQ(fits.exit, (Exit{.code = 0, .signal = 0})) << fits.out << fits.err;
  expect_undisturbed(stack, peer);
}

TEST_P(Peers, TracesPassBesideAClaim) {
  if (run({"sh", "-c", "command -v traceroute"}).exit.code != 0) GTEST_SKIP() << "there is no traceroute";
  Stack stack(world());
  const Claim udp = stack.claim(IPPROTO_UDP, service());
  const Claim tcp = stack.claim(IPPROTO_TCP, service());
  const Fd peer = on_the_wire();
  const std::string out = "1 " + family().wire + "\n2 " + family().far + "\n";
  const std::string in = "1 " + family().near + "\n2 " + family().host + "\n";
  for (const char* how : {"-U", "-T", "-I"}) {
    EXPECT_EQ(trace(world().host(), family().far, {how, "-w", "20"}), out) << how;
    EXPECT_EQ(trace(world().far(), family().host, {how, "-w", "20"}), in) << how;
    expect_undisturbed(stack, peer);
  }
  // A probe to what is claimed reaches the stack, which says nothing; nor does the kernel.
  for (const char* how : {"-U", "-T"}) {
    EXPECT_EQ(trace(world().far(), family().host, {how, "-p", "7000", "-f", "2", "-m", "2", "-w", "0.5"}), "2 *\n");
    const auto probe = stack.receive([&](const Packet& packet) { return packet.from.address == family().far; });
    ASSERT_TRUE(probe) << how;
    EXPECT_EQ(probe->to, service());
    EXPECT_EQ(probe->ttl, 1);
    ++received_;
    expect_undisturbed(stack, peer);
  }
}

// ---- scapy

Bytes from_hex(const std::string& digits) {
  Bytes bytes;
  for (std::size_t at = 0; at + 1 < digits.size(); at += 2)
    bytes.push_back(static_cast<std::uint8_t>(std::stoi(digits.substr(at, 2), nullptr, 16)));
  return bytes;
}

class ScapyPeer : public PeerTest {
 protected:
  void SetUp() override {
    start_in_mode();
    if (IsSkipped()) return;
    if (const std::string why = Scapy::why_not(); !why.empty()) GTEST_SKIP() << why;
    scapy_.emplace(world());
  }
  Json ask(const std::string& expression) { return scapy_->ask(expression); }

  // Words of the peer's language: the IP header of a packet to the host, and back, with what else is in it.
  std::string to_host(const std::string& more = {}) const { return ip(family().wire, family().host, more); }
  std::string to_wire(const std::string& more = {}) const { return ip(family().host, family().wire, more); }
  std::string ip(const std::string& from, const std::string& to, const std::string& more) const {
    return (ipv6() ? "IPv6(src='" : "IP(src='") + from + "', dst='" + to + "'" + more + ")";
  }
  static std::string udp(const Endpoint& to, const std::string& text) { return udp(4000, to.port, text); }
  static std::string udp(unsigned from, unsigned to, const std::string& text) {
    return "UDP(sport=" + std::to_string(from) + ", dport=" + std::to_string(to) + ")/b'" + text + "'";
  }

  // The next packet that reaches the stack, whatever it is, as the peer says what it has sent.
  static std::string next(Stack& stack) {
    Queue& queue = stack.vport().queue(0);
    std::optional<std::string> got;
    const Deadline deadline;
    while (!got && !deadline.passed()) {
      (void)wait_for(queue.fd(), POLLIN, deadline);
      queue.receive(1, [&](Frame frame) { got = hex(frame.bytes().subspan(14)); });
      stack.flush();
    }
    return got.value_or("nothing");
  }
  // The stack gets these, byte for byte, and then what is sent as the last thing: so nothing else.
  void expect_only(Stack& stack, std::vector<std::string> packets) {
    const Json last =
        ask("send(" + to_host() + "/" + udp(service(), "the end of what was sent, and of the test") + ")");
    packets.push_back(last.at(0));
    for (const std::string& packet : packets) EXPECT_EQ(next(stack), packet);
  }

 private:
  std::optional<Scapy> scapy_;
};

INSTANTIATE_TEST_SUITE_P(Modes, ScapyPeer,
                         ::testing::Combine(::testing::Values("native", "generic"), ::testing::ValuesIn(families)),
                         name_of);

// What stands between the IP header's beginning and UDP.
struct Headers {
  const char *options = "", *extensions = "";
};

TEST_P(ScapyPeer, OptionsAndExtensionHeadersAreWalked) {
  static constexpr std::array of_ipv4{
      Headers{", options=[IPOption_RR(length=11, pointer=4, routers=['0.0.0.0', '0.0.0.0'])]"},
      Headers{", options=[IPOption_Timestamp(pointer=5)]"},
      Headers{", options=[IPOption_Router_Alert(), IPOption_NOP(), IPOption_NOP(), IPOption_EOL()]"},
  };
  static constexpr std::array of_ipv6{
      Headers{"", "/IPv6ExtHdrHopByHop(options=[RouterAlert()])"},
      Headers{"", "/IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=0x1e, optdata=bytes(12))])"},
      Headers{"",
              "/IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))])/IPv6ExtHdrDestOpt(options=[PadN()])"
              "/IPv6ExtHdrRouting(addresses=[])/IPv6ExtHdrDestOpt(options=[Pad1(), HBHOptUnknown(otype=0x1e, "
              "optdata=bytes(11))])"},
  };
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Fd server = bound_as(bob, IPPROTO_UDP, kernels());
  std::vector<std::string> sent;
  for (const Headers& headers : ipv6() ? of_ipv6 : of_ipv4) {
    const std::string front = to_host(headers.options) + headers.extensions + "/";
    sent.push_back(ask("send(" + front + udp(service(), "a datagram for the stack") + ")").at(0));
    ask("send(" + front + udp(kernels(), "a datagram for the kernel") + ")");
    const auto got = receive_from(server.get());
    ASSERT_TRUE(got) << front;
    EXPECT_EQ(got->payload, "a datagram for the kernel");
    EXPECT_EQ(got->from, remote());
  }
  expect_only(stack, sent);
  EXPECT_EQ(pins().counter(MSTACK_RX_PASS_UNCLAIMED), std::size(of_ipv4));
}

// Of these the kernel decides.
TEST_P(ScapyPeer, SourceRoutesAreLeftToTheKernel) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const std::string front =
      ipv6() ? to_host() + "/IPv6ExtHdrRouting(addresses=['2001:db8::10'])/"
             : to_host(", options=[IPOption_LSRR(pointer=4, routers=['192.0.2.10']), IPOption_NOP()]") + "/";
  ask("send(" + front + udp(service(), "by a route of its own") + ")");
  expect_only(stack, {});
  EXPECT_EQ(pins().counter(MSTACK_RX_PASS_HEADERS), 1U);
}

TEST_P(ScapyPeer, AuthenticatedIsTheClaimsToo) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  std::vector<std::string> sent;
  for (const Endpoint& to : {service(), kernels()}) {
    sent.push_back(ask("send(" + to_host() + "/AH(payloadlen=4, spi=7, seq=1, nh=17, icv=bytes(12))/under_checksum(" +
                       to_host() + ", " + udp(to, "authenticated") + "))")
                       .at(0));
  }
  sent.pop_back();  // that nobody claimed
  expect_only(stack, sent);
  EXPECT_EQ(pins().counter(MSTACK_RX_PASS_UNCLAIMED), 1U);
}

// From its first fragment on a datagram is its owner's. Of one that nobody claimed all are the kernel's.
TEST_P(ScapyPeer, FragmentsInEveryOrder) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Fd server = bound_as(bob, IPPROTO_UDP, kernels());
  const std::string text(300, 'f');
  unsigned id = 0;
  std::size_t before_the_first = 0;
  const auto send_in = [&](const std::array<int, 3>& order, const Endpoint& to) {
    const std::string with_id = "id=" + std::to_string(++id), datagram = udp(to, text);
    const std::string cut =
        ipv6() ? "fragment6(" + to_host() + "/IPv6ExtHdrFragment(" + with_id + ")/" + datagram + ", 176)"
               : "fragment(" + to_host(", " + with_id) + "/" + datagram + ", 128)";
    return ask("send(*map(" + cut + ".__getitem__, " + Json(order).dump() + "))").get<std::vector<std::string>>();
  };
  std::vector<std::string> for_the_stack;
  std::array order{0, 1, 2};
  do {
    SCOPED_TRACE(Json(order).dump());
    const auto sent = send_in(order, service());
    ASSERT_EQ(sent.size(), order.size());
    const auto first = std::ranges::find(order, 0) - order.begin();
    before_the_first += static_cast<std::size_t>(first);
    for_the_stack.insert(for_the_stack.end(), sent.begin() + first, sent.end());
    send_in(order, kernels());
    const auto got = receive_from(server.get());
    ASSERT_TRUE(got);
    EXPECT_EQ(got->payload, text);
    EXPECT_EQ(got->from, remote());
  } while (std::ranges::next_permutation(order).found);
  expect_only(stack, for_the_stack);
  constexpr std::size_t orders = 6;
  EXPECT_EQ(pins().counter(MSTACK_RX_PASS_UNCLAIMED), orders);  // their first fragments
  EXPECT_EQ(pins().counter(MSTACK_RX_PASS_FRAGMENT), before_the_first + 2 * orders);
}

// The peer reads what the stack has sent, with options, and answers with errors that quote it.
TEST_P(ScapyPeer, ErrorsThatQuoteOptionsReachWhoSent) {
  Stack stack(world());
  const Claim claim = stack.claim(IPPROTO_UDP, service());
  const Fd quiet = on_the_wire();  // or the wire's kernel would say that there is nobody
  const Fd socket = bound_as(bob, IPPROTO_UDP, kernels());
  const SocketAddress address{remote()};
  check(::connect(socket.get(), address.get(), address.size), "connect");
  const auto front = [&] {
    return ipv6() ? to_wire() + "/IPv6ExtHdrHopByHop(options=[RouterAlert()])/IPv6ExtHdrDestOpt(options=[PadN()])/"
                  : to_wire(", options=[IPOption_Router_Alert(), IPOption_NOP()]") + "/";
  }();
  const std::string unreachable = ipv6() ? "ICMPv6DestUnreach(code=4)" : "ICMP(type=3, code=3)";
  const std::string too_big = ipv6() ? "ICMPv6PacketTooBig(mtu=1300)" : "ICMP(type=3, code=4, nexthopmtu=1300)";
  const std::string layer = ipv6() ? "IPv6" : "IP";
  std::vector<std::string> errors;
  for (const std::string& error : {unreachable, too_big}) {
    const std::string built = ask("built(" + front + udp(7000, 4000, "with options, from the stack") + ")");
    stack.send(from_hex(built));
    const Json sent =
        ask("send(" + to_host() + "/" + error + "/read(lambda p: UDP in p and p[UDP].sport == 7000)[" + layer + "])");
    errors.push_back(sent.at(0));
    EXPECT_NE(errors.back().find(built.substr(28 + 2 * (ipv6() ? 40 : 20))), std::string::npos) << "not what was sent";
  }
  // The least that a router may quote: the headers, and 8 bytes.
  const Json shortest =
      ask("send(" + to_host() + "/" + unreachable + "/Raw(raw(" + front + udp(7000, 4000, "") + ")))");
  errors.push_back(shortest.at(0));
  EXPECT_EQ(pins().counter(MSTACK_RX_STEERED), errors.size());
  // About a packet of the kernel, which sends none with options here: but it, too, reads past them.
  EXPECT_FALSE(wait_for(socket.get(), POLLIN, Deadline{0ms}));
  ask("send(" + to_host() + "/" + unreachable + "/" + front + udp(7001, 4000, "of the kernel") + ")");
  ASSERT_TRUE(wait_for(socket.get(), POLLIN, Deadline{}));
  char byte;
  EXPECT_EQ(::recv(socket.get(), &byte, 1, MSG_DONTWAIT), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
  expect_only(stack, errors);
}

TEST_P(ScapyPeer, ReadsWhatAStackSends) {
  Stack stack(world());
  const Claim of_udp = stack.claim(IPPROTO_UDP, service());
  const Claim of_tcp = stack.claim(IPPROTO_TCP, service());
  const Fd quiet = on_the_wire();
  const std::string network = ipv6() ? "IPv6" : "IP";
  for (const std::uint8_t protocol : {IPPROTO_UDP, IPPROTO_TCP}) {
    const std::string transport = protocol == IPPROTO_UDP ? "UDP" : "TCP";
    const std::string next_one =
        "dissected(read(lambda p: " + transport + " in p and p[" + transport + "].sport == 7000))";
    for (const std::size_t size : {1U, 46U, 333U, 1400U}) {
      Segment segment = World::udp(service(), remote(), std::string(size, 'p'));
      segment.protocol = protocol;
      stack.send(segment);
      const Json read = ask(next_one);
      EXPECT_EQ(read["layers"], (Json{"Ether", network, transport, "Raw"})) << read;
      EXPECT_EQ(read["from"], (Json{service().address, service().port})) << read;
      EXPECT_EQ(read["to"], (Json{remote().address, remote().port})) << read;
      EXPECT_EQ(read["payload"], segment.payload);
      EXPECT_EQ(read["right"], true) << read;
    }
    // It would tell: checksums are the stack's, and nobody puts them right on the way.
    Segment segment = World::udp(service(), remote(), "wrong");
    segment.protocol = protocol;
    segment.source_mac = stack.vport().queue(0).mac();
    Bytes wrong = build(segment);
    wrong.back() ^= 1;
    stack.send(wrong);
    EXPECT_EQ(ask(next_one)["right"], false);
  }
}

}  // namespace
}  // namespace mstack::test
