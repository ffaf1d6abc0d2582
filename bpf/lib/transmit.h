/* SPDX-License-Identifier: GPL-2.0-only */
/* Whether a stack may send a packet: what vport_tx decides, and vport_tx_slow once more. */
#ifndef MSTACK_LIB_TRANSMIT_H
#define MSTACK_LIB_TRANSMIT_H

#include "fragment.h"
#include "group.h"
#include "icmp.h"
#include "parse.h"
#include "route.h"
#include "steer.h"

/*
 * What a receiver joins is joined by addresses and a number that all vports of an address share. Who may send fragments
 * can, with one that the receiver keeps alone, write into the next datagram of that number, whoever sends it.
 * settle_sent_later() makes that hard, not impossible: so it is for mstackd to allow (--send-fragments).
 */
const volatile __u8 send_fragments __weak;

/* The rule of the whole: a source tuple leaves only from the vport that claimed it, and only if it is this host's. */
static __always_inline enum mstack_verdict check_source(const struct mstack_host_end *from,
							const struct mstack_tuple *source)
{
	union owner owner = owner_of(source);

	if (!owner.vport)
		return MSTACK_TX_DROP_UNCLAIMED;
	if (owner.vport != from->vport)
		return MSTACK_TX_DROP_NOT_OWNER;
	/* Always: a wildcard claim holds no foreign address, and an exact one not after the host has lost it. */
	return owner.flags & OWNER_LOCAL ? MSTACK_TX_SENT : MSTACK_TX_DROP_NOT_LOCAL;
}

static __always_inline bool is_destination(const struct packet *packet)
{
	return is_unicast(packet->destination.addr) || (is_group(packet->destination.addr) && may_go_to_many(packet));
}

static __always_inline enum mstack_verdict why_dropped(enum parse_result parsed)
{
	switch (parsed) {
	case TAGGED: /* what VLAN a packet is for, its route says */
	case NOT_IP:
		return MSTACK_TX_DROP_NOT_IP;
	case PARSED_ARP:
		return MSTACK_TX_DROP_ARP;
	case PARSED_ICMP:
	case NO_PORTS:
		return MSTACK_TX_DROP_PROTOCOL;
	case FRAGMENT:
		return MSTACK_TX_DROP_FRAGMENT;
	case TOO_MANY_HEADERS:
		return MSTACK_TX_DROP_HEADERS;
	case SOURCE_ROUTED: /* the wire would carry it somewhere else than the route that was checked */
		return MSTACK_TX_DROP_SOURCE_ROUTE;
	default:
		return MSTACK_TX_DROP_MALFORMED;
	}
}

static __always_inline enum mstack_verdict settle_sent_first(const struct mstack_host_end *from,
							     const struct packet *packet,
							     const struct fragment *fragment, enum parse_result parsed,
							     struct datagram_place *place)
{
	__u64 cookie = parsed == PARSED ? cookie_of(&packet->source, from->vport) : 0;

	/* Of several of a key the newest decides, whatever the ones before it were. */
	if (cookie)
		remember_datagram(place, packet, fragment, from->vport, cookie);
	else
		forget_datagram(place, fragment);
	return parsed == PARSED ? MSTACK_TX_SENT : why_dropped(parsed);
}

static __always_inline enum mstack_verdict settle_sent_later(const struct mstack_host_end *from, struct packet *packet,
							     const struct fragment *fragment,
							     struct datagram_place *place)
{
	struct recalled first;
	__u64 cookie;

	if (!recall_datagram(place, packet, fragment, &first, PARSE_TRANSMITTED))
		return MSTACK_TX_DROP_FRAGMENT;
	if (fragment->offset < first.length)
		return MSTACK_TX_DROP_OVERLAP;
	cookie = cookie_of(&packet->source, from->vport);
	if (cookie && (first.vport != from->vport || first.cookie != cookie))
		return MSTACK_TX_DROP_FRAGMENT;
	return MSTACK_TX_SENT;
}

