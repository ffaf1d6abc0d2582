/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * XDP on a host end, on whatever its stack sends: a packet passes only if the stack's vport holds the claim on its
 * source. What XDP cannot finish is left to vport_tx_slow.
 */
#include "lib/answer.h"
#include "lib/count.h"
#include "lib/deliver.h"
#include "lib/flow.h"
#include "lib/frame_size.h"
#include "lib/l2.h"
#include "lib/next_hop.h"
#include "lib/pace.h"
#include "lib/transmit.h"
#include "lib/vlan.h"

/* One drop in 4,096 of a reason, and the first, is told to whoever listens. */
#define DROP_SAMPLE_MASK 4095

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

/* Left to vport_tx_slow, addressed so that the kernel takes it in. It counts what becomes of the packet. */
static __always_inline int pass_to_slow_path(struct xdp_md *ctx, const struct mstack_host_end *from)
{
	struct ethhdr *eth = (void *)(long)ctx->data;

	if ((void *)(eth + 1) <= (void *)(long)ctx->data_end)
		write_macs_to_host(eth, from->slot);
	return XDP_PASS;
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

char LICENSE[] SEC("license") = "GPL";
