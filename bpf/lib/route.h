/* SPDX-License-Identifier: GPL-2.0-only */
/* Where the kernel would send a packet: its routes, its policy rules and its neighbours, asked by bpf_fib_lookup. */
#ifndef MSTACK_LIB_ROUTE_H
#define MSTACK_LIB_ROUTE_H

#include "parse.h"

#define AF_INET	 2
#define AF_INET6 10

/*
 * The lookup is that of a packet which came in by the host end: a rule or route may name it. `length` is checked
 * against the route's MTU, 0 leaves that out.
 */
static __always_inline void route_query(struct bpf_fib_lookup *fib, const struct packet *packet, __u32 ifindex,
					__u16 length)
{
	*fib = (struct bpf_fib_lookup){
		.l4_protocol = packet->protocol,
		.tot_len = length,
		.ifindex = ifindex,
	};
	/* The tuples of an ICMP error are those of its quote: its own ports it has none. */
	if (packet->protocol == packet->source.protocol) {
		fib->sport = packet->source.port;
		fib->dport = packet->destination.port;
	}
	if (packet->ethertype == bpf_htons(ETH_P_IP)) {
		fib->family = AF_INET;
		fib->tos = packet->flow;
		fib->ipv4_src = packet->source.addr[3];
		fib->ipv4_dst = packet->destination.addr[3];
	} else {
		fib->family = AF_INET6;
		fib->flowinfo = packet->flow;
		__builtin_memcpy(fib->ipv6_src, packet->source.addr, sizeof(fib->ipv6_src));
		__builtin_memcpy(fib->ipv6_dst, packet->destination.addr, sizeof(fib->ipv6_dst));
	}
}

/* Multicast, broadcast, loopback and "this network" are no single party's; the kernel would not forward to them. */
static __always_inline bool is_unicast(const __be32 address[4])
{
	if (is_mapped(address)) {
		__u8 first = bpf_ntohl(address[3]) >> 24;

		return first != 0 && first != 127 && first < 224;
	}
	if ((address[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000))
		return false;
	return address[0] || address[1] || address[2] || (address[3] && address[3] != bpf_htonl(1));
}

#endif
