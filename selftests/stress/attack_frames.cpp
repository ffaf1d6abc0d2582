// SPDX-License-Identifier: BSD-2-Clause
#include "attack_frames.hpp"

#include <netinet/in.h>

#include <algorithm>
#include <array>

namespace mstack::test {

namespace {

constexpr std::size_t ethernet_size = 14, ipv4_size = 20, ipv6_size = 40;
constexpr Mac forged{0x02, 0xbe, 0xef, 0, 0, 1};
constexpr std::size_t largest = 1514;

void put16(Bytes& frame, std::size_t at, std::size_t value) {
  frame.at(at) = static_cast<std::uint8_t>(value >> 8);
  frame.at(at + 1) = static_cast<std::uint8_t>(value);
}

class Collector {
 public:
  Collector(const Tuples& tuples, std::mt19937_64& random) : tuples_(tuples), random_(random) {}
  std::vector<Attack> collect();

 private:
  void add(std::string name, Bytes frame, std::optional<mstack_verdict> verdict) {
    all_.push_back({.name = std::move(name), .frame = std::move(frame), .verdict = verdict});
  }
  const Endpoint& peer(const Endpoint& from) const { return from.ipv6() ? tuples_.peer6 : tuples_.peer4; }
  Bytes udp(const Endpoint& from, const std::string& payload = "attack") const {
    return build(Segment{.from = from, .to = peer(from), .payload = payload});
  }
  Bytes tcp(const Endpoint& from, const std::string& payload = "attack") const {
    return build(Segment{.from = from, .to = peer(from), .protocol = IPPROTO_TCP, .payload = payload});
  }
  std::size_t below(std::size_t end) { return std::uniform_int_distribution<std::size_t>(0, end - 1)(random_); }
  Bytes noise(std::size_t size) {
    Bytes out(size);
    std::ranges::generate(out, [&] { return static_cast<std::uint8_t>(random_()); });
    return out;
  }
  // The IPv4 packet with options between its header and what follows; their size is a multiple of 4.
  static Bytes with_options(Bytes frame, const Bytes& options);
  // The IPv6 packet with a header of 8 * n bytes (whose first byte is overwritten) before what follows.
  static Bytes with_extension(Bytes frame, std::uint8_t type, Bytes extension);

  void sources();
  void protocols();
  void neighbours();
  void fragments_and_routes();
  void headers();
  void link_layer();
  void garbage();
  void truncated();
  void lengths();
  void destinations();

