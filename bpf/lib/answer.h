/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A stack may ask who has an address. The host end answers for all of them with its own MAC, since it is the host
 * that finds the way from there. Nothing a stack says in ARP or neighbour discovery goes further than this.
 */
#ifndef MSTACK_LIB_ANSWER_H
#define MSTACK_LIB_ANSWER_H

#include <linux/icmpv6.h>

#include "l2.h"
#include "parse.h"

enum answer_result {
	ANSWERED, /* the frame is now the answer */
	NOT_A_REQUEST,
	BAD_REQUEST,
};

/* <linux/if_arp.h> brings in the C library, so here is what is used of it. */
#define ARP_ETHERNET 1
#define ARP_REQUEST  1
#define ARP_REPLY    2

struct arp_ipv4 {
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_length;
	__u8 protocol_length;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__u8 sender[4];
	__u8 target_mac[ETH_ALEN];
	__u8 target[4];
} __attribute__((packed));

/* ARP (RFC 826). A probe or an announcement of its own address gets no answer: that would be a conflict. */
static __noinline enum answer_result answer_arp(struct xdp_md *ctx, __u32 slot)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct arp_ipv4 *arp = data + sizeof(*eth);
	__u8 sender[4], target[4];

	if ((void *)(arp + 1) > end)
		return BAD_REQUEST;
	if (arp->hardware != bpf_htons(ARP_ETHERNET) || arp->protocol != bpf_htons(ETH_P_IP) ||
	    arp->hardware_length != ETH_ALEN || arp->protocol_length != 4)
		return BAD_REQUEST;
	if (arp->operation != bpf_htons(ARP_REQUEST))
		return NOT_A_REQUEST;
	__builtin_memcpy(sender, arp->sender, 4);
	__builtin_memcpy(target, arp->target, 4);
	if (*(__be32 *)sender == 0 || *(__be32 *)sender == *(__be32 *)target)
		return NOT_A_REQUEST;

	write_macs_to_stack(eth, slot);
	arp->operation = bpf_htons(ARP_REPLY);
	__builtin_memcpy(arp->target_mac, arp->sender_mac, ETH_ALEN);
	__builtin_memcpy(arp->target, sender, 4);
	mstack_mac(arp->sender_mac, MSTACK_MAC_HOST_END, slot);
	__builtin_memcpy(arp->sender, target, 4);
	return ANSWERED;
}

static __always_inline bool is_same_ipv6(const struct in6_addr *a, const struct in6_addr *b)
{
	return a->s6_addr32[0] == b->s6_addr32[0] && a->s6_addr32[1] == b->s6_addr32[1] &&
	       a->s6_addr32[2] == b->s6_addr32[2] && a->s6_addr32[3] == b->s6_addr32[3];
}

struct neighbour_message {
	struct icmp6hdr icmp;
	struct in6_addr target;
};

struct neighbour_advertisement {
	struct neighbour_message message;
	__u8 option_type;
	__u8 option_units;
	__u8 mac[ETH_ALEN];
};

#define ND_SOLICITATION	      135
#define ND_ADVERTISEMENT      136
#define ND_HOP_LIMIT	      255
#define ND_OPTION_TARGET_MAC  2
#define ND_SOLICITED_OVERRIDE 0x60000000
#define ND_OPTIONS_WALKED     4

static __always_inline __u16 icmpv6_checksum(const struct in6_addr *source, const struct in6_addr *destination,
					     const struct neighbour_advertisement *answer)
{
	struct {
		struct in6_addr source, destination;
		__be32 length, protocol;
	} pseudo = {
		.source = *source,
		.destination = *destination,
		.length = bpf_htonl(sizeof(*answer)),
		.protocol = bpf_htonl(IPPROTO_ICMPV6),
	};
	__s64 sum = bpf_csum_diff(NULL, 0, (__be32 *)&pseudo, sizeof(pseudo), 0);

	sum = bpf_csum_diff(NULL, 0, (__be32 *)answer, sizeof(*answer), (__wsum)sum);
	__u32 folded = (__u32)sum;
	folded = (folded & 0xffff) + (folded >> 16);
	folded = (folded & 0xffff) + (folded >> 16);
	return (__u16)~folded;
}

struct neighbour_request {
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct neighbour_message message;
} __attribute__((packed));

/* The validity checks of RFC 4861, 7.1.1. */
static __always_inline bool is_valid_solicitation(const struct neighbour_request *request, const void *end)
{
	const __u8 *option = (const __u8 *)(request + 1);
	__u32 left = bpf_ntohs(request->ip.payload_len);

	if (request->ip.hop_limit != ND_HOP_LIMIT)
		return false;
	if (request->message.icmp.icmp6_code != 0 || request->message.target.s6_addr[0] == 0xff)
		return false;
	if (left < sizeof(request->message))
		return false;
	left -= sizeof(request->message);
	for (int i = 0; i < ND_OPTIONS_WALKED && left; i++) {
		if (left < 8 || (const void *)(option + 8) > end)
			return false;
		__u32 size = option[1] * 8;
		if (size == 0 || size > left)
			return false;
		option += size;
		left -= size;
	}
	return left == 0;
}

/* Neighbour solicitation (RFC 4861). Duplicate address detection has no source, and is left without an answer. */
static __noinline enum answer_result answer_solicitation(struct xdp_md *ctx, __u32 slot)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct neighbour_request *request = data;
	struct neighbour_advertisement answer = {
		.message.icmp.icmp6_type = ND_ADVERTISEMENT,
		.message.icmp.icmp6_dataun.un_data32[0] = bpf_htonl(ND_SOLICITED_OVERRIDE),
		.option_type = ND_OPTION_TARGET_MAC,
		.option_units = 1,
	};
	const long size = sizeof(struct ethhdr) + sizeof(struct ipv6hdr) + sizeof(answer);
	struct in6_addr asker;

	if (data + sizeof(struct ethhdr) + sizeof(struct ipv6hdr) + sizeof(struct icmp6hdr) > end)
		return BAD_REQUEST;
	/* An answer replaces the packet, so nothing may stand between the two headers. */
	if (request->ip.nexthdr != IPPROTO_ICMPV6 || request->message.icmp.icmp6_type != ND_SOLICITATION)
		return NOT_A_REQUEST;
	if ((void *)(request + 1) > end || !is_valid_solicitation(request, end))
		return BAD_REQUEST;
	asker = request->ip.saddr;
	answer.message.target = request->message.target;
	if (is_same_ipv6(&asker, &(struct in6_addr){}) || is_same_ipv6(&asker, &answer.message.target))
		return NOT_A_REQUEST;

	if (bpf_xdp_adjust_tail(ctx, size - (long)bpf_xdp_get_buff_len(ctx)))
		return BAD_REQUEST;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct ipv6hdr *ip = (void *)(eth + 1);
	struct neighbour_advertisement *reply = (void *)(ip + 1);

	if ((void *)(reply + 1) > end)
		return BAD_REQUEST;
	write_macs_to_stack(eth, slot);
	eth->h_proto = bpf_htons(ETH_P_IPV6);
	*ip = (struct ipv6hdr){
		.version = 6,
		.payload_len = bpf_htons(sizeof(answer)),
		.nexthdr = IPPROTO_ICMPV6,
		.hop_limit = ND_HOP_LIMIT,
		.saddr = answer.message.target,
		.daddr = asker,
	};
	mstack_mac(answer.mac, MSTACK_MAC_HOST_END, slot);
	answer.message.icmp.icmp6_cksum = icmpv6_checksum(&answer.message.target, &asker, &answer);
	*reply = answer;
	return ANSWERED;
}

#endif
