/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * TC ingress on a host end, for what vport_tx let through and left: it goes to this host's own stack, or to an uplink
 * by way of the kernel's neighbour table, which asks who has the next hop. The source is checked again, so that this
 * gate holds by itself. Nothing from a vport is ever forwarded by the kernel: its rules for forwarding know nothing of
 * claims.
 */
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>

#include "lib/count.h"
#include "lib/deliver.h"
#include "lib/l2.h"
#include "lib/pace.h"
#include "lib/transmit.h"
#include "lib/vlan.h"

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

	/* A copy of what the kernel itself sent to a group this way, without an Ethernet header: not the stack's. */
	if (skb->pkt_type == PACKET_LOOPBACK)
		return TC_ACT_SHOT;
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