  const Tuples& tuples_;
  std::mt19937_64& random_;
  std::vector<Attack> all_;
};

Bytes Collector::with_options(Bytes frame, const Bytes& options) {
  frame.insert(frame.begin() + ethernet_size + ipv4_size, options.begin(), options.end());
  frame.at(ethernet_size) = static_cast<std::uint8_t>(0x45 + options.size() / 4);
  put16(frame, ethernet_size + 2, frame.size() - ethernet_size);
  return frame;
}

Bytes Collector::with_extension(Bytes frame, std::uint8_t type, Bytes extension) {
  extension.at(0) = frame.at(ethernet_size + 6);
  extension.at(1) = static_cast<std::uint8_t>(extension.size() / 8 - 1);
  frame.at(ethernet_size + 6) = type;
  frame.insert(frame.begin() + ethernet_size + ipv6_size, extension.begin(), extension.end());
  put16(frame, ethernet_size + 4, frame.size() - ethernet_size - ipv6_size);
  return frame;
}

void Collector::sources() {
  const auto& t = tuples_;
  for (int i = 0; i < 512; ++i) {
    // 9000 and above: nobody's.
    const auto port = static_cast<std::uint16_t>(9000 + below(56000));
    add("UDP port", udp({t.udp4.address, port}), MSTACK_TX_DROP_UNCLAIMED);
    add("TCP port", tcp({t.tcp4.address, port}), MSTACK_TX_DROP_UNCLAIMED);
    add("UDP port, IPv6", udp({t.udp6.address, port}), MSTACK_TX_DROP_UNCLAIMED);
  }
  for (const std::uint16_t port : {std::uint16_t{0}, std::uint16_t{1}, std::uint16_t{53}, std::uint16_t{65535}}) {
    add("port", udp({t.udp4.address, port}), MSTACK_TX_DROP_UNCLAIMED);
  }
  // The neighbours of its own port, and its own in the other byte order.
  for (const int port : {t.udp4.port - 1, t.udp4.port + 1, (t.udp4.port << 8 | t.udp4.port >> 8) & 0xffff}) {
    add("near port", udp({t.udp4.address, static_cast<std::uint16_t>(port)}), MSTACK_TX_DROP_UNCLAIMED);
  }
  add("another of the host's addresses", udp(t.second4), MSTACK_TX_DROP_UNCLAIMED);
  add("another of the host's addresses, IPv6", udp(t.second6), MSTACK_TX_DROP_UNCLAIMED);
  add("another stack's", udp(t.another), MSTACK_TX_DROP_NOT_OWNER);
  add("a released claim", udp(t.released), MSTACK_TX_DROP_UNCLAIMED);
  add("a port bound anew", udp(t.rebound), MSTACK_TX_DROP_UNCLAIMED);
  add("TCP from a UDP claim", tcp(t.udp4), MSTACK_TX_DROP_UNCLAIMED);
  add("TCP from a UDP claim, IPv6", tcp(t.udp6), MSTACK_TX_DROP_UNCLAIMED);
  add("UDP from a TCP claim", udp(t.tcp4), MSTACK_TX_DROP_UNCLAIMED);
  add("IPv6 from an IPv4 claim", tcp({t.udp6.address, t.tcp4.port}), MSTACK_TX_DROP_UNCLAIMED);
  add("IPv4 from an IPv6 claim", udp({t.udp4.address, t.any6.port}), MSTACK_TX_DROP_UNCLAIMED);
  add("IPv6 from an IPv4 wildcard", udp({t.udp6.address, t.any4.port}), MSTACK_TX_DROP_UNCLAIMED);

  for (const std::string address : {"203.0.113.1", "198.51.100.7", "192.0.2.2", "192.0.2.3", "192.0.2.0", "192.0.2.255",
                                    "255.255.255.255", "224.0.0.1", "239.1.2.3", "0.0.0.0", "127.0.0.1", "240.0.0.1"}) {
    add("from " + address, udp({address, t.udp4.port}), MSTACK_TX_DROP_UNCLAIMED);
    add("by a wildcard from " + address, udp({address, t.any4.port}), MSTACK_TX_DROP_NOT_LOCAL);
  }
  for (const std::string address : {"2001:db8::2", "2001:db8:ffff::1", "ff02::1", "ff0e::1", "::", "::1", "fe80::1",
                                    "::192.0.2.1", "64:ff9b::c000:201"}) {
    add("from " + address, udp({address, t.udp6.port}), MSTACK_TX_DROP_UNCLAIMED);
    add("by a wildcard from " + address, udp({address, t.any6.port}), MSTACK_TX_DROP_NOT_LOCAL);
  }
  for (const std::string address : {"::ffff:192.0.2.1", "::ffff:192.0.2.10", "::ffff:0.0.0.0", "::ffff:203.0.113.1"}) {
    for (const std::uint16_t port : {t.udp4.port, t.any4.port, t.any6.port}) {
      add("mapped " + address, udp({address, port}), MSTACK_TX_DROP_MALFORMED);
    }
  }
}

void Collector::protocols() {
  // The last three are read: two (SCTP, UDP-Lite) have ports where UDP has them, one is a header that must be walked.
  for (const int protocol : {1, 2, 4, 41, 47, 50, 89, 103, 112, 115, 253, 255, 132, 136, 51}) {
    std::optional<mstack_verdict> verdict = MSTACK_TX_DROP_PROTOCOL;
    if (protocol == IPPROTO_SCTP || protocol == IPPROTO_UDPLITE) verdict = MSTACK_TX_DROP_UNCLAIMED;
    if (protocol == IPPROTO_AH) verdict.reset();
    for (const auto& [from, to] : {std::pair{tuples_.udp4, tuples_.peer4}, std::pair{tuples_.udp6, tuples_.peer6}}) {
      // What follows is the UDP packet that it might send: only the protocol is wrong.
      const Bytes right = udp(from, "attack attack");
      const std::size_t header = ethernet_size + (from.ipv6() ? ipv6_size : ipv4_size);
      const Raw raw{.from = from.address,
                    .to = to.address,
                    .protocol = static_cast<std::uint8_t>(protocol),
                    .payload = Bytes(right.begin() + static_cast<std::ptrdiff_t>(header), right.end())};
      add("protocol " + std::to_string(protocol), build(raw), verdict);
    }
  }
  for (const std::uint8_t type : {0, 3, 5, 8, 9, 11}) {
    // Two of them are errors, which quote noise.
    const bool is_error = type == 3 || type == 11;
    Bytes message = noise(36);
    message[0] = type;
    message[1] = 0;
    add("ICMP",
        build(Raw{
            .from = tuples_.udp4.address, .to = tuples_.peer4.address, .protocol = IPPROTO_ICMP, .payload = message}),
        is_error ? MSTACK_TX_DROP_ICMP : MSTACK_TX_DROP_PROTOCOL);
  }
}

void Collector::neighbours() {
  const auto& t = tuples_;
  const Mac gateway = forged;
  for (const std::string& sender : {t.udp4.address, t.peer4.address, std::string("192.0.2.77")}) {
    for (const std::string& target : {t.peer4.address, std::string("192.0.2.77")}) {
      add("ARP reply",
          build(Arp{.source_mac = forged,
                    .operation = 2,
                    .sender_mac = forged,
                    .sender = sender,
                    .target_mac = gateway,
                    .target = target}),
          MSTACK_TX_DROP_ARP);
    }
    add("gratuitous ARP",
        build(Arp{.source_mac = forged, .operation = 1, .sender_mac = forged, .sender = sender, .target = sender}),
        MSTACK_TX_DROP_ARP);
    add("gratuitous ARP reply",
        build(Arp{.source_mac = forged, .operation = 2, .sender_mac = forged, .sender = sender, .target = sender}),
        MSTACK_TX_DROP_ARP);
    add("ARP probe", build(Arp{.source_mac = forged, .sender_mac = forged, .sender = "0.0.0.0", .target = sender}),
        MSTACK_TX_DROP_ARP);
    // Answered at once, and no further.
    add("ARP request", build(Arp{.source_mac = forged, .sender_mac = forged, .sender = sender, .target = "192.0.2.78"}),
        MSTACK_TX_ANSWERED);
  }
  for (const std::uint16_t operation : {3, 4, 8, 25, 0, 0xffff}) {
    add("ARP operation",
        build(Arp{.source_mac = forged,
                  .operation = operation,
                  .sender_mac = forged,
                  .sender = t.udp4.address,
                  .target = t.peer4.address}),
        MSTACK_TX_DROP_ARP);
  }
  for (const std::string& from : {t.udp6.address, t.peer6.address, std::string("fe80::1")}) {
    for (const std::string& target : {t.udp6.address, t.peer6.address, std::string("2001:db8::77")}) {
      add("neighbour advertisement",
          build(Neighbour{.source_mac = forged,
                          .destination_mac = {0x33, 0x33, 0, 0, 0, 1},
                          .from = from,
                          .to = "ff02::1",
                          .type = 136,
                          .target = target,
                          .link_address = forged,
                          .flags = 0x20000000}),
          MSTACK_TX_DROP_PROTOCOL);
    }
  }
  add("neighbour solicitation",
      build(Neighbour{.source_mac = forged,
                      .destination_mac = {0x33, 0x33, 0xff, 0, 0, 2},
                      .from = t.udp6.address,
                      .to = "ff02::1:ff00:2",
                      .type = 135,
                      .target = t.peer6.address,
                      .link_address = forged}),
      MSTACK_TX_ANSWERED);
  for (const std::uint8_t type : {133, 134, 137, 128, 130, 131, 143, 151}) {
    Bytes message = noise(40);
    message[0] = type;
    message[1] = 0;
    add("ICMPv6 " + std::to_string(type),
        build(Raw{.from = "fe80::1", .to = "ff02::1", .protocol = IPPROTO_ICMPV6, .payload = message}),
        MSTACK_TX_DROP_PROTOCOL);
  }
}

void Collector::fragments_and_routes() {
  const auto& t = tuples_;
  // First, middle and last fragment; what follows the header is the packet that it might send.
  for (const std::size_t field : {0x2000U, 0x2001U, 0x0001U, 0x1fffU, 0x3fffU}) {
    Bytes frame = udp(t.udp4);
    put16(frame, ethernet_size + 6, field);
    add("fragment", frame, MSTACK_TX_DROP_FRAGMENT);
    Bytes six = with_extension(udp(t.udp6), IPPROTO_FRAGMENT, Bytes(8));
    six.at(ethernet_size + ipv6_size + 1) = 0;
    put16(six, ethernet_size + ipv6_size + 2, field & 0xfff9);
    add("fragment, IPv6", six, MSTACK_TX_DROP_FRAGMENT);
    add("fragment after options, IPv6", with_extension(six, IPPROTO_DSTOPTS, {0, 0, 1, 4, 0, 0, 0, 0}),
        MSTACK_TX_DROP_FRAGMENT);
  }
  for (const std::uint8_t option : {131, 137}) {
    for (const Bytes& before : {Bytes{}, Bytes{1, 1, 1, 1}, Bytes{7, 4, 4, 0}}) {
      Bytes options = before;
      options.insert(options.end(), {option, 7, 4, 203, 0, 113, 1, 0});
      add("source route", with_options(udp(t.udp4), options), MSTACK_TX_DROP_SOURCE_ROUTE);
    }
  }
  for (const std::uint8_t segments : {1, 2, 255}) {  // with none left it names no further stop
    for (const std::uint8_t type : {0, 2, 3, 4, 253}) {
      Bytes routing(24);
      routing[2] = type;
      routing[3] = segments;
      add("routing header", with_extension(udp(t.udp6), IPPROTO_ROUTING, routing), MSTACK_TX_DROP_SOURCE_ROUTE);
    }
  }
}

// Packets whose ports are not where a reader in a hurry looks for them.
void Collector::headers() {
  const auto& t = tuples_;
  Bytes many(40, 1);
  add("many options", with_options(udp(t.udp4), many), MSTACK_TX_DROP_HEADERS);
  add("an option beyond the header", with_options(udp(t.udp4), {7, 9, 4, 0}), MSTACK_TX_DROP_MALFORMED);
  add("an option of no length", with_options(udp(t.udp4), {7, 0, 4, 0}), MSTACK_TX_DROP_MALFORMED);
  Bytes chain = udp(t.udp6);
  for (int i = 0; i < 7; ++i) chain = with_extension(chain, IPPROTO_DSTOPTS, {0, 0, 1, 4, 0, 0, 0, 0});
  add("many extension headers", chain, MSTACK_TX_DROP_HEADERS);

  // The ports of the claim stand in the option, or in the extension header; behind it are those of the packet.
  const auto source = static_cast<std::uint16_t>(t.udp4.port), peer = t.peer4.port;
  Bytes options{7, 8, 4, 0, 0, 0, 0, 0};
  put16(options, 0, source);
  put16(options, 2, peer);
  add("ports in the options", with_options(udp({t.udp4.address, 9999}), options), std::nullopt);
  add("ports in an option", with_options(udp({t.udp4.address, 9999}), {7, 8, 4, 0, 0x1b, 0x58, 0x0f, 0xa0}),
      MSTACK_TX_DROP_UNCLAIMED);
  Bytes extension{0, 0, 1, 4, 0, 0, 0, 0};
  put16(extension, 4, source);
  put16(extension, 6, peer);
  add("ports in an extension header", with_extension(udp({t.udp6.address, 9999}), IPPROTO_DSTOPTS, extension),
      MSTACK_TX_DROP_UNCLAIMED);
  add("hop by hop, then a spoofed packet",
      with_extension(udp({t.udp6.address, 9999}), IPPROTO_HOPOPTS, {0, 0, 1, 4, 0, 0, 0, 0}), MSTACK_TX_DROP_UNCLAIMED);
  for (const std::size_t trailing : {1U, 46U, 600U}) {
    Bytes frame = udp({t.udp4.address, 9999});
    const Bytes right = udp(t.udp4);
    frame.insert(frame.end(), right.begin(), right.end());
    frame.resize(frame.size() + trailing);
    add("a packet behind the packet", frame, MSTACK_TX_DROP_UNCLAIMED);
  }
  // In an Ethernet frame of the right type, a packet of the other version.
  Bytes four = udp(t.udp4), six = udp(t.udp6);
  put16(four, 12, 0x86dd);
  put16(six, 12, 0x0800);
  add("IPv4 as IPv6", four, MSTACK_TX_DROP_MALFORMED);
  add("IPv6 as IPv4", six, MSTACK_TX_DROP_MALFORMED);
  Bytes jumbo = with_extension(udp(t.udp6), IPPROTO_HOPOPTS, {0, 0, 0xc2, 4, 0, 0, 0, 16});
  put16(jumbo, ethernet_size + 4, 0);
  add("jumbogram", jumbo, MSTACK_TX_DROP_MALFORMED);
}

void Collector::link_layer() {
  for (const Bytes& packet : {udp(tuples_.udp4), udp(tuples_.udp6), tcp(tuples_.tcp4)}) {
    for (const std::size_t type : {0x8100U, 0x88a8U, 0x9100U, 0x8847U, 0x8864U, 0x8863U, 0x888eU, 0x88ccU, 0x8035U,
                                   0x8137U, 0x0000U, 0x0040U, 0x05dcU, 0x0801U, 0xffffU}) {
      Bytes frame = packet;
      // A tag of 4 bytes, behind which stands the packet with its own type.
      const std::array<std::uint8_t, 4> tag{static_cast<std::uint8_t>(type >> 8), static_cast<std::uint8_t>(type), 0,
                                            7};
      frame.insert(frame.begin() + 12, tag.begin(), tag.end());
      add("EtherType " + std::to_string(type), frame, MSTACK_TX_DROP_NOT_IP);
    }
  }
}

void Collector::garbage() {
  for (std::size_t size = ethernet_size; size <= largest; ++size) {
    Bytes frame = noise(size);
    const unsigned type = unsigned{frame[12]} << 8 | frame[13];
    if (type == 0x0800 || type == 0x0806 || type == 0x86dd) frame[12] = 0xff;
    add("garbage", frame, MSTACK_TX_DROP_NOT_IP);
    frame = noise(size);
    const bool six = size % 2 != 0;
    put16(frame, 12, six ? 0x86dd : 0x0800);
    if (size > ethernet_size) {
      // Of a random version, or of the right one with everything else at random.
      const bool right_version = size % 3 == 0;
      if (right_version) frame[14] = static_cast<std::uint8_t>((six ? 0x60 : 0x40) | (frame[14] & 0xf));
      add("garbage in an IP frame", frame, std::nullopt);
    }
  }
}

void Collector::truncated() {
  const auto& t = tuples_;
  const Bytes arp =
      build(Arp{.source_mac = forged, .sender_mac = forged, .sender = t.udp4.address, .target = t.peer4.address});
  for (const Bytes& whole : {udp(t.udp4), udp(t.udp6), tcp(t.tcp4), with_options(udp(t.udp4), {7, 4, 4, 0}),
                             with_extension(udp(t.udp6), IPPROTO_DSTOPTS, {0, 0, 1, 4, 0, 0, 0, 0}), arp}) {
    for (std::size_t size = ethernet_size; size < whole.size(); ++size) {
      add("truncated", Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)),
          MSTACK_TX_DROP_MALFORMED);
    }
  }
}

