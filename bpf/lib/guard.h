/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Nobody on this host sends from a claimed tuple but its owner: the owner's own socket, known by its cookie, and its
 * stack, whose packets vport_tx_slow has checked and which came in by a host end. All others are refused: raw and
 * packet sockets, sockets that choose another source address (IP_PKTINFO), what NAT gave the port to, what is
 * forwarded.
 *
 * parse.h is strict, since what it takes is let through. Here what is recognised is stopped, so this reads whatever a
 * receiver could at most read: no length but that of the packet itself, and of a first fragment, is believed (the
 * kernel writes new ones into what a packet socket sends for it to cut up), what is odd is read over and not an excuse,
 * and tags, options and extension headers are walked. Whose headers cannot all be walked is refused if it is sent in
 * this host's name, and whoever it names if not even the tags can.
 *
 * What nearly all packets are, TCP or UDP behind an IP header and from a port without claims, costs one array read.
 */
#ifndef MSTACK_LIB_GUARD_H
#define MSTACK_LIB_GUARD_H

#include "known.h"
#include "maps.h"
#include "parse.h"
#include "steer.h"

#define GUARD_PASSES MSTACK_VERDICT_COUNT

/* What the source of a packet is read from, bit by bit. */
struct sender {
	struct mstack_tuple tuple;
	__u32 at;  /* the next header, from the frame's first byte */
	__u32 end; /* of the packet, as it says */
	__be16 ethertype;
	__u8 protocol; /* of the next header */
	__u8 in_fragment;
};

enum sender_result {
	SENDER_FOUND,	/* the tuple is whole */
	SENDER_PASSED,	/* a header was, and there is another */
	SENDER_NONE,	/* nobody could read ports from it */
	SENDER_UNKNOWN, /* only the address could be read */
	SENDER_HIDDEN,	/* not even that */
};

/* From wherever the packet's bytes are: only its beginning is where a program can see it. */
static __always_inline bool read_at(struct __sk_buff *skb, __u32 at, void *to, __u32 size)
{
	return !bpf_skb_load_bytes(skb, at, to, size);
}

static __always_inline enum sender_result read_ipv4_sender(struct __sk_buff *skb, struct sender *sender)
{
	struct iphdr ip;

	if (!read_at(skb, sender->at, &ip, sizeof(ip)))
		return SENDER_NONE;
	address_from_ipv4(sender->tuple.addr, ip.saddr);
	sender->protocol = ip.protocol;
	sender->end = sender->at + bpf_ntohs(ip.tot_len);
	sender->at += ip.ihl * 4;
	sender->in_fragment = !!(ip.frag_off & bpf_htons(IPV4_MORE));
	/* Alone it is no datagram: it is read together with its first one, which is stopped. */
	return ip.frag_off & bpf_htons(IPV4_OFFSET) ? SENDER_NONE : SENDER_PASSED;
}

static __always_inline enum sender_result read_ipv6_sender(struct __sk_buff *skb, struct sender *sender)
{
	struct ipv6hdr ip;

	if (!read_at(skb, sender->at, &ip, sizeof(ip)))
		return SENDER_NONE;
	address_from_ipv6(sender->tuple.addr, &ip.saddr);
	sender->protocol = ip.nexthdr;
	sender->at += sizeof(ip);
	sender->end = sender->at + bpf_ntohs(ip.payload_len);
	return SENDER_PASSED;
}

static __always_inline enum sender_result read_network_sender(struct __sk_buff *skb, struct sender *sender)
{
	__be16 ethertype = 0;
	__u32 at = __builtin_offsetof(struct ethhdr, h_proto);

	for (int tags = 0; tags <= HEADERS_WALKED; tags++) {
		if (!read_at(skb, at, &ethertype, sizeof(ethertype)))
			return SENDER_NONE;
		at += 2;
		if (!is_tag(ethertype))
			break;
		at += 2;
	}
	/* A receiver takes off as many as there are. */
	if (is_tag(ethertype))
		return SENDER_HIDDEN;
	sender->at = at;
	sender->ethertype = ethertype;
	if (ethertype == bpf_htons(ETH_P_IP))
		return read_ipv4_sender(skb, sender);
	return ethertype == bpf_htons(ETH_P_IPV6) ? read_ipv6_sender(skb, sender) : SENDER_NONE;
}

