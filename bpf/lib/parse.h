/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From a frame to the addresses and ports of a packet: TCP, UDP, UDP-Lite, SCTP or DCCP.
 *
 * A packet is PARSED only if a receiver would read the same ports from it: every length is inside the one that
 * encloses it, and nothing that moves the transport header is skipped unread. What is wrong first, in the order of the
 * wire, is the result. The rules, header by header:
 *
 * - IPv4: version 4, 20 bytes <= header <= total length <= frame. Then: a fragment is FRAGMENT. Then the options, of
 *   which HEADERS_WALKED are read: a source route is SOURCE_ROUTED, one that does not fit MALFORMED.
 * - IPv6: version 6, 40 + payload length <= frame (so no jumbogram), no address in ::ffff:0:0/96.
 * - Extension headers: in IPv6 hop-by-hop options, routing, destination options and AH, wherever they stand, in IPv4 AH
 *   alone: HEADERS_WALKED of them, each whole inside the packet. AH has 12 bytes at least. A routing header with
 *   segments left is SOURCE_ROUTED. Destination options are read (HEADERS_WALKED of each header) on transmit only,
 *   where a home address is SOURCE_ROUTED: it is what a receiver takes for the source.
 * - Transport, inside what IP carries. UDP: 8 bytes <= its length <= what is left. UDP-Lite: 8 bytes; coverage 0 or 8
 *   to what is left. TCP: 20 bytes <= data offset <= what is left. DCCP: the same with 12, or 16 with extended
 *   sequence numbers. SCTP: 16 bytes, that is a chunk at least. ICMP: 8 bytes.
 *
 * AH is walked, and not left to the kernel, because a claim is of the tuple: had the host an SA for it, the kernel
 * would take the packet for the owner's socket, and the stack would see one half of its traffic. Nothing is
 * authenticated here; the stack has the header, and may. What AH carries in a tunnel has no ports, and is the kernel's.
 *
 * Checksums are never looked at: they are the receiver's, in both directions.
 */
#ifndef MSTACK_LIB_PARSE_H
#define MSTACK_LIB_PARSE_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "mstack_abi.h"

/* Options of an IPv4 header or of a destination options header, extension headers of a packet. */
#define HEADERS_WALKED 6

enum parse_result {
	PARSED,
	PARSED_ARP,
	PARSED_ICMP, /* ICMP in IPv4, ICMPv6 in IPv6; at transport_offset, with the addresses but no ports */
	TAGGED,	     /* 802.1Q or 802.1ad: not read any further */
	NOT_IP,
	NO_PORTS, /* a protocol without, or one that is not known here */
	FRAGMENT,
	TOO_MANY_HEADERS,
	SOURCE_ROUTED,
	MALFORMED,
};

struct packet {
	struct mstack_tuple source __attribute__((aligned(8))); /* the two are compared as one: see flow.h */
	struct mstack_tuple destination;
	__u32 network_offset;	/* from the frame's first byte to the IPv4 or IPv6 header */
	__u32 transport_offset; /* from there to the transport header */
	__u32 length;		/* of the network header and all that it encloses */
	__be32 flow;		/* IPv4: type of service. IPv6: traffic class and flow label, as on the wire. */
	__be16 ethertype;
	__u8 protocol;
	__u8 headers; /* extension headers passed so far */
	__u32 zero;   /* in place of padding: see walk() */
};

/* How a packet is to be read. */
enum parse_how {
	PARSE_RECEIVED = 0,
	PARSE_TRANSMITTED = 1 << 0, /* it may not leave this host if it asks for a way around its routes */
	PARSE_FIRST_FRAGMENT =
		1 << 1,	       /* the transport header is whole, what it says of the datagram's length is not here */
	PARSE_QUOTED = 1 << 2, /* by an ICMP error: cut off anywhere behind the ports */
	PARSE_IN_TC = 1 << 3,  /* the context is TC's */
};

/* No header that is read starts further behind the one before it; the verifier wants to be told. */
#define OFFSET_MAX 0x3fff

/*
 * Does the packet end inside its frame? A program sees the frame's beginning, up to `end`. The rest of a large frame is
 * in further buffers, and of a packet that the kernel made in pages.
 */