void Collector::lengths() {
  const auto& t = tuples_;
  const auto changed8 = [&](Bytes frame, std::size_t at, std::size_t value) {
    frame.at(at) = static_cast<std::uint8_t>(value);
    add("length", std::move(frame), MSTACK_TX_DROP_MALFORMED);
  };
  const auto changed16 = [&](Bytes frame, std::size_t at, std::size_t value) {
    put16(frame, at, value);
    add("length", std::move(frame), MSTACK_TX_DROP_MALFORMED);
  };
  for (std::size_t ihl = 0; ihl < 5; ++ihl) changed8(udp(t.udp4), ethernet_size, 0x40 | ihl);
  for (const std::size_t version : {0U, 5U, 6U, 7U, 15U}) changed8(udp(t.udp4), ethernet_size, version << 4 | 5);
  for (const std::size_t ihl : {9U, 12U, 15U}) changed8(udp(t.udp4), ethernet_size, 0x40 | ihl);
  const std::size_t packet = udp(t.udp4).size() - ethernet_size;
  for (const std::size_t total : {std::size_t{0}, std::size_t{19}, std::size_t{20}, std::size_t{27}, packet + 1,
                                  std::size_t{1500}, std::size_t{0xffff}}) {
    changed16(udp(t.udp4), ethernet_size + 2, total);
  }
  const std::size_t payload = udp(t.udp6).size() - ethernet_size - ipv6_size;
  for (const std::size_t length : {std::size_t{0}, std::size_t{7}, payload + 1, std::size_t{0xffff}}) {
    changed16(udp(t.udp6), ethernet_size + 4, length);
  }
  for (const std::size_t length : {std::size_t{0}, std::size_t{7}, payload + 1, std::size_t{0xffff}}) {
    changed16(udp(t.udp4), ethernet_size + ipv4_size + 4, length);
    changed16(udp(t.udp6), ethernet_size + ipv6_size + 4, length);
  }
  for (const std::size_t words : {0U, 1U, 4U, 15U}) changed8(tcp(t.tcp4), ethernet_size + ipv4_size + 12, words << 4);
}