/* Past an extension header, or to the ports. */
static __always_inline enum sender_result read_next_header(struct __sk_buff *skb, struct sender *sender)
{
	bool ipv6 = sender->ethertype == bpf_htons(ETH_P_IPV6);
	__u8 header[4];

	/* What a fragment has not, padding aside, is in the next one. */
	if (sender->in_fragment && sender->at + sizeof(header) > sender->end)
		return SENDER_UNKNOWN;
	if (!read_at(skb, sender->at, header, sizeof(header)))
		return sender->in_fragment ? SENDER_UNKNOWN : SENDER_NONE;
	switch (sender->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
		sender->tuple.protocol = sender->protocol;
		__builtin_memcpy(&sender->tuple.port, header, sizeof(sender->tuple.port));
		return SENDER_FOUND;
	case IPPROTO_AH:
		sender->at += (header[1] + 2) * 4;
		break;
	case IPPROTO_FRAGMENT:
		if (!ipv6 || (header[2] << 8 | header[3]) & 0xfff8)
			return SENDER_NONE;
		sender->in_fragment |= header[3] & 1;
		sender->at += 8;
		break;
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
		if (!ipv6)
			return SENDER_NONE;
		sender->at += (header[1] + 1) * 8;
		break;
	default:
		return SENDER_NONE;
	}
	sender->protocol = header[0];
	return SENDER_PASSED;
}

/* Looked at once, as the steps in parse.h. */
__noinline __weak int read_next_header_of_sender(struct __sk_buff *skb, struct sender *sender)
{
	return sender ? read_next_header(skb, sender) : SENDER_NONE;
}

static __always_inline bool is_anothers(struct __sk_buff *skb, const struct mstack_tuple *source)
{
	struct mstack_tuple key = *source;
	const struct mstack_host_end *from;
	struct mstack_claim *claim;
	__u32 ifindex = skb->ingress_ifindex;

	/* 0.0.0.0 and :: are whoever has no address yet, and the keys of wildcards. */
	if (!any_claim_on_port(source) || is_wildcard(source))
		return false;
	claim = active_claim(&key);
	if (!claim && is_local(key.addr)) {
		make_wildcard(&key);
		claim = active_claim(&key);
	}
	if (!claim || bpf_get_socket_cookie(skb) == claim->cookie)
		return false;
	from = bpf_map_lookup_elem(&host_ends, &ifindex);
	return !from || from->vport != claim->vport;
}

/* Header by header: of all that a look at the packet does not settle. */
__noinline __weak int guard_slowly(struct __sk_buff *skb)
{
	struct sender sender = {};
	int found = read_network_sender(skb, &sender);

	for (int i = 0; i <= HEADERS_WALKED && found == SENDER_PASSED; i++)
		found = read_next_header_of_sender(skb, &sender);
	if (found == SENDER_NONE)
		return GUARD_PASSES;
	if (found == SENDER_FOUND)
		return is_anothers(skb, &sender.tuple) ? MSTACK_GUARD_DROP_NOT_OWNER : GUARD_PASSES;
	if (found == SENDER_HIDDEN)
		return MSTACK_GUARD_DROP_HEADERS;
	return is_local(sender.tuple.addr) ? MSTACK_GUARD_DROP_HEADERS : GUARD_PASSES;
}

/* What nearly all packets are: TCP or UDP right behind an IP header that can be seen, from a port without claims. ICMP
 * has no ports. */
static __always_inline bool is_plainly_unclaimed(const void *data, const void *end)
{
	const struct ethhdr *eth = data;
	const struct iphdr *ip = (const void *)(eth + 1);
	const struct ipv6hdr *ip6 = (const void *)(eth + 1);
	const __be16 *port;
	__u8 protocol;

	if ((const void *)(ip + 1) > end)
		return false;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		if (ip->ihl != 5 || is_ipv4_fragment(ip))
			return false;
		protocol = ip->protocol;
		port = (const void *)(ip + 1);
	} else {
		if (eth->h_proto != bpf_htons(ETH_P_IPV6) || (const void *)(ip6 + 1) > end)
			return false;
		protocol = ip6->nexthdr;
		port = (const void *)(ip6 + 1);
	}
	if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6)
		return true;
	if ((protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) || (const void *)(port + 1) > end)
		return false;
	return !has_claims(protocol, *port);
}

/* GUARD_PASSES, or why the packet may not leave. */
static __always_inline enum mstack_verdict guard(struct __sk_buff *skb)
{
	if (is_plainly_unclaimed((void *)(long)skb->data, (void *)(long)skb->data_end))
		return GUARD_PASSES;
	return guard_slowly(skb);
}

#endif