static __always_inline bool ends_in_frame(const struct packet *packet, void *ctx, const void *data, const void *end,
					  __u32 how)
{
	__u32 needed = packet->network_offset + packet->length;

	if (needed <= (__u64)(end - data))
		return true;
	return needed <= (how & PARSE_IN_TC ? ((struct __sk_buff *)ctx)->len : bpf_xdp_get_buff_len(ctx));
}

static __always_inline void *network_of(const struct packet *packet, void *data)
{
	return packet->network_offset > OFFSET_MAX ? NULL : data + packet->network_offset;
}

/* Where the transport header is, or where the next extension header is. NULL: beyond all that is read. */
static __always_inline void *transport_of(const struct packet *packet, void *data)
{
	__u32 network = packet->network_offset, transport = packet->transport_offset;

	return network > OFFSET_MAX || transport > OFFSET_MAX ? NULL : data + network + transport;
}

static __always_inline void address_from_ipv4(__be32 address[4], __be32 ipv4)
{
	address[0] = 0;
	address[1] = 0;
	address[2] = bpf_htonl(0xffff);
	address[3] = ipv4;
}

static __always_inline void address_from_ipv6(__be32 address[4], const struct in6_addr *ipv6)
{
	address[0] = ipv6->s6_addr32[0];
	address[1] = ipv6->s6_addr32[1];
	address[2] = ipv6->s6_addr32[2];
	address[3] = ipv6->s6_addr32[3];
}

static __always_inline bool is_mapped(const __be32 address[4])
{
	return address[0] == 0 && address[1] == 0 && address[2] == bpf_htonl(0xffff);
}

static __always_inline bool is_tag(__be16 ethertype)
{
	return ethertype == bpf_htons(ETH_P_8021Q) || ethertype == bpf_htons(ETH_P_8021AD);
}

static __always_inline bool is_ipv6(const struct packet *packet)
{
	return packet->ethertype == bpf_htons(ETH_P_IPV6);
}

/*
 * The options of an IPv4 header, looked at only for the two that route (RFC 791). Rare, so it is a function of its
 * own: the path of a packet without options stays short.
 */
static __noinline enum parse_result parse_ipv4_options(const struct iphdr *ip, __u32 header, const void *end)
{
	const __u8 *options = (const __u8 *)(ip + 1);
	__u32 length = header - sizeof(*ip);
	__u32 at = 0;

	for (int i = 0; at < length; i++) {
		const __u8 *option = options + at;

		if (i == HEADERS_WALKED)
			return TOO_MANY_HEADERS;
		if ((const void *)(option + 1) > end)
			return MALFORMED;
		if (option[0] == 0) /* end of options */
			return PARSED;
		if (option[0] == 1) { /* no operation */
			at++;
			continue;
		}
		if (option[0] == 131 || option[0] == 137) /* loose, strict source route */
			return SOURCE_ROUTED;
		if (at + 2 > length || (const void *)(option + 2) > end || option[1] < 2)
			return MALFORMED;
		at += option[1];
	}
	return at == length ? PARSED : MALFORMED;
}

#define OPTION_PAD1	    0
#define OPTION_HOME_ADDRESS 201 /* RFC 6275, 6.3 */

static __noinline enum parse_result parse_destination_options(const __u8 *options, __u32 length, const void *end)
{
	__u32 at = 0;

	for (int i = 0; at < length; i++) {
		const __u8 *option = options + at;

		if (i == HEADERS_WALKED)
			return TOO_MANY_HEADERS;
		if ((const void *)(option + 1) > end)
			return MALFORMED;
		if (option[0] == OPTION_PAD1) {
			at++;
			continue;
		}
		if (option[0] == OPTION_HOME_ADDRESS)
			return SOURCE_ROUTED;
		if (at + 2 > length || (const void *)(option + 2) > end)
			return MALFORMED;
		at += 2 + option[1];
	}
	return at == length ? PARSED : MALFORMED;
}

