/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From a frame to the addresses and ports of a TCP or UDP packet.
 *
 * A packet is PARSED only if a receiver would read the same ports from it: every length is inside the one that
 * encloses it, and nothing that moves the transport header is skipped unread.
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

#define IPV6_EXTENSIONS_WALKED 6
#define IPV4_OPTIONS_MAX       40

enum parse_result {
	PARSED,
	PARSED_ARP,
	PARSED_ICMPV6,
	NOT_IP,
	NOT_TCP_UDP,
	FRAGMENT,
	TOO_MANY_HEADERS,
	SOURCE_ROUTED,
	MALFORMED,
};

struct packet {
	struct mstack_tuple source;
	struct mstack_tuple destination;
	void *network;	 /* IPv4 or IPv6 header */
	void *transport; /* TCP or UDP header */
	__be32 flow;	 /* IPv4: type of service. IPv6: traffic class and flow label, as on the wire. */
	__be16 ethertype;
	__u16 length;		/* of the network header and all that it encloses */
	__u16 transport_length; /* of the transport header and its payload */
};

/* On the wire a packet may not leave this host if the sender asks for a way around its routes. */
enum parse_direction {
	PARSE_RECEIVED,
	PARSE_TRANSMITTED,
};

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

/* The options of an IPv4 header, looked at only for the two that route (RFC 791). */
static __always_inline enum parse_result parse_ipv4_options(const __u8 *options, __u32 length, const void *end)
{
	__u32 at = 0;

	for (int i = 0; i < IPV4_OPTIONS_MAX; i++) {
		const __u8 *option = options + at;

		if (at >= length)
			return PARSED;
		if (at >= IPV4_OPTIONS_MAX || (const void *)(option + 1) > end)
			return MALFORMED;
		if (option[0] == 0) /* end of options */
			return PARSED;
		if (option[0] == 1) { /* no operation */
			at++;
			continue;
		}
		if (option[0] == 131 || option[0] == 137) /* loose, strict source route */
			return SOURCE_ROUTED;
		if (at + 1 >= length || (const void *)(option + 2) > end || option[1] < 2 || at + option[1] > length)
			return MALFORMED;
		at += option[1];
	}
	return PARSED;
}

static __always_inline enum parse_result parse_transport(struct packet *packet, __u8 protocol, const void *end)
{
	if (protocol == IPPROTO_UDP) {
		struct udphdr *udp = packet->transport;

		if (packet->transport_length < sizeof(*udp) || (void *)(udp + 1) > end)
			return MALFORMED;
		__u16 length = bpf_ntohs(udp->len);
		if (length < sizeof(*udp) || length > packet->transport_length)
			return MALFORMED;
		packet->source.port = udp->source;
		packet->destination.port = udp->dest;
	} else if (protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = packet->transport;

		if (packet->transport_length < sizeof(*tcp) || (void *)(tcp + 1) > end)
			return MALFORMED;
		if (tcp->doff < 5 || tcp->doff * 4 > packet->transport_length)
			return MALFORMED;
		packet->source.port = tcp->source;
		packet->destination.port = tcp->dest;
	} else {
		return NOT_TCP_UDP;
	}
	packet->source.protocol = protocol;
	packet->destination.protocol = protocol;
	packet->source.zero = 0;
	packet->destination.zero = 0;
	return PARSED;
}

static __always_inline enum parse_result parse_ipv4(struct packet *packet, const void *end)
{
	struct iphdr *ip = packet->network;

	if ((void *)(ip + 1) > end || ip->version != 4)
		return MALFORMED;
	__u32 header = ip->ihl * 4;
	packet->length = bpf_ntohs(ip->tot_len);
	if (header < sizeof(*ip) || packet->length < header || packet->length > end - (void *)ip)
		return MALFORMED;
	/* DF is the only bit of it that a whole datagram may have. */
	if (ip->frag_off & bpf_htons(0x3fff))
		return FRAGMENT;
	if (header > sizeof(*ip)) {
		enum parse_result result = parse_ipv4_options((__u8 *)(ip + 1), header - sizeof(*ip), end);

		if (result != PARSED)
			return result;
	}
	packet->transport = packet->network + header;
	packet->transport_length = packet->length - header;
	packet->flow = ip->tos;
	address_from_ipv4(packet->source.addr, ip->saddr);
	address_from_ipv4(packet->destination.addr, ip->daddr);
	return parse_transport(packet, ip->protocol, end);
}

static __always_inline enum parse_result parse_ipv6(struct packet *packet, const void *end,
						    enum parse_direction direction)
{
	struct ipv6hdr *ip = packet->network;

	if ((void *)(ip + 1) > end || ip->version != 6)
		return MALFORMED;
	__u32 length = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	if (length > end - (void *)ip)
		return MALFORMED;
	packet->length = length;
	packet->flow = *(__be32 *)ip & bpf_htonl(0x0fffffff);
	address_from_ipv6(packet->source.addr, &ip->saddr);
	address_from_ipv6(packet->destination.addr, &ip->daddr);
	/* ::ffff:a.b.c.d names an IPv4 party in a tuple; as an address on the wire it would pass for one. */
	if (is_mapped(packet->source.addr) || is_mapped(packet->destination.addr))
		return MALFORMED;

	__u8 protocol = ip->nexthdr;
	__u32 at = sizeof(*ip);

	for (int i = 0; i <= IPV6_EXTENSIONS_WALKED; i++) {
		struct ipv6_opt_hdr *extension = packet->network + at;

		switch (protocol) {
		case IPPROTO_HOPOPTS:
		case IPPROTO_DSTOPTS:
		case IPPROTO_ROUTING:
			break;
		case IPPROTO_FRAGMENT:
			return FRAGMENT;
		case IPPROTO_ICMPV6:
			return PARSED_ICMPV6;
		default:
			packet->transport = packet->network + at;
			packet->transport_length = length - at;
			return parse_transport(packet, protocol, end);
		}
		if (i == IPV6_EXTENSIONS_WALKED)
			break;
		if (at + 8 > length || (void *)extension + 8 > end)
			return MALFORMED;
		/* With no segment left a routing header has done its work, and a receiver walks past it. */
		if (protocol == IPPROTO_ROUTING && (direction == PARSE_TRANSMITTED || ((__u8 *)extension)[3] != 0))
			return SOURCE_ROUTED;
		protocol = extension->nexthdr;
		at += (extension->hdrlen + 1) * 8;
		if (at > length)
			return MALFORMED;
	}
	return TOO_MANY_HEADERS;
}

static __always_inline enum parse_result parse(struct packet *packet, void *data, const void *end,
					       enum parse_direction direction)
{
	struct ethhdr *eth = data;

	if ((void *)(eth + 1) > end)
		return MALFORMED;
	packet->network = eth + 1;
	packet->ethertype = eth->h_proto;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return parse_ipv4(packet, end);
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(packet, end, direction);
	return eth->h_proto == bpf_htons(ETH_P_ARP) ? PARSED_ARP : NOT_IP;
}

#endif
