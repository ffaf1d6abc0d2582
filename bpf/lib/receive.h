/* SPDX-License-Identifier: GPL-2.0-only */
/* Who is to receive a packet: one from the wire, which XDP sees, or one of this host to itself, which TC sees. */
#ifndef MSTACK_LIB_RECEIVE_H
#define MSTACK_LIB_RECEIVE_H

#include "fragment.h"
#include "icmp.h"
#include "parse.h"
#include "plain.h"
#include "steer.h"
#include "vlan.h"

static __always_inline enum mstack_verdict why_passed(enum parse_result parsed)
{
	switch (parsed) {
	case PARSED_ARP:
	case NOT_IP:
		return MSTACK_RX_PASS_NOT_IP;
	case TAGGED:
		return MSTACK_RX_PASS_VLAN;
	case PARSED_ICMP:
	case NO_PORTS:
		return MSTACK_RX_PASS_PROTOCOL;
	case FRAGMENT:
		return MSTACK_RX_PASS_FRAGMENT;
	case TOO_MANY_HEADERS:
	case SOURCE_ROUTED:
		return MSTACK_RX_PASS_HEADERS;
	default:
		return MSTACK_RX_PASS_MALFORMED;
	}
}

static __always_inline enum mstack_verdict settle_received_first(const struct packet *packet,
								 const struct fragment *fragment,
								 enum parse_result parsed, struct datagram_place *place)
{
	enum mstack_verdict verdict = why_passed(parsed);
	union owner owner = {};

	if (parsed == PARSED)
		verdict = find_receiver(&packet->destination, &owner);
	if (verdict == MSTACK_RX_STEERED)
		remember_datagram(place, packet, fragment, owner.vport, cookie_of(&packet->destination, owner.vport));
	else /* what goes to the kernel goes there whole */
		forget_datagram(place, fragment);
	return verdict;
}

static __always_inline enum mstack_verdict settle_received_later(struct packet *packet, const struct fragment *fragment,
								 struct datagram_place *place)
{
	union owner owner = {};
	struct recalled first;

	if (!recall_datagram(place, packet, fragment, &first, PARSE_RECEIVED))
		return MSTACK_RX_PASS_FRAGMENT;
	if (fragment->offset < first.length)
		return MSTACK_RX_PASS_OVERLAP;
	if (find_receiver(&packet->destination, &owner) != MSTACK_RX_STEERED ||
	    !is_under_same_claim(&first, &packet->destination, owner.vport))
		return MSTACK_RX_PASS_FRAGMENT;
	return MSTACK_RX_STEERED;
}

/* RX_STEERED: the packet now has the ports of its datagram, and goes their way. */
static __always_inline enum mstack_verdict settle_received(struct packet *packet, void *ctx, void *data,
							   const void *end, __u32 how)
{
	struct datagram_place *place;
	struct fragment fragment;
	enum parse_result parsed;

	parsed = read_fragment(packet, &fragment, ctx, data, end, how);
	if (fragment.kind != FIRST_FRAGMENT && parsed != PARSED)
		return why_passed(parsed);
	place = place_of_received(&fragment.key, how);
	if (!place)
		return MSTACK_RX_PASS_FRAGMENT;
	if (fragment.kind == FIRST_FRAGMENT)
		return settle_received_first(packet, &fragment, parsed, place);
	return settle_received_later(packet, &fragment, place);
}

/* Not static, so that the verifier looks at them once, apart from all the ways that lead here. */
__noinline __weak int settle_received_xdp(struct xdp_md *ctx, struct packet *packet)
{
	if (!packet)
		return MSTACK_RX_PASS_MALFORMED;
	return settle_received(packet, ctx, (void *)(long)ctx->data, (void *)(long)ctx->data_end, PARSE_RECEIVED);
}

__noinline __weak int settle_received_tc(struct __sk_buff *ctx, struct packet *packet)
{
	if (!packet)
		return MSTACK_RX_PASS_MALFORMED;
	return settle_received(packet, ctx, (void *)(long)ctx->data, (void *)(long)ctx->data_end,
			       PARSE_RECEIVED | PARSE_IN_TC);
}

/* Of all that is not plain, and in TC of all: RX_STEERED if the packet has the ports by which it is to be steered. */
static __always_inline enum mstack_verdict read_received(struct packet *packet, void *ctx, void *data, const void *end,
							 __u32 how)
{
	enum parse_result parsed = parse(packet, ctx, data, end, how);

	if (parsed == TAGGED && !(how & PARSE_IN_TC)) {
		*packet = (struct packet){};
		parsed = parse_tagged(ctx, packet);
	}
	switch (parsed) {
	case PARSED:
		return MSTACK_RX_STEERED;
	case PARSED_ICMP:
		/* About a packet of whose source we may know the owner, and from here on treated like an answer to it.
		 */
		switch (read_icmp(packet, ctx, how)) {
		case ICMP_QUOTED:
			return MSTACK_RX_STEERED;
		case ICMP_NO_ERROR:
			return MSTACK_RX_PASS_PROTOCOL;
		default:
			return MSTACK_RX_PASS_ICMP;
		}
	case FRAGMENT:
		without_ports(packet);
		return how & PARSE_IN_TC ? settle_received_tc(ctx, packet) : settle_received_xdp(ctx, packet);
	default:
		return why_passed(parsed);
	}
}

/* Of a frame: RX_STEERED, the packet and who gets it, or why it is the kernel's. */
static __always_inline enum mstack_verdict receive(struct packet *packet, union owner *receiver, void *ctx, void *data,
						   const void *end, __u32 how)
{
	enum mstack_verdict verdict;
	struct plain plain;

	if (!(how & PARSE_IN_TC) && read_plain(&plain, data, end)) {
		if (!has_claims(plain.protocol, plain.transport->dest))
			return MSTACK_RX_PASS_UNCLAIMED;
		write_plain(packet, &plain);
		verdict = find_owner(&packet->destination, receiver);
	} else {
		verdict = read_received(packet, ctx, data, end, how);
		if (verdict != MSTACK_RX_STEERED)
			return verdict;
		verdict = find_receiver(&packet->destination, receiver);
	}
	/*
	 * What this host sends to itself is on no wire. A stack's answer to it would come back to a stack, for another
	 * answer, for ever; the kernel knows what to do with a Martian.
	 */
	if (verdict == MSTACK_RX_STEERED && !(how & PARSE_IN_TC) && is_unexpectedly_local(packet->source.addr))
		return MSTACK_RX_PASS_OWN_SOURCE;
	return verdict;
}

#endif