/* The header of IPv4, or PARSED: what follows is at transport_offset. */
static __always_inline enum parse_result parse_ipv4(struct packet *packet, void *ctx, void *data, const void *end,
						    __u32 how)
{
	const struct iphdr *ip = network_of(packet, data);
	__u32 header;

	if (!ip || (const void *)(ip + 1) > end || ip->version != 4)
		return MALFORMED;
	header = ip->ihl * 4;
	packet->length = bpf_ntohs(ip->tot_len);
	if (header < sizeof(*ip) || packet->length < header || !ends_in_frame(packet, ctx, data, end, how))
		return MALFORMED;
	packet->protocol = ip->protocol;
	packet->flow = ip->tos;
	packet->transport_offset = header;
	address_from_ipv4(packet->source.addr, ip->saddr);
	address_from_ipv4(packet->destination.addr, ip->daddr);
	/* DF is the only bit of it that a whole datagram may have. */
	if (ip->frag_off & bpf_htons(0x3fff))
		return FRAGMENT;
	return header == sizeof(*ip) ? PARSED : parse_ipv4_options(ip, header, end);
}

static __always_inline enum parse_result parse_ipv6(struct packet *packet, void *ctx, void *data, const void *end,
						    __u32 how)
{
	const struct ipv6hdr *ip = network_of(packet, data);

	if (!ip || (const void *)(ip + 1) > end || ip->version != 6)
		return MALFORMED;
	packet->length = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	if (!ends_in_frame(packet, ctx, data, end, how))
		return MALFORMED;
	packet->protocol = ip->nexthdr;
	packet->flow = *(const __be32 *)ip & bpf_htonl(0x0fffffff);
	packet->transport_offset = sizeof(*ip);
	address_from_ipv6(packet->source.addr, &ip->saddr);
	address_from_ipv6(packet->destination.addr, &ip->daddr);
	/* ::ffff:a.b.c.d names an IPv4 party in a tuple; as an address on the wire it would pass for one. */
	if (is_mapped(packet->source.addr) || is_mapped(packet->destination.addr))
		return MALFORMED;
	return PARSED;
}

static __always_inline enum parse_result parsed_ports(struct packet *packet, __be16 source, __be16 destination)
{
	packet->source.port = source;
	packet->source.protocol = packet->protocol;
	packet->source.zero = 0;
	packet->destination.port = destination;
	packet->destination.protocol = packet->protocol;
	packet->destination.zero = 0;
	return PARSED;
}

static __always_inline bool is_whole_udp(const struct udphdr *udp, __u32 length, __u32 how)
{
	__u32 said = bpf_ntohs(udp->len);

	return said >= sizeof(*udp) && (said <= length || how & PARSE_FIRST_FRAGMENT);
}

static __always_inline bool is_whole_tcp(const struct tcphdr *tcp, __u32 length)
{
	return tcp->doff >= 5 && tcp->doff * 4 <= length;
}

static __always_inline enum parse_result parse_udp(struct packet *packet, const struct udphdr *udp, const void *end,
						   __u32 how)
{
	__u32 length = packet->length - packet->transport_offset;

	if (packet->length < packet->transport_offset + sizeof(*udp) || (const void *)(udp + 1) > end)
		return MALFORMED;
	if (!(how & PARSE_QUOTED) && !is_whole_udp(udp, length, how))
		return MALFORMED;
	return parsed_ports(packet, udp->source, udp->dest);
}

static __always_inline enum parse_result parse_tcp(struct packet *packet, const struct tcphdr *tcp, const void *end)
{
	__u32 length = packet->length - packet->transport_offset;

	if (packet->length < packet->transport_offset + sizeof(*tcp) || (const void *)(tcp + 1) > end)
		return MALFORMED;
	if (!is_whole_tcp(tcp, length))
		return MALFORMED;
	return parsed_ports(packet, tcp->source, tcp->dest);
}

/* What the headers of the rarer protocols begin with, and the first 8 bytes of all in a quote. */
struct transport_start {
	__be16 source;
	__be16 destination;
	union {
		__be16 coverage;  /* UDP-Lite (RFC 3828): how much of the datagram the checksum covers, 0 is all */
		__u8 data_offset; /* DCCP (RFC 4340), in words */
	};
	__be16 checksum;
};

#define UDPLITE_HEADER	      8
#define SCTP_HEADER_AND_CHUNK 16
#define DCCP_HEADER	      12
#define DCCP_EXTENDED_HEADER  16
#define DCCP_EXTENDED	      0x01 /* X, in byte 8: sequence numbers of 48 bits */
#define ICMP_HEADER	      8

