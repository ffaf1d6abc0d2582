/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * On a host end, whatever its stack sends: first XDP, which lets a packet through only if the stack's vport holds
 * the claim on its source, then, for what XDP cannot finish, TC.
 */
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>

#include "lib/answer.h"
#include "lib/count.h"
#include "lib/deliver.h"
#include "lib/flow.h"
#include "lib/fragment.h"
#include "lib/frame_size.h"
#include "lib/group.h"
#include "lib/icmp.h"
#include "lib/l2.h"
#include "lib/next_hop.h"
#include "lib/pace.h"
#include "lib/parse.h"
#include "lib/route.h"
#include "lib/steer.h"
#include "lib/vlan.h"

/* One drop in 4,096 of a reason, and the first, is told to whoever listens. */
#define DROP_SAMPLE_MASK 4095

/*
 * What a receiver joins is joined by addresses and a number that all vports of an address share. Who may send fragments
 * can, with one that the receiver keeps alone, write into the next datagram of that number, whoever sends it.
 * settle_later() makes that hard, not impossible: so it is for mstackd to allow (--send-fragments).
 */
const volatile __u8 send_fragments;

static __always_inline int drop(__u32 slot, enum mstack_verdict verdict)
{
	count_queue(slot, verdict);
	return XDP_DROP;
}

/* Why a packet whose tuple could be read was dropped is worth a line in mstackd's log. */
static __always_inline int drop_tuple(const struct mstack_host_end *from, const struct mstack_tuple *tuple,
				      enum mstack_verdict verdict)
{
	struct mstack_vport_stats *stats = count_queue(from->slot, verdict);
	struct mstack_event *event;

	if (!stats || (stats->packets[verdict] & DROP_SAMPLE_MASK) != 1)
		return XDP_DROP;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (event) {
		*event = (struct mstack_event){
			.type = MSTACK_EVENT_TX_DROP,
			.vport = from->vport,
			.verdict = verdict,
			.slot = from->slot,
			.tuple = *tuple,
		};
		bpf_ringbuf_submit(event, 0);
	}
	return XDP_DROP;
}

static __always_inline int answer(const struct mstack_host_end *from, enum answer_result result,
				  enum mstack_verdict not_a_request)
{
	if (result == ANSWERED) {
		count_queue(from->slot, MSTACK_TX_ANSWERED);
		return XDP_TX;
	}
	return drop(from->slot, result == NOT_A_REQUEST ? not_a_request : MSTACK_TX_DROP_MALFORMED);
}

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

static __always_inline enum mstack_verdict settle_first(const struct mstack_host_end *from, const struct packet *packet,
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

static __always_inline enum mstack_verdict settle_later(const struct mstack_host_end *from, struct packet *packet,
							const struct fragment *fragment, struct datagram_place *place)
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
		return settle_first(from, packet, &fragment, parsed, place);
	return settle_later(from, packet, &fragment, place);
}

/* Not static, so that the verifier looks at them once, apart from all the ways that lead here. */
__noinline int settle_sent_fragment(struct xdp_md *ctx, struct packet *packet)
{
	__u32 ifindex = ctx->ingress_ifindex;
	struct mstack_host_end *from = bpf_map_lookup_elem(&host_ends, &ifindex);

	if (!from || !packet)
		return MSTACK_TX_DROP_NO_VPORT;
	return settle_fragment(from, packet, ctx, (void *)(long)ctx->data, (void *)(long)ctx->data_end,
			       PARSE_TRANSMITTED);
}

__noinline int settle_slow_fragment(struct __sk_buff *skb, struct packet *packet)
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

__noinline int forget_sent_fragment(struct xdp_md *ctx, struct packet *packet)
{
	return forget_fragment(packet, (void *)(long)ctx->data, (void *)(long)ctx->data_end, ctx->ingress_ifindex);
}

__noinline int forget_slow_fragment(struct __sk_buff *skb, struct packet *packet)
{
	return forget_fragment(packet, (void *)(long)skb->data, (void *)(long)skb->data_end, skb->ifindex);
}

