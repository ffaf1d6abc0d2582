/* SPDX-License-Identifier: GPL-2.0-only */
/* XDP on a stack end: the last step to the stack's AF_XDP socket. */
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>

#include "lib/count.h"
#include "lib/l2.h"
#include "lib/vlan.h"

/* A stack sees no tag. No header is where it was, so the MACs are written anew. Rare, hence not inline. */
__noinline int take_tags_off(struct xdp_md *ctx)
{
	struct mstack_vlan vlan = {};
	struct ethhdr *eth;

	if (read_tags((void *)(long)ctx->data, (void *)(long)ctx->data_end, &vlan) != PARSED)
		return false;
	if (bpf_xdp_adjust_head(ctx, size_of_tags(&vlan)))
		return false;
	eth = (void *)(long)ctx->data;
	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return false;
	write_macs_to_stack(eth, ctx->ingress_ifindex);
	return true;
}

/* What uplink_rx steers is IP. If that ends in the first buffer, so does the frame: see frame_size.h. */
static __always_inline __u64 size_of(struct xdp_md *ctx)
{
	const struct ethhdr *eth = (void *)(long)ctx->data;
	const void *end = (void *)(long)ctx->data_end;
	const __be16 *ip = (const void *)(eth + 1);
	__u32 first = end - (const void *)eth, length;

	if ((const void *)(ip + 3) > end)
		return first;
	length = eth->h_proto == bpf_htons(ETH_P_IP) ? bpf_ntohs(ip[1]) : sizeof(struct ipv6hdr) + bpf_ntohs(ip[2]);
	return sizeof(*eth) + length <= first ? first : bpf_xdp_get_buff_len(ctx);
}

SEC("xdp")
int vport_rx(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	__u32 slot = ctx->ingress_ifindex; /* a stack end's, in a namespace that holds nothing else */

	/* What uplink_rx steered has this address; what the host's kernel says on its own end of the veth has not. */
	if ((void *)(eth + 1) > end || !is_for_stack_end(eth, slot) || (is_tag(eth->h_proto) && !take_tags_off(ctx))) {
		count_queue(slot, MSTACK_RX_DROP_NOT_STEERED);
		return XDP_DROP;
	}
	if (bpf_redirect_map(&vport_xsks, slot, XDP_DROP) != XDP_REDIRECT) {
		count_queue(slot, MSTACK_RX_DROP_NO_SOCKET);
		return XDP_DROP;
	}
	count_received(slot, size_of(ctx));
	return XDP_REDIRECT;
}

/*
 * Is there a socket in a slot? It leaves the map when its last holder closes it, which only a program can see.
 * Never attached: mstackd runs it by BPF_PROG_TEST_RUN with the slot as the packet's first 4 bytes.
 */
SEC("xdp")
int vport_alive(struct xdp_md *ctx)
{
	__u32 *slot = (void *)(long)ctx->data;

	if ((void *)(slot + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	return bpf_map_lookup_elem(&vport_xsks, slot) ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