static __always_inline enum parse_result check_udplite(const struct transport_start *start, __u32 length, __u32 how)
{
	__u32 coverage = bpf_ntohs(start->coverage);

	if (coverage && coverage < UDPLITE_HEADER)
		return MALFORMED;
	return coverage > length && !(how & PARSE_FIRST_FRAGMENT) ? MALFORMED : PARSED;
}

static __always_inline enum parse_result check_dccp(const struct transport_start *start, __u32 length, const void *end)
{
	const __u8 *flags = (const __u8 *)(start + 1);
	__u32 header = DCCP_HEADER;

	if (length < header || (const void *)(flags + 4) > end)
		return MALFORMED;
	if (*flags & DCCP_EXTENDED)
		header = DCCP_EXTENDED_HEADER;
	return start->data_offset * 4 < header || start->data_offset * 4 > length ? MALFORMED : PARSED;
}

/* Of the transport header at transport_offset, whatever it is. */
static __always_inline enum parse_result parse_transport(struct packet *packet, void *data, const void *end, __u32 how)
{
	const struct transport_start *start = transport_of(packet, data);
	__u32 length = packet->length - packet->transport_offset;
	enum parse_result checked = PARSED;
	bool quoted = how & PARSE_QUOTED;

	if (!start)
		return MALFORMED;
	switch (packet->protocol) {
	case IPPROTO_UDP:
		return parse_udp(packet, (const void *)start, end, how);
	case IPPROTO_TCP:
		if (!quoted)
			return parse_tcp(packet, (const void *)start, end);
		break;
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
		break;
	case IPPROTO_ICMP:
		if (is_ipv6(packet))
			return NO_PORTS;
		break;
	case IPPROTO_ICMPV6:
		if (!is_ipv6(packet))
			return NO_PORTS;
		break;
	default:
		return NO_PORTS;
	}
	/* All of them have 8 bytes at least, ICMP and what is quoted no more. */
	if (packet->length < packet->transport_offset + sizeof(*start) || (const void *)(start + 1) > end)
		return MALFORMED;
	if (packet->protocol == IPPROTO_ICMP || packet->protocol == IPPROTO_ICMPV6)
		return PARSED_ICMP;
	if (!quoted) {
		if (packet->protocol == IPPROTO_UDPLITE)
			checked = check_udplite(start, length, how);
		else if (packet->protocol == IPPROTO_DCCP)
			checked = check_dccp(start, length, end);
		else if (packet->protocol == IPPROTO_SCTP && length < SCTP_HEADER_AND_CHUNK)
			checked = MALFORMED;
	}
	return checked == PARSED ? parsed_ports(packet, start->source, start->destination) : checked;
}

static __always_inline bool is_extension(const struct packet *packet)
{
	switch (packet->protocol) {
	case IPPROTO_AH:
		return true;
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_FRAGMENT:
	case IPPROTO_DSTOPTS:
		return is_ipv6(packet);
	default:
		return false;
	}
}

/* Around a whole datagram (RFC 6946) a fragment header is one to pass; in a quote so is the first fragment's. */
static __always_inline bool is_of_fragment(const __u8 fragment_header[8], __u32 how)
{
	return *(const __be16 *)(fragment_header + 2) & bpf_htons(how & PARSE_QUOTED ? 0xfff8 : 0xfff9);
}

/* Past the extension header at transport_offset; PARSED says only that it could be passed. */
static __always_inline enum parse_result pass_extension(struct packet *packet, void *data, const void *end, __u32 how)
{
	const __u8 *header = transport_of(packet, data);
	bool fragment = packet->protocol == IPPROTO_FRAGMENT;
	enum parse_result parsed;
	__u32 size;

	if (!header || packet->length < packet->transport_offset + 8 || (const void *)(header + 8) > end)
		return MALFORMED;
	if (fragment)
		size = 8;
	else if (packet->protocol == IPPROTO_AH)
		size = (header[1] + 2) * 4;
	else
		size = (header[1] + 1) * 8;
	if (packet->length < packet->transport_offset + size)
		return MALFORMED;
	if (fragment && is_of_fragment(header, how))
		return FRAGMENT;
	if (packet->protocol == IPPROTO_AH && size < 12)
		return MALFORMED;
	/* With no segment left a routing header has done its work, and a receiver walks past it. */
	if (packet->protocol == IPPROTO_ROUTING && header[3])
		return SOURCE_ROUTED;
	if (packet->protocol == IPPROTO_DSTOPTS && how & PARSE_TRANSMITTED) {
		parsed = parse_destination_options(header + 2, size - 2, end);
		if (parsed != PARSED)
			return parsed;
	}
	packet->protocol = header[0];
	packet->transport_offset += size;
	return PARSED;
}