/* Left to vport_tx_slow, addressed so that the kernel takes it in. It counts what becomes of the packet. */
static __always_inline int pass_to_slow_path(struct xdp_md *ctx, const struct mstack_host_end *from)
{
	struct ethhdr *eth = (void *)(long)ctx->data;

	if ((void *)(eth + 1) <= (void *)(long)ctx->data_end)
		write_macs_to_host(eth, from->slot);
	return XDP_PASS;
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

/* What the MTU is about: all that is behind the Ethernet header, padding too, as it would be in the next device. */
static __always_inline __u32 mtu_for(__u32 frame_size)
{
	return frame_size - sizeof(struct ethhdr);
}

/* Whether the uplink's driver transmits XDP frames of several buffers. */
static __noinline bool takes_buffers(__u32 ifindex)
{
	struct mstack_uplink *uplink = bpf_map_lookup_elem(&uplink_info, &ifindex);

	return uplink && uplink->flags & MSTACK_UPLINK_XMIT_SG;
}

/* Left to an uplink that a redirect to was found to work. */
static __always_inline int take_way(struct xdp_md *ctx, struct ethhdr *eth, __u32 frame, struct way *way,
				    const struct mstack_host_end *from)
{
	if (!has_tags(&way->vlan))
		write_macs(eth, way->dmac, way->smac);
	else if (!add_tags(ctx, way))
		return pass_to_slow_path(ctx, from);
	count_sent(from->slot, MSTACK_TX_SENT, frame);
	return XDP_REDIRECT;
}

/* The way of the flow's last packet is that of this one, whose source is checked as ever. */
static __always_inline bool goes_as_before(const struct packet *packet, const struct flow *flow)
{
	return check_source(&flow->from, &packet->source) == MSTACK_TX_SENT &&
	       bpf_redirect_map(&uplinks, flow->way.vlan.uplink, XDP_PASS) == XDP_REDIRECT;
}

static __noinline int send_to_many(struct xdp_md *ctx, struct ethhdr *eth, const struct packet *packet,
				   const struct mstack_host_end *from, const struct mstack_local *way)
{
	__u32 frame = frame_size(ctx, packet), size = mtu_for(frame);

	if (!way) /* the address has gone since the source was checked */
		return drop_tuple(from, &packet->source, MSTACK_TX_DROP_NOT_LOCAL);
	if (!may_go_to_many(packet))
		return drop_tuple(from, &packet->source, MSTACK_TX_DROP_DESTINATION);
	if (bpf_check_mtu(ctx, way->ifindex, &size, 0, 0) != BPF_MTU_CHK_RET_SUCCESS)
		return drop_tuple(from, &packet->source, MSTACK_TX_DROP_TOO_BIG);
	if (bpf_redirect_map(&uplinks, way->ifindex, XDP_PASS) != XDP_REDIRECT ||
	    (frame > first_buffer_size(ctx) && !takes_buffers(way->ifindex)))
		return pass_to_slow_path(ctx, from);
	group_mac(eth->h_dest, packet->destination.addr);
	write_mac(eth->h_source, way->mac);
	count_sent(from->slot, MSTACK_TX_SENT, frame);
	return XDP_REDIRECT;
}

/*
 * To another vport of this host, or to the sender itself: TX_TO_STACK. TX_TO_HOST: nobody has claimed the destination.
 * Otherwise why it is dropped. Not static, so that the verifier looks at it once.
 */
__noinline int send_to_stack(struct xdp_md *ctx, struct packet *packet)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	union owner receiver;

	if (!packet || data + sizeof(struct ethhdr) > end)
		return MSTACK_TX_DROP_MALFORMED;
	if (find_receiver(&packet->destination, &receiver) != MSTACK_RX_STEERED)
		return MSTACK_TX_TO_HOST;
	return why_undelivered(deliver(ctx, data, receiver, packet));
}

static __always_inline int send_to_this_host(struct xdp_md *ctx, struct packet *packet,
					     const struct mstack_host_end *from)
{
	packet->zero = 0; /* see without_ports() */
	switch (send_to_stack(ctx, packet)) {
	case MSTACK_TX_TO_STACK:
		count_sent(from->slot, MSTACK_TX_TO_STACK, frame_size(ctx, packet));
		return XDP_REDIRECT;
	case MSTACK_TX_TO_HOST:
		return pass_to_slow_path(ctx, from);
	case MSTACK_TX_DROP_TOO_BIG:
		return drop_tuple(from, &packet->source, MSTACK_TX_DROP_TOO_BIG);
	default:
		return drop_tuple(from, &packet->source, MSTACK_TX_DROP_NO_VPORT);
	}
}

