/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What nearly all received packets are: TCP or UDP right behind an IP header without options, untagged, whole and in
 * one buffer. It is read without being written down, for most of it is nobody's but the kernel's, which its port alone
 * tells.
 *
 * These are the rules of parse.h. What they do not settle here is for parse() to name.
 */
#ifndef MSTACK_LIB_PLAIN_H
#define MSTACK_LIB_PLAIN_H

#include "transport.h"

struct plain {
	const void *network;
	const struct udphdr *transport; /* or TCP's: both begin with the ports */
	__u32 length;			/* of the network header and all that it encloses */
	__u8 protocol;
	bool ipv6;
};

static __always_inline bool read_plain_ipv4(struct plain *plain, const void *end)
{
	const struct iphdr *ip = plain->network;

	if ((const void *)(ip + 1) > end || *(const __u8 *)ip != 0x45 || is_ipv4_fragment(ip))
		return false;
	plain->length = bpf_ntohs(ip->tot_len);
	plain->protocol = ip->protocol;
	plain->transport = (const void *)(ip + 1);
	return plain->length >= sizeof(*ip);
}

static __always_inline bool read_plain_ipv6(struct plain *plain, const void *end)
{
	const struct ipv6hdr *ip = plain->network;

	if ((const void *)(ip + 1) > end || ip->version != 6)
		return false;
	/* ::ffff:0:0/96 is for parse() to find in there. */
	if (!ip->saddr.s6_addr32[0] || !ip->daddr.s6_addr32[0])
		return false;
	plain->length = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	plain->protocol = ip->nexthdr;
	plain->transport = (const void *)(ip + 1);
	return true;
}

static __always_inline bool read_plain(struct plain *plain, const void *data, const void *end)
{
	const void *network = data + sizeof(struct ethhdr);
	const __be16 *ethertype = network - sizeof(*ethertype);
	__u32 rest;

	if (network > end)
		return false;
	plain->network = network;
	plain->ipv6 = *ethertype == bpf_htons(ETH_P_IPV6);
	if (plain->ipv6 ? !read_plain_ipv6(plain, end)
			: *ethertype != bpf_htons(ETH_P_IP) || !read_plain_ipv4(plain, end))
		return false;
	if (plain->length > (__u64)(end - network))
		return false;
	rest = plain->length - (plain->ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	if (plain->protocol == IPPROTO_UDP)
		return (const void *)(plain->transport + 1) <= end &&
		       is_whole_udp(plain->transport, rest, PARSE_RECEIVED);
	if (plain->protocol == IPPROTO_TCP) {
		const struct tcphdr *tcp = (const void *)plain->transport;

		return (const void *)(tcp + 1) <= end && is_whole_tcp(tcp, rest);
	}
	return false;
}

/* All that is asked of it from here on: its tuples, where it is, and its size. */
static __always_inline void write_plain(struct packet *packet, const struct plain *plain)
{
	packet->network_offset = sizeof(struct ethhdr);
	packet->length = plain->length;
	packet->protocol = plain->protocol;
	if (plain->ipv6) {
		const struct ipv6hdr *ip = plain->network;

		address_from_ipv6(packet->source.addr, &ip->saddr);
		address_from_ipv6(packet->destination.addr, &ip->daddr);
	} else {
		const struct iphdr *ip = plain->network;

		address_from_ipv4(packet->source.addr, ip->saddr);
		address_from_ipv4(packet->destination.addr, ip->daddr);
	}
	parsed_ports(packet, plain->transport->source, plain->transport->dest);
}

#endif
