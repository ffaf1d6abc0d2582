/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Of what this host sends to a group, the kernel gives its own receivers a copy, by the device that it leaves by. Such
 * a copy has no Ethernet header, and generic XDP sees it: its IP header is where an Ethernet header should be, and any
 * user chooses so much of an IPv6 header that it could read like another's packet to a claim.
 *
 * It is known by being an IP packet of its very length. The frame of a NIC whose own MAC reads like that is taken for
 * one too, and is the kernel's; no driver shows such copies to native XDP, so there it cannot happen.
 */
#ifndef MSTACK_LIB_LOOPED_H
#define MSTACK_LIB_LOOPED_H

#include "maps.h"

/* Not static, so that the verifier looks at it once, and it costs nothing where it is not called. */
__noinline __weak int is_ip_from_the_start(struct xdp_md *ctx)
{
	const __be16 *ip = (void *)(long)ctx->data;
	__u32 ifindex = ctx->ingress_ifindex, length;
	const struct mstack_uplink *uplink;

	if ((const void *)(ip + 3) > (void *)(long)ctx->data_end)
		return false;
	if ((*(const __u8 *)ip & 0xf0) == 0x60)
		length = sizeof(struct ipv6hdr) + bpf_ntohs(ip[2]);
	else if ((*(const __u8 *)ip & 0xf) >= 5)
		length = bpf_ntohs(ip[1]);
	else
		return false;
	if (bpf_xdp_get_buff_len(ctx) != length)
		return false;
	uplink = bpf_map_lookup_elem(&uplink_info, &ifindex);
	return !uplink || !(uplink->flags & MSTACK_UPLINK_NATIVE);
}

static __always_inline bool is_looped(struct xdp_md *ctx, const void *data, const void *end)
{
	const __u8 *first = data;

	if ((const void *)(first + 1) > end || (*first & 0xd0) != 0x40) /* neither 4 nor 6 */
		return false;
	return is_ip_from_the_start(ctx);
}

#endif