/* With a stack of its own: what is on it is not there while fragments are read, and all of them have 512 bytes. */
static __noinline int send(struct xdp_md *ctx, struct packet *packet, const struct mstack_host_end *from,
			   struct flow *flow, bool may_be_overtaken)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u32 frame = frame_size(ctx, packet), size = mtu_for(frame);
	const struct mstack_local *many;
	struct bpf_fib_lookup fib;
	struct way way = {};

	if ((void *)(eth + 1) > end)
		return drop(from->slot, MSTACK_TX_DROP_MALFORMED);
	if (size > 0xffff)
		return drop_tuple(from, &packet->source, MSTACK_TX_DROP_TOO_BIG);
	if (is_group(packet->destination.addr))
		return send_to_many(ctx, eth, packet, from, way_to_many(packet));
	route_query(&fib, packet, ctx->ingress_ifindex, size);
	switch (bpf_fib_lookup(ctx, &fib, sizeof(fib), 0)) {
	case BPF_FIB_LKUP_RET_SUCCESS:
		break;
	case BPF_FIB_LKUP_RET_NO_NEIGH:
		return pass_to_slow_path(ctx, from);
	case BPF_FIB_LKUP_RET_NOT_FWDED:
		many = way_to_many(packet);
		if (many)
			return send_to_many(ctx, eth, packet, from, many);
		if (is_local(packet->destination.addr))
			return send_to_this_host(ctx, packet, from);
		return drop_tuple(from, &packet->source, MSTACK_TX_DROP_NO_ROUTE);
	case BPF_FIB_LKUP_RET_FRAG_NEEDED:
		return drop_tuple(from, &packet->source, MSTACK_TX_DROP_TOO_BIG);
	default:
		return drop_tuple(from, &packet->source, MSTACK_TX_DROP_NO_ROUTE);
	}

	way.vlan.uplink = fib.ifindex;
	way.mtu = fib.mtu_result;
	write_mac(way.dmac, fib.dmac);
	write_mac(way.smac, fib.smac);
	/* An uplink that takes no XDP frames, or no uplink at all, is not in the map: the slow path tells them apart.
	 */
	if (bpf_redirect_map(&uplinks, fib.ifindex, XDP_PASS) != XDP_REDIRECT && !find_vlan(ctx, &way))
		return pass_to_slow_path(ctx, from);
	if (frame > first_buffer_size(ctx) && !takes_buffers(way.vlan.uplink))
		return pass_to_slow_path(ctx, from);
	if (may_be_overtaken && is_kernels_turn(&fib, size))
		return pass_to_slow_path(ctx, from);
	if (flow)
		remember_flow(flow, packet, ctx->ingress_ifindex, from, &way);
	return take_way(ctx, eth, frame, &way, from);
}

SEC("xdp")
int vport_tx(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u32 ifindex = ctx->ingress_ifindex;
	struct mstack_host_end *from;
	enum mstack_verdict verdict;
	enum parse_result parsed;
	struct packet packet;
	struct flow *flow = NULL;
	int action;

	parsed = parse(&packet, ctx, data, end, PARSE_TRANSMITTED);
	/* A flow says nothing of whether its uplink takes several buffers. */
	if (parsed == PARSED && frame_size(ctx, &packet) == end - data) {
		flow = place_of_flow(&packet, ifindex);
		if (flow && is_known(flow, &packet, mtu_for(end - data), ifindex) && goes_as_before(&packet, flow))
			return take_way(ctx, data, end - data, &flow->way, &flow->from);
	}

	from = bpf_map_lookup_elem(&host_ends, &ifindex);
	if (!from) {
		count(MSTACK_TX_DROP_NO_VPORT);
		return XDP_DROP;
	}
	switch (parsed) {
	case PARSED:
		break;
	case PARSED_ARP:
		return answer(from, answer_arp(ctx, from->slot), MSTACK_TX_DROP_ARP);
	case PARSED_ICMP:
		switch (read_icmp(&packet, ctx, PARSE_TRANSMITTED)) {
		case ICMP_QUOTED:
			break;
		case ICMP_NO_ERROR:
			if (!is_ipv6(&packet))
				return drop(from->slot, MSTACK_TX_DROP_PROTOCOL);
			return answer(from, answer_solicitation(ctx, from->slot), MSTACK_TX_DROP_PROTOCOL);
		default:
			return drop(from->slot, MSTACK_TX_DROP_ICMP);
		}
		break;
	case FRAGMENT:
		if (!send_fragments)
			return drop(from->slot, MSTACK_TX_DROP_FRAGMENT);
		without_ports(&packet);
		verdict = as_verdict(settle_sent_fragment(ctx, &packet));
		if (verdict != MSTACK_TX_SENT)
			return drop_tuple(from, &packet.source, verdict);
		break;
	default:
		return drop(from->slot, why_dropped(parsed));
	}

	verdict = check_source(from, &packet.source);
	if (verdict == MSTACK_TX_SENT && !is_destination(&packet))
		verdict = MSTACK_TX_DROP_DESTINATION;
	if (verdict != MSTACK_TX_SENT) {
		if (parsed == FRAGMENT)
			forget_sent_fragment(ctx, &packet);
		return drop_tuple(from, &packet.source, verdict);
	}
	if (parsed == PARSED_ICMP && !may_send_icmp(from->slot))
		return drop(from->slot, MSTACK_TX_DROP_ICMP_RATE);
	/* vport_tx_slow judges a datagram's fragments again, by their order. */
	action = send(ctx, &packet, from, flow, parsed != FRAGMENT);
	if (parsed == FRAGMENT && action == XDP_DROP)
		forget_sent_fragment(ctx, &packet);
	return action;
}