/*
 * The first fragment of a datagram may leave as any packet may, a later one if the first did, and if it would itself.
 * TX_SENT: the packet now has the ports of its datagram, so that all of it take the same way, once its source was
 * checked as that of any packet.
 */
static __always_inline enum mstack_verdict settle_fragment(const struct mstack_host_end *from, struct packet *packet,
							   void *ctx, void *data, const void *end, __u32 how)
{
	struct datagram_place *place;
	struct fragment fragment;
	enum parse_result parsed;

	parsed = read_fragment(packet, &fragment, ctx, data, end, how);
	if (fragment.kind != FIRST_FRAGMENT && parsed != PARSED)
		return why_dropped(parsed);
	place = place_of_sent(&fragment.key, from->vport);
	if (!place)
		return MSTACK_TX_DROP_NO_VPORT;
	if (fragment.kind == FIRST_FRAGMENT)
		return settle_sent_first(from, packet, &fragment, parsed, place);
	return settle_sent_later(from, packet, &fragment, place);
}

/* Not static, so that the verifier looks at them once, apart from all the ways that lead here. */
__noinline __weak int settle_sent_fragment(struct xdp_md *ctx, struct packet *packet)
{
	__u32 ifindex = ctx->ingress_ifindex;
	struct mstack_host_end *from = bpf_map_lookup_elem(&host_ends, &ifindex);

	if (!from || !packet)
		return MSTACK_TX_DROP_NO_VPORT;
	return settle_fragment(from, packet, ctx, (void *)(long)ctx->data, (void *)(long)ctx->data_end,
			       PARSE_TRANSMITTED);
}

__noinline __weak int settle_slow_fragment(struct __sk_buff *skb, struct packet *packet)
{
	__u32 ifindex = skb->ifindex;
	struct mstack_host_end *from = bpf_map_lookup_elem(&host_ends, &ifindex);

	if (!from || !packet)
		return MSTACK_TX_DROP_NO_VPORT;
	return settle_fragment(from, packet, skb, (void *)(long)skb->data, (void *)(long)skb->data_end,
			       PARSE_TRANSMITTED | PARSE_IN_TC);
}

/* What such a function returns is any number to the verifier. */
static __always_inline enum mstack_verdict as_verdict(__u32 returned)
{
	return returned < MSTACK_VERDICT_COUNT ? returned : MSTACK_TX_DROP_FRAGMENT;
}

/*
 * Of a first fragment that did not leave after all: nor do the later ones. Nothing was wrong with it, so its header is
 * where it must be.
 */
static __always_inline int forget_fragment(struct packet *packet, void *data, const void *end, __u32 ifindex)
{
	struct mstack_host_end *from = bpf_map_lookup_elem(&host_ends, &ifindex);
	struct datagram_place *place;
	struct fragment fragment = {};

	if (!from || !packet)
		return 0;
	packet->network_offset = sizeof(struct ethhdr);
	packet->transport_offset = is_ipv6(packet) ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	read_fragment_fields(packet, &fragment, data, end);
	place = place_of_sent(&fragment.key, from->vport);
	if (place && fragment.kind == FIRST_FRAGMENT)
		forget_datagram(place, &fragment);
	return 0;
}

__noinline __weak int forget_sent_fragment(struct xdp_md *ctx, struct packet *packet)
{
	return forget_fragment(packet, (void *)(long)ctx->data, (void *)(long)ctx->data_end, ctx->ingress_ifindex);
}

__noinline __weak int forget_slow_fragment(struct __sk_buff *skb, struct packet *packet)
{
	return forget_fragment(packet, (void *)(long)skb->data, (void *)(long)skb->data_end, skb->ifindex);
}

/* The sender is told the reason in its own terms. */
static __always_inline enum mstack_verdict why_undelivered(enum mstack_verdict delivered)
{
	switch (delivered) {
	case MSTACK_RX_STEERED:
		return MSTACK_TX_TO_STACK;
	case MSTACK_RX_DROP_TOO_BIG:
		return MSTACK_TX_DROP_TOO_BIG;
	default:
		return MSTACK_TX_DROP_NO_VPORT;
	}
}

#endif