void Collector::destinations() {
  const auto& t = tuples_;
  for (const std::string to : {"127.0.0.1", "0.0.0.0", "0.1.2.3", "240.0.0.1"}) {
    add("to " + to, build(Segment{.from = t.udp4, .to = {to, 5353}, .payload = "attack"}), MSTACK_TX_DROP_DESTINATION);
    add("spoofed to " + to, build(Segment{.from = t.second4, .to = {to, 5353}, .payload = "attack"}),
        MSTACK_TX_DROP_UNCLAIMED);
  }
  for (const std::string to : {"ff01::1", "ff00::fb", "::1", "::"}) {
    add("to " + to, build(Segment{.from = t.udp6, .to = {to, 5353}, .payload = "attack"}), MSTACK_TX_DROP_DESTINATION);
  }
  for (const std::string to : {"224.0.0.1", "224.0.0.251", "239.255.255.250", "255.255.255.255", "192.0.2.255"}) {
    add("spoofed to " + to, build(Segment{.from = t.second4, .to = {to, 5353}, .payload = "attack"}),
        MSTACK_TX_DROP_UNCLAIMED);
    add("TCP to " + to, build(Segment{.from = t.tcp4, .to = {to, 5353}, .protocol = IPPROTO_TCP}),
        MSTACK_TX_DROP_DESTINATION);
  }
  add("to a mapped address", build(Segment{.from = t.udp6, .to = {"::ffff:192.0.2.2", 9}, .payload = "attack"}),
      MSTACK_TX_DROP_MALFORMED);
  // The frame may have 4 bytes more than the packet's limit: room for a VLAN tag.
  for (const std::size_t size : {1501U, 1504U}) {
    add("too big", udp(t.udp4, std::string(size - ipv4_size - 8, 'x')), MSTACK_TX_DROP_TOO_BIG);
    add("too big, IPv6", udp(t.udp6, std::string(size - ipv6_size - 8, 'x')), MSTACK_TX_DROP_TOO_BIG);
  }
  // What is sent to this host itself is not sent.
  add("to the host", build(Segment{.from = t.udp4, .to = t.second4, .payload = "attack"}), MSTACK_TX_TO_HOST);
  add("to the host, IPv6", build(Segment{.from = t.udp6, .to = t.second6, .payload = "attack"}), MSTACK_TX_TO_HOST);
  add("spoofed to the host", build(Segment{.from = t.another, .to = t.second4, .payload = "attack"}),
      MSTACK_TX_DROP_NOT_OWNER);
}

std::vector<Attack> Collector::collect() {
  sources();
  protocols();
  neighbours();
  fragments_and_routes();
  headers();
  link_layer();
  garbage();
  truncated();
  lengths();
  destinations();
  // MACs mean nothing: each frame has some.
  for (Attack& attack : all_) {
    const Bytes macs = noise(12);
    if (below(2) == 0)
      std::ranges::copy(macs, attack.frame.begin());
    else if (below(4) == 0)
      std::ranges::fill_n(attack.frame.begin(), 6, std::uint8_t{0xff});
  }
  return std::move(all_);
}

}  // namespace

std::vector<Attack> attack_frames(const Tuples& tuples, std::mt19937_64& random) {
  return Collector(tuples, random).collect();
}

}  // namespace mstack::test