static __always_inline int slow_drop(__u32 slot, enum mstack_verdict verdict)
{
	count_queue(slot, verdict);
	return TC_ACT_SHOT;
}

/* vport_tx has looked for a stack that claimed the destination; it may have come meanwhile. */
static __always_inline int send_to_this_host_slow(struct __sk_buff *skb, const struct packet *packet,
						  const struct mstack_host_end *from)
{
	enum mstack_verdict verdict = MSTACK_TX_TO_HOST;
	union owner receiver;

	if (find_receiver(&packet->destination, &receiver) == MSTACK_RX_STEERED)
		verdict = why_undelivered(deliver_from_tc(skb, receiver, packet));
	/* What the stack wrote as destination MAC has made it another host's before vport_tx wrote ours. */
	else if (bpf_skb_change_type(skb, PACKET_HOST))
		verdict = MSTACK_TX_DROP_MALFORMED;
	if (verdict != MSTACK_TX_TO_HOST && verdict != MSTACK_TX_TO_STACK)
		return slow_drop(from->slot, verdict);
	count_sent(from->slot, verdict, skb->len);
	return verdict == MSTACK_TX_TO_STACK ? TC_ACT_REDIRECT : TC_ACT_OK;
}

/* By the uplink itself, or by a VLAN device, which adds its tags. */
static __always_inline bool leaves_by_uplink(__u32 ifindex)
{
	const struct mstack_vlan_device *device;
	__u32 uplink;

	if (bpf_map_lookup_elem(&uplink_info, &ifindex))
		return true;
	device = bpf_map_lookup_elem(&vlan_devices, &ifindex);
	if (!device)
		return false;
	uplink = device->vlan.uplink;
	return bpf_map_lookup_elem(&uplink_info, &uplink);
}

static __always_inline int send_slow_to_many(struct __sk_buff *skb, const struct packet *packet,
					     const struct mstack_host_end *from, const struct mstack_local *way)
{
	struct ethhdr *eth = (void *)(long)skb->data;
	__u32 ifindex = way->ifindex, mtu = 0;

	if (!may_go_to_many(packet))
		return slow_drop(from->slot, MSTACK_TX_DROP_DESTINATION);
	if (!leaves_by_uplink(ifindex))
		return slow_drop(from->slot, MSTACK_TX_DROP_NOT_UPLINK);
	if (bpf_check_mtu(skb, ifindex, &mtu, 0, 0) != BPF_MTU_CHK_RET_SUCCESS)
		return slow_drop(from->slot, MSTACK_TX_DROP_TOO_BIG);
	if ((void *)(eth + 1) > (void *)(long)skb->data_end)
		return slow_drop(from->slot, MSTACK_TX_DROP_MALFORMED);
	group_mac(eth->h_dest, packet->destination.addr);
	write_mac(eth->h_source, way->mac);
	if (bpf_redirect(ifindex, 0) != TC_ACT_REDIRECT)
		return slow_drop(from->slot, MSTACK_TX_DROP_NO_ROUTE);
	count_sent(from->slot, MSTACK_TX_SENT_SLOW, skb->len);
	return TC_ACT_REDIRECT;
}

