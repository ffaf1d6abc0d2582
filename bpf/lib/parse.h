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
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "mstack_abi.h"

/* Options of an IPv4 header, extension headers of an IPv6 packet. */
#define HEADERS_WALKED 6

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
	struct mstack_tuple source __attribute__((aligned(8))); /* the two are compared as one: see flow.h */
	struct mstack_tuple destination;
	void *network;		/* IPv4 or IPv6 header */
	__u32 transport_offset; /* from there to the TCP or UDP header */
	__u32 length;		/* of the network header and all that it encloses */
	__be32 flow;		/* IPv4: type of service. IPv6: traffic class and flow label, as on the wire. */
	__be16 ethertype;
	__u8 protocol;
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

static __always_inline bool is_ipv6_extension(__u8 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_DSTOPTS || protocol == IPPROTO_ROUTING;
}

/* Finds the transport header; PARSED here says that it was found. */
static __always_inline enum parse_result parse_ipv4(struct packet *packet, const void *end)
{
	struct iphdr *ip = packet->network;
	__u32 header;

	if ((void *)(ip + 1) > end || ip->version != 4)
		return MALFORMED;
	header = ip->ihl * 4;
	packet->length = bpf_ntohs(ip->tot_len);
	if (header < sizeof(*ip) || packet->length < header || packet->length > end - (void *)ip)
		return MALFORMED;
	/* DF is the only bit of it that a whole datagram may have. */
	if (ip->frag_off & bpf_htons(0x3fff))
		return FRAGMENT;
	packet->protocol = ip->protocol;
	packet->flow = ip->tos;
	packet->transport_offset = header;
	address_from_ipv4(packet->source.addr, ip->saddr);
	address_from_ipv4(packet->destination.addr, ip->daddr);
	return header == sizeof(*ip) ? PARSED : parse_ipv4_options(ip, header, end);
}

static __always_inline enum parse_result parse_ipv6(struct packet *packet, const void *end,
						    enum parse_direction direction)
{
	struct ipv6hdr *ip = packet->network;
	__u32 at = sizeof(*ip);

	if ((void *)(ip + 1) > end || ip->version != 6)
		return MALFORMED;
	packet->length = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	if (packet->length > end - (void *)ip)
		return MALFORMED;
	packet->protocol = ip->nexthdr;
	packet->flow = *(__be32 *)ip & bpf_htonl(0x0fffffff);
	address_from_ipv6(packet->source.addr, &ip->saddr);
	address_from_ipv6(packet->destination.addr, &ip->daddr);
	/* ::ffff:a.b.c.d names an IPv4 party in a tuple; as an address on the wire it would pass for one. */
	if (is_mapped(packet->source.addr) || is_mapped(packet->destination.addr))
		return MALFORMED;

	for (int i = 0; is_ipv6_extension(packet->protocol); i++) {
		struct ipv6_opt_hdr *extension = packet->network + at;

		if (i == HEADERS_WALKED)
			return TOO_MANY_HEADERS;
		if (at + 8 > packet->length || (void *)extension + 8 > end)
			return MALFORMED;
		/* With no segment left a routing header has done its work, and a receiver walks past it. */
		if (packet->protocol == IPPROTO_ROUTING &&
		    (direction == PARSE_TRANSMITTED || ((__u8 *)extension)[3] != 0))
			return SOURCE_ROUTED;
		packet->protocol = extension->nexthdr;
		at += (extension->hdrlen + 1) * 8;
		if (at > packet->length)
			return MALFORMED;
	}
	if (packet->protocol == IPPROTO_FRAGMENT)
		return FRAGMENT;
	packet->transport_offset = at;
	if (packet->protocol != IPPROTO_ICMPV6)
		return PARSED;
	/* Behind the packet's end there is padding, which is no message. */
	return packet->length - at < sizeof(struct icmp6hdr) ? MALFORMED : PARSED_ICMPV6;
}

static __always_inline enum parse_result parse_ports(struct packet *packet, const void *end)
{
	void *transport = packet->network + packet->transport_offset;
	__u32 length = packet->length - packet->transport_offset;

	if (packet->transport_offset > packet->length)
		return MALFORMED;
	if (packet->protocol == IPPROTO_UDP) {
		struct udphdr *udp = transport;

		if (length < sizeof(*udp) || (void *)(udp + 1) > end)
			return MALFORMED;
		if (bpf_ntohs(udp->len) < sizeof(*udp) || bpf_ntohs(udp->len) > length)
			return MALFORMED;
		packet->source.port = udp->source;
		packet->destination.port = udp->dest;
	} else if (packet->protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = transport;

		if (length < sizeof(*tcp) || (void *)(tcp + 1) > end)
			return MALFORMED;
		if (tcp->doff < 5 || tcp->doff * 4 > length)
			return MALFORMED;
		packet->source.port = tcp->source;
		packet->destination.port = tcp->dest;
	} else {
		return NOT_TCP_UDP;
	}
	packet->source.protocol = packet->protocol;
	packet->destination.protocol = packet->protocol;
	packet->source.zero = 0;
	packet->destination.zero = 0;
	return PARSED;
}

static __always_inline enum parse_result parse(struct packet *packet, void *data, const void *end,
					       enum parse_direction direction)
{
	struct ethhdr *eth = data;
	enum parse_result found;

	if ((void *)(eth + 1) > end)
		return MALFORMED;
	packet->network = eth + 1;
	packet->ethertype = eth->h_proto;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		found = parse_ipv4(packet, end);
	else if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		found = parse_ipv6(packet, end, direction);
	else
		return eth->h_proto == bpf_htons(ETH_P_ARP) ? PARSED_ARP : NOT_IP;
	return found == PARSED ? parse_ports(packet, end) : found;
}

#endif
