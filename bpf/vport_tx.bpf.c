/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * On a host end, whatever its stack sends: first XDP, which lets a packet through only if the stack's vport holds
 * the claim on its source, then, for what XDP cannot finish, TC.
 */
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>

#include "lib/answer.h"
#include "lib/count.h"
#include "lib/flow.h"
#include "lib/icmp.h"
#include "lib/l2.h"
#include "lib/pace.h"
#include "lib/parse.h"
#include "lib/route.h"
#include "lib/steer.h"

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

/* Left to vport_tx_slow, addressed so that the kernel takes it in. It counts what becomes of the packet. */
static __always_inline int pass_to_slow_path(struct ethhdr *eth, const struct mstack_host_end *from)
{
	write_macs_to_host(eth, from->slot);
	return XDP_PASS;
}

/* The way of the flow's last packet, for one whose source was checked as ever. False: find out. */
static __always_inline bool send_as_before(struct ethhdr *eth, const void *end, const struct packet *packet,
					   const struct flow *flow)
{
	if (check_source(&flow->from, &packet->source) != MSTACK_TX_SENT)
		return false;
	if (bpf_redirect_map(&uplinks, flow->uplink, XDP_PASS) != XDP_REDIRECT)
		return false;
	write_macs(eth, flow->dmac, flow->smac);
	count_sent(flow->from.slot, MSTACK_TX_SENT, end - (void *)eth);
	return true;
}

static __always_inline int send(struct xdp_md *ctx, struct ethhdr *eth, const struct packet *packet,
				const struct mstack_host_end *from, struct flow *flow)
{
	struct bpf_fib_lookup fib;

	route_query(&fib, packet, ctx->ingress_ifindex, packet->length);
	switch (bpf_fib_lookup(ctx, &fib, sizeof(fib), 0)) {
	case BPF_FIB_LKUP_RET_SUCCESS:
		break;
	case BPF_FIB_LKUP_RET_NO_NEIGH:
		return pass_to_slow_path(eth, from);
	case BPF_FIB_LKUP_RET_NOT_FWDED:
		if (is_local(packet->destination.addr))
			return pass_to_slow_path(eth, from);
		return drop_tuple(from, &packet->source, MSTACK_TX_DROP_NO_ROUTE);
	case BPF_FIB_LKUP_RET_FRAG_NEEDED:
		return drop_tuple(from, &packet->source, MSTACK_TX_DROP_TOO_BIG);
	default:
		return drop_tuple(from, &packet->source, MSTACK_TX_DROP_NO_ROUTE);
	}

	/* An uplink that takes no XDP frames, or no uplink at all, is not in the map: the slow path tells them apart.
	 */
	if (bpf_redirect_map(&uplinks, fib.ifindex, XDP_PASS) != XDP_REDIRECT)
		return pass_to_slow_path(eth, from);
	write_macs(eth, fib.dmac, fib.smac);
	count_sent(from->slot, MSTACK_TX_SENT, (void *)(long)ctx->data_end - (void *)eth);
	if (flow)
		remember_flow(flow, packet, ctx->ingress_ifindex, from, &fib);
	return XDP_REDIRECT;
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

	parsed = parse(&packet, ctx, data, end, PARSE_TRANSMITTED);
	if (parsed == PARSED) {
		flow = place_of_flow(&packet, ifindex);
		if (flow && is_known(flow, &packet, ifindex) && send_as_before(data, end, &packet, flow))
			return XDP_REDIRECT;
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
	case NOT_IP:
		return drop(from->slot, MSTACK_TX_DROP_NOT_IP);
	case NO_PORTS:
		return drop(from->slot, MSTACK_TX_DROP_PROTOCOL);
	case FRAGMENT: /* only the first of a datagram carries ports, so the others could not be checked */
		return drop(from->slot, MSTACK_TX_DROP_FRAGMENT);
	case TOO_MANY_HEADERS:
		return drop(from->slot, MSTACK_TX_DROP_HEADERS);
	case SOURCE_ROUTED: /* the wire would carry it somewhere else than the route that was checked */
		return drop(from->slot, MSTACK_TX_DROP_SOURCE_ROUTE);
	case MALFORMED:
	default:
		return drop(from->slot, MSTACK_TX_DROP_MALFORMED);
	}

	verdict = check_source(from, &packet.source);
	if (verdict != MSTACK_TX_SENT)
		return drop_tuple(from, &packet.source, verdict);
	if (!is_unicast(packet.destination.addr))
		return drop_tuple(from, &packet.source, MSTACK_TX_DROP_DESTINATION);
	if (parsed == PARSED_ICMP && !may_send_icmp(from->slot))
		return drop(from->slot, MSTACK_TX_DROP_ICMP_RATE);
	return send(ctx, data, &packet, from, flow);
}

static __always_inline int slow_drop(__u32 slot, enum mstack_verdict verdict)
{
	count_queue(slot, verdict);
	return TC_ACT_SHOT;
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
	struct bpf_fib_lookup fib;
	struct bpf_redir_neigh next_hop = {};
	enum mstack_verdict verdict;
	struct packet packet;
	bool is_known = true;

	if (!from) {
		count(MSTACK_TX_DROP_NO_VPORT);
		return TC_ACT_SHOT;
	}
	switch (parse(&packet, skb, data, end, PARSE_TRANSMITTED | PARSE_IN_TC)) {
	case PARSED:
		break;
	case PARSED_ICMP: /* vport_tx has counted it against the rate */
		if (read_icmp(&packet, skb, PARSE_TRANSMITTED | PARSE_IN_TC) != ICMP_QUOTED)
			return slow_drop(from->slot, MSTACK_TX_DROP_ICMP);
		break;
	default:
		return slow_drop(from->slot, MSTACK_TX_DROP_MALFORMED);
	}
	verdict = check_source(from, &packet.source);
	if (verdict != MSTACK_TX_SENT)
		return slow_drop(from->slot, verdict);
	if (!is_unicast(packet.destination.addr))
		return slow_drop(from->slot, MSTACK_TX_DROP_DESTINATION);
	if (is_local(packet.destination.addr)) {
		/* What the stack wrote as destination MAC has made it another host's before vport_tx wrote ours. */
		if (bpf_skb_change_type(skb, PACKET_HOST))
			return slow_drop(from->slot, MSTACK_TX_DROP_MALFORMED);
		count_sent(from->slot, MSTACK_TX_TO_HOST, skb->len);
		return TC_ACT_OK;
	}

	route_query(&fib, &packet, ifindex, 0); /* vport_tx checked the length */
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
	if (!bpf_map_lookup_elem(&uplink_info, &fib.ifindex))
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

char LICENSE[] SEC("license") = "GPL";