/* One step of walk(): an extension header is passed (PASSED), or what the packet is has been found. */
#define PASSED ((enum parse_result) - 1)

static __always_inline enum parse_result step(struct packet *packet, void *data, const void *end, __u32 how)
{
	enum parse_result parsed;

	if (!is_extension(packet))
		return parse_transport(packet, data, end, how);
	if (packet->headers == HEADERS_WALKED)
		return TOO_MANY_HEADERS;
	packet->headers++;
	parsed = pass_extension(packet, data, end, how);
	return parsed == PARSED ? PASSED : parsed;
}

/*
 * Functions that are not static, so that the verifier looks at a step once by itself, and not at every way through all
 * of them in a row, of which there are too many. It forgets over the call what it knew of the packet, hence no pointer
 * is in there. The context has another type in XDP than in TC.
 */
__noinline __weak int step_xdp(struct xdp_md *ctx, struct packet *packet, __u32 how)
{
	return packet ? step(packet, (void *)(long)ctx->data, (void *)(long)ctx->data_end, how) : MALFORMED;
}

__noinline __weak int step_tc(struct __sk_buff *ctx, struct packet *packet, __u32 how)
{
	return packet ? step(packet, (void *)(long)ctx->data, (void *)(long)ctx->data_end, how) : MALFORMED;
}

/* Before Linux 6.3 a function takes no memory of which a byte was never written. */
static __always_inline void without_ports(struct packet *packet)
{
	parsed_ports(packet, 0, 0);
	packet->zero = 0;
}

/*
 * From transport_offset on, where a header of packet->protocol is: past the extension headers to the ports. All that is
 * neither TCP nor UDP right behind the IP header comes here.
 */
static __always_inline enum parse_result walk(struct packet *packet, void *ctx, __u32 how)
{
	int parsed = PASSED;

	without_ports(packet);
	for (int i = 0; i <= HEADERS_WALKED && parsed == (int)PASSED; i++)
		parsed = how & PARSE_IN_TC ? step_tc(ctx, packet, how) : step_xdp(ctx, packet, how);
	return parsed;
}

/* Of what the EtherType says is at network_offset. */
static __always_inline enum parse_result parse_network(struct packet *packet, void *ctx, void *data, const void *end,
						       __u32 how)
{
	enum parse_result found;
	const void *transport;

	if (packet->ethertype == bpf_htons(ETH_P_IP))
		found = parse_ipv4(packet, ctx, data, end, how);
	else if (packet->ethertype == bpf_htons(ETH_P_IPV6))
		found = parse_ipv6(packet, ctx, data, end, how);
	else if (is_tag(packet->ethertype))
		return TAGGED;
	else
		return packet->ethertype == bpf_htons(ETH_P_ARP) ? PARSED_ARP : NOT_IP;
	if (found != PARSED)
		return found;
	transport = transport_of(packet, data);
	if (!transport)
		return MALFORMED;
	if (packet->protocol == IPPROTO_UDP)
		return parse_udp(packet, transport, end, how);
	if (packet->protocol == IPPROTO_TCP)
		return parse_tcp(packet, transport, end);
	return walk(packet, ctx, how);
}

/* `ctx` is that of XDP, or of TC if `how` says so. */
static __always_inline enum parse_result parse(struct packet *packet, void *ctx, void *data, const void *end, __u32 how)
{
	struct ethhdr *eth = data;

	if ((void *)(eth + 1) > end)
		return MALFORMED;
	packet->network_offset = sizeof(*eth);
	packet->headers = 0;
	packet->ethertype = eth->h_proto;
	return parse_network(packet, ctx, data, end, how);
}

#endif
