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

#include "packet.h"
#include "transport.h"

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
	if (is_ipv4_fragment(ip))
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