static __always_inline int send_slow(struct __sk_buff *skb, const struct packet *packet,
				     const struct mstack_host_end *from)
{
	struct bpf_redir_neigh next_hop = {};
	struct mstack_local *way = way_to_many(packet);
	struct bpf_fib_lookup fib;
	bool is_known = true;

	if (!is_destination(packet))
		return slow_drop(from->slot, MSTACK_TX_DROP_DESTINATION);
	if (way)
		return send_slow_to_many(skb, packet, from, way);
	if (is_local(packet->destination.addr))
		return send_to_this_host_slow(skb, packet, from);

	route_query(&fib, packet, skb->ifindex, 0); /* vport_tx checked the length */
	switch (bpf_fib_lookup(skb, &fib, sizeof(fib), 0)) {
	case BPF_FIB_LKUP_RET_SUCCESS:
		break;
	case BPF_FIB_LKUP_RET_NO_NEIGH:
		is_known = false;
		break;
	case BPF_FIB_LKUP_RET_FRAG_NEEDED:
		return slow_drop(from->slot, MSTACK_TX_DROP_TOO_BIG);
	default:
		return slow_drop(from->slot, MSTACK_TX_DROP_NO_ROUTE);
	}
	if (!leaves_by_uplink(fib.ifindex))
		return slow_drop(from->slot, MSTACK_TX_DROP_NOT_UPLINK);
	if (!is_known && !may_ask_for_neighbour(from->vport))
		return slow_drop(from->slot, MSTACK_TX_DROP_NEIGHBOUR_PACE);

	/* The lookup left the next hop where the destination was; an IPv4 route may have an IPv6 gateway. */
	next_hop.nh_family = fib.family;
	__builtin_memcpy(next_hop.ipv6_nh, fib.ipv6_dst, sizeof(next_hop.ipv6_nh));
	if (bpf_redirect_neigh(fib.ifindex, &next_hop, sizeof(next_hop), 0) != TC_ACT_REDIRECT)
		return slow_drop(from->slot, MSTACK_TX_DROP_NO_NEIGHBOUR);
	count_sent(from->slot, MSTACK_TX_SENT_SLOW, skb->len);
	return TC_ACT_REDIRECT;
}

/*
 * What vport_tx let through goes to this host's own stack, or to an uplink by way of the kernel's neighbour table,
 * which asks who has the next hop. The source is checked again, so that this gate holds by itself. Nothing from a
 * vport is ever forwarded by the kernel: its rules for forwarding know nothing of claims.
 */
SEC("tc")
int vport_tx_slow(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	__u32 ifindex = skb->ifindex;
	struct mstack_host_end *from = bpf_map_lookup_elem(&host_ends, &ifindex);
	enum mstack_verdict verdict;
	enum parse_result parsed;
	struct packet packet;
	int action;

	if (!from) {
		count(MSTACK_TX_DROP_NO_VPORT);
		return TC_ACT_SHOT;
	}
	parsed = parse(&packet, skb, data, end, PARSE_TRANSMITTED | PARSE_IN_TC);
	switch (parsed) {
	case PARSED:
		break;
	case PARSED_ICMP: /* vport_tx has counted it against the rate */
		if (read_icmp(&packet, skb, PARSE_TRANSMITTED | PARSE_IN_TC) != ICMP_QUOTED)
			return slow_drop(from->slot, MSTACK_TX_DROP_ICMP);
		break;
	case FRAGMENT:
		if (!send_fragments)
			return slow_drop(from->slot, MSTACK_TX_DROP_FRAGMENT);
		without_ports(&packet);
		verdict = as_verdict(settle_slow_fragment(skb, &packet));
		if (verdict != MSTACK_TX_SENT)
			return slow_drop(from->slot, verdict);
		break;
	default:
		return slow_drop(from->slot, MSTACK_TX_DROP_MALFORMED);
	}
	verdict = check_source(from, &packet.source);
	action = verdict == MSTACK_TX_SENT ? send_slow(skb, &packet, from) : slow_drop(from->slot, verdict);
	if (parsed == FRAGMENT && action == TC_ACT_SHOT)
		forget_slow_fragment(skb, &packet);
	return action;
}

char LICENSE[] SEC("license") = "GPL";
