/* SPDX-License-Identifier: GPL-2.0-only */
/* XDP on an uplink: whose is this packet? Its owner's stack gets it; what nobody claimed is the kernel's, untouched. */
#include "lib/count.h"
#include "lib/fragment.h"
#include "lib/frame_size.h"
#include "lib/icmp.h"
#include "lib/l2.h"
#include "lib/parse.h"
#include "lib/steer.h"

static __always_inline int pass(enum mstack_verdict verdict)
{
	count(verdict);
	return XDP_PASS;
}

static __always_inline enum mstack_verdict why_passed(enum parse_result parsed)
{
	switch (parsed) {
	case PARSED_ARP:
	case NOT_IP:
		return MSTACK_RX_PASS_NOT_IP;
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

/* A redirect to a device that is too small for the frame fails later, and nobody would count it. */
static __noinline bool fits(struct xdp_md *ctx, __u32 size, __u32 slot)
{
	__u32 *ifindex = bpf_map_lookup_elem(&vport_devs, &slot);
	__u32 length =
		size - sizeof(struct ethhdr); /* told, since of what it could see it counts the first buffer alone */

	return !ifindex || bpf_check_mtu(ctx, *ifindex, &length, 0, 0) == BPF_MTU_CHK_RET_SUCCESS;
}

static __always_inline int deliver(struct xdp_md *ctx, struct ethhdr *eth, union owner owner,
				   const struct packet *packet)
{
	__u32 slot = owner.slot + queue_of(owner, &packet->destination, &packet->source);
	__u32 size = frame_size(ctx, packet);

	if (size > MSTACK_MIN_FRAME && !fits(ctx, size, slot)) {
		count(MSTACK_RX_DROP_TOO_BIG);
		return XDP_DROP;
	}
	if (bpf_redirect_map(&vport_devs, slot, XDP_DROP) != XDP_REDIRECT) {
		count(MSTACK_RX_DROP_NO_VPORT);
		return XDP_DROP;
	}
	write_macs_to_stack(eth, slot);
	count(MSTACK_RX_STEERED);
	return XDP_REDIRECT;
}

static __always_inline enum mstack_verdict settle_first(const struct packet *packet, const struct fragment *fragment,
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

static __always_inline enum mstack_verdict settle_later(struct packet *packet, const struct fragment *fragment,
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

/*
 * RX_STEERED: the packet now has the ports of its datagram, and goes their way. Not static, so that the verifier looks
 * at it once, apart from all the ways that lead here.
 */
__noinline int settle_received_fragment(struct xdp_md *ctx, struct packet *packet)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct datagram_place *place;
	struct fragment fragment;
	enum parse_result parsed;

	if (!packet)
		return MSTACK_RX_PASS_MALFORMED;
	parsed = read_fragment(packet, &fragment, ctx, data, end, PARSE_RECEIVED);
	if (fragment.kind != FIRST_FRAGMENT && parsed != PARSED)
		return why_passed(parsed);
	place = place_of_received(&fragment.key);
	if (!place)
		return MSTACK_RX_PASS_FRAGMENT;
	if (fragment.kind == FIRST_FRAGMENT)
		return settle_first(packet, &fragment, parsed, place);
	return settle_later(packet, &fragment, place);
}

SEC("xdp")
int uplink_rx(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	enum mstack_verdict verdict;
	enum parse_result parsed;
	struct packet packet;
	union owner owner;

	parsed = parse(&packet, ctx, data, end, PARSE_RECEIVED);
	if (parsed == PARSED_ICMP) {
		/* About a packet of whose source we may know the owner, and from here on treated like an answer to it.
		 */
		switch (read_icmp(&packet, ctx, PARSE_RECEIVED)) {
		case ICMP_QUOTED:
			break;
		case ICMP_NO_ERROR:
			return pass(MSTACK_RX_PASS_PROTOCOL);
		default:
			return pass(MSTACK_RX_PASS_ICMP);
		}
	} else if (parsed == FRAGMENT) {
		without_ports(&packet);
		verdict = settle_received_fragment(ctx, &packet);
		if (verdict != MSTACK_RX_STEERED)
			return pass(verdict);
	} else if (parsed != PARSED) {
		return pass(why_passed(parsed));
	}
	verdict = find_receiver(&packet.destination, &owner);
	if (verdict != MSTACK_RX_STEERED)
		return pass(verdict);
	return deliver(ctx, data, owner, &packet);
}

char LICENSE[] SEC("license") = "GPL";
