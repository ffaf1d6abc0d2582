/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ICMP errors belong to whoever owns the tuple that they are about: its stack gets those about what it sent, and may
 * send those about what was sent to it. All other ICMP is the kernel's on receive, and not sent for a stack.
 *
 * An error says whose it is by the beginning of a packet that it quotes. The quote counts only if it is whole: an IP
 * header with its options or extension headers (bounded and refused as those of a packet: see parse.h), no later
 * fragment, and 8 bytes of a transport with ports. Its own lengths are not looked at, since what they measure is not
 * there, and routers have been seen to change them. An error about an error has no ports, and is nobody's.
 *
 * The checksum of ICMP is not looked at on receive and not filled in on transmit: both are the stack's, as all
 * checksums are. Whoever can guess a tuple and its peer can forge an error, as everywhere: the stack has to judge it
 * (TCP by the sequence number in the quote), and it can harm nothing but flows of that tuple. The host's own path MTUs
 * and sockets never see it.
 */
#ifndef MSTACK_LIB_ICMP_H
#define MSTACK_LIB_ICMP_H

#include "maps.h"
#include "parse.h"

enum icmp_result {
	ICMP_NO_ERROR, /* echo, redirect, source quench, neighbour discovery ... */
	ICMP_BAD_QUOTE,
	ICMP_NOT_FOR_STACKS, /* an error that only routers send */
	ICMP_QUOTED,
};

struct icmp_start {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 rest;
};

#define ICMP_UNREACHABLE   3
#define ICMP_TOO_BIG_CODE  4
#define ICMP_EXCEEDED	   11
#define ICMP_PARAMETER	   12

#define ICMPV6_UNREACHABLE 1
#define ICMPV6_TOO_BIG	   2
#define ICMPV6_PARAMETER   4

static __always_inline bool is_icmp_error(const struct icmp_start *icmp, bool ipv6)
{
	if (ipv6)
		return icmp->type >= ICMPV6_UNREACHABLE && icmp->type <= ICMPV6_PARAMETER;
	return icmp->type == ICMP_UNREACHABLE || icmp->type == ICMP_EXCEEDED || icmp->type == ICMP_PARAMETER;
}

static __always_inline bool is_too_big(const struct icmp_start *icmp, bool ipv6)
{
	return ipv6 ? icmp->type == ICMPV6_TOO_BIG : icmp->type == ICMP_UNREACHABLE && icmp->code == ICMP_TOO_BIG_CODE;
}

static __always_inline bool is_multicast(const __be32 address[4])
{
	if (is_mapped(address))
		return (address[3] & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000);
	return (address[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000);
}

static __always_inline bool is_same_address(const __be32 a[4], const __be32 b[4])
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

static __always_inline bool parse_quoted_ipv4(struct packet *quote, const struct iphdr *ip, const void *end)
{
	__u32 header;

	if (quote->length < sizeof(*ip) || (const void *)(ip + 1) > end || ip->version != 4)
		return false;
	header = ip->ihl * 4;
	if (header < sizeof(*ip) || header > quote->length || ip->frag_off & bpf_htons(IPV4_OFFSET))
		return false;
	quote->protocol = ip->protocol;
	quote->transport_offset = header;
	address_from_ipv4(quote->source.addr, ip->saddr);
	address_from_ipv4(quote->destination.addr, ip->daddr);
	return header == sizeof(*ip) || parse_ipv4_options(ip, header, end) == PARSED;
}

static __always_inline bool parse_quoted_ipv6(struct packet *quote, const struct ipv6hdr *ip, const void *end)
{

	if (quote->length < sizeof(*ip) || (const void *)(ip + 1) > end || ip->version != 6)
		return false;
	quote->protocol = ip->nexthdr;
	quote->transport_offset = sizeof(*ip);
	address_from_ipv6(quote->source.addr, &ip->saddr);
	address_from_ipv6(quote->destination.addr, &ip->daddr);
	return !is_mapped(quote->source.addr) && !is_mapped(quote->destination.addr);
}

/*
 * Of a packet that is PARSED_ICMP. When it is QUOTED, the packet has the tuples of the flow that it is about, from
 * where the error comes to where it goes: `destination` is the quote's source, the party that is told, and `source` is
 * the quote's destination, the flow's other end, whoever it was that sent the error.
 */
static __always_inline enum icmp_result read_quote(struct packet *packet, void *ctx, void *data, const void *end,
						   __u32 how)
{
	const struct icmp_start *icmp = transport_of(packet, data);
	bool ipv6 = is_ipv6(packet);
	struct packet quote = {};

	if (!icmp || (const void *)(icmp + 1) > end || !is_icmp_error(icmp, ipv6))
		return ICMP_NO_ERROR;
	/*
	 * Too big, from a stack: what a peer learns from it is the path to the whole address, other people's flows
	 * included. It is what routers say; the end of a path has no need of it.
	 */
	if (how & PARSE_TRANSMITTED && is_too_big(icmp, ipv6))
		return ICMP_NOT_FOR_STACKS;
	quote.network_offset = packet->network_offset + packet->transport_offset + sizeof(*icmp);
	quote.length = packet->length - packet->transport_offset - sizeof(*icmp);
	quote.ethertype = packet->ethertype;
	if (ipv6 ? !parse_quoted_ipv6(&quote, (void *)(icmp + 1), end)
		 : !parse_quoted_ipv4(&quote, (void *)(icmp + 1), end))
		return ICMP_BAD_QUOTE;
	if (walk(&quote, ctx, PARSE_QUOTED | (how & PARSE_IN_TC)) != PARSED)
		return ICMP_BAD_QUOTE;
	/* Told is who sent the packet, and nobody sends from a group. */
	if (!is_same_address(quote.source.addr, packet->destination.addr) || is_multicast(quote.source.addr))
		return ICMP_BAD_QUOTE;
	/* Routers on the way speak for themselves; a stack speaks for the tuple that the packet was sent to. */
	if (how & PARSE_TRANSMITTED && !is_same_address(quote.destination.addr, packet->source.addr))
		return ICMP_BAD_QUOTE;
	packet->destination = quote.source;
	packet->source = quote.destination;
	return ICMP_QUOTED;
}

/* As the steps in parse.h: looked at once. */
__noinline __weak int read_quote_xdp(struct xdp_md *ctx, struct packet *packet, __u32 how)
{
	if (!packet)
		return ICMP_BAD_QUOTE;
	return read_quote(packet, ctx, (void *)(long)ctx->data, (void *)(long)ctx->data_end, how & PARSE_TRANSMITTED);
}

__noinline __weak int read_quote_tc(struct __sk_buff *ctx, struct packet *packet, __u32 how)
{
	if (!packet)
		return ICMP_BAD_QUOTE;
	return read_quote(packet, ctx, (void *)(long)ctx->data, (void *)(long)ctx->data_end,
			  (how & PARSE_TRANSMITTED) | PARSE_IN_TC);
}

static __always_inline enum icmp_result read_icmp(struct packet *packet, void *ctx, __u32 how)
{
	return how & PARSE_IN_TC ? read_quote_tc(ctx, packet, how) : read_quote_xdp(ctx, packet, how);
}

#endif
