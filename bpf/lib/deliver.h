/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A packet to the queue of the vport that receives it: RX_STEERED, or RX_DROP_ and why it could not be. A redirect to a
 * device that is too small for the frame, or gone, fails later, and nobody would count it.
 */
#ifndef MSTACK_LIB_DELIVER_H
#define MSTACK_LIB_DELIVER_H

#include <linux/pkt_cls.h>

#include "frame_size.h"
#include "l2.h"
#include "steer.h"
#include "vlan.h"

/*
 * The kernel lets a frame be one tag longer than others. It is told the length, since of what it could see it counts
 * the first buffer alone.
 */
static __noinline bool fits(struct xdp_md *ctx, __u32 size, __u32 slot, bool tagged)
{
	__u32 *ifindex = bpf_map_lookup_elem(&vport_devs, &slot);
	__u32 length = size - sizeof(struct ethhdr) - (tagged ? sizeof(struct mstack_tag) : 0);

	return !ifindex || bpf_check_mtu(ctx, *ifindex, &length, 0, 0) == BPF_MTU_CHK_RET_SUCCESS;
}

/* From XDP, which then returns XDP_REDIRECT. */
static __always_inline enum mstack_verdict deliver(struct xdp_md *ctx, struct ethhdr *eth, union owner owner,
						   const struct packet *packet)
{
	__u32 slot = owner.slot + queue_of(owner, &packet->destination, &packet->source);
	__u32 size = frame_size(ctx, packet);

	if (size > MSTACK_MIN_FRAME && !fits(ctx, size, slot, packet->network_offset != sizeof(*eth)))
		return MSTACK_RX_DROP_TOO_BIG;
	if (bpf_redirect_map(&vport_devs, slot, XDP_DROP) != XDP_REDIRECT)
		return MSTACK_RX_DROP_NO_VPORT;
	write_macs_to_stack(eth, slot);
	return MSTACK_RX_STEERED;
}

/*
 * From TC, which then returns TC_ACT_REDIRECT. What the kernel's sockets send in one piece is cut up, and has its
 * checksums finished, on the way into the host end, which does neither itself; it is measured by its segments.
 */
static __always_inline enum mstack_verdict deliver_from_tc(struct __sk_buff *skb, union owner owner,
							   const struct packet *packet)
{
	__u32 slot = owner.slot + queue_of(owner, &packet->destination, &packet->source), mtu = 0;
	__u32 *ifindex = bpf_map_lookup_elem(&vport_ifindexes, &slot);
	struct ethhdr eth = {.h_proto = packet->ethertype};
	int fit;

	if (!ifindex)
		return MSTACK_RX_DROP_NO_VPORT;
	fit = bpf_check_mtu(skb, *ifindex, &mtu, 0, BPF_MTU_CHK_SEGS);
	if (fit != BPF_MTU_CHK_RET_SUCCESS)
		return fit < 0 ? MSTACK_RX_DROP_NO_VPORT : MSTACK_RX_DROP_TOO_BIG;
	/* By the helper, which looks whether others have the packet too: a store of the program's own would have every
	 * packet copied that comes by. */
	write_macs_to_stack(&eth, slot);
	if (bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0))
		return MSTACK_RX_DROP_NO_VPORT;
	return bpf_redirect(*ifindex, 0) == TC_ACT_REDIRECT ? MSTACK_RX_STEERED : MSTACK_RX_DROP_NO_VPORT;
}

#endif
