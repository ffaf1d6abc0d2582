/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tags of 802.1Q and 802.1ad between a frame's MAC addresses and its EtherType. Stacks neither see nor send any:
 * they are the uplink's, which has for each of its VLANs what the kernel has, a VLAN device.
 */
#ifndef MSTACK_LIB_VLAN_H
#define MSTACK_LIB_VLAN_H

#include "l2.h"
#include "maps.h"
#include "parse.h"

#define TAGS_OFFSET (2 * ETH_ALEN)
#define TAG_ID_MASK 0x0fff /* beside it: priority and drop eligibility, for bridges to read */

/* Of a frame that has one. PARSED: all of them are in `vlan`, which was zero, and behind them is another EtherType. */
static __always_inline enum parse_result read_tags(const void *data, const void *end, struct mstack_vlan *vlan)
{
	const struct mstack_tag *tag = data + TAGS_OFFSET;

	for (int i = 0; i < MSTACK_MAX_TAGS; i++, tag++) {
		if ((const void *)(&tag->protocol + 1) > end)
			return MALFORMED;
		if (!is_tag(tag->protocol))
			return PARSED;
		if ((const void *)(tag + 1) > end)
			return MALFORMED;
		vlan->tags[i].protocol = tag->protocol;
		vlan->tags[i].id = tag->id & bpf_htons(TAG_ID_MASK);
	}
	if ((const void *)(&tag->protocol + 1) > end)
		return MALFORMED;
	return is_tag(tag->protocol) ? TAGGED : PARSED;
}

static __always_inline bool has_tags(const struct mstack_vlan *vlan)
{
	return vlan->tags[0].protocol != 0;
}

/* Of a VLAN's, in bytes. */
static __always_inline __u32 size_of_tags(const struct mstack_vlan *vlan)
{
	return vlan->tags[1].protocol ? 2 * sizeof(struct mstack_tag) : sizeof(struct mstack_tag);
}

/*
 * On, behind the tags of a VLAN that is the uplink's. The tags stay: the kernel may still get the frame, and a chain
 * may hold no program that moves a frame's beginning. vport_rx takes them off.
 */
__noinline __weak int parse_tagged(struct xdp_md *ctx, struct packet *packet)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct mstack_vlan vlan = {.uplink = ctx->ingress_ifindex};
	enum parse_result parsed;
	__be16 *ethertype;

	if (!packet)
		return MALFORMED;
	parsed = read_tags(data, end, &vlan);
	if (parsed != PARSED)
		return parsed;
	if (!bpf_map_lookup_elem(&vlans, &vlan))
		return TAGGED;
	ethertype = data + TAGS_OFFSET + size_of_tags(&vlan);
	if ((void *)(ethertype + 1) > end)
		return MALFORMED;
	packet->ethertype = *ethertype;
	packet->network_offset = sizeof(struct ethhdr) + size_of_tags(&vlan);
	return parse_network(packet, ctx, data, end, PARSE_RECEIVED);
}

/* How a packet leaves this host. */
struct way {
	struct mstack_vlan vlan; /* without tags: of the uplink itself */
	__u16 mtu;		 /* of the route, and of what is in front of the packet in an uplink's frame */
	__u8 dmac[ETH_ALEN];
	__u8 smac[ETH_ALEN];
	__u8 zero[6];
};

/*
 * From the VLAN device that the route names to the uplink and the tags. False: it is none whose packets XDP can send.
 * A devmap lets out what is one tag longer than the uplink's MTU says, and drops uncounted what is more.
 */
__noinline __weak int find_vlan(struct xdp_md *ctx, struct way *way)
{
	const struct mstack_vlan_device *device;
	__u32 ifindex, mtu, size;

	if (!way)
		return false;
	mtu = bpf_xdp_get_buff_len(ctx) - sizeof(struct ethhdr); /* asked with the length, it answers with the MTU */
	ifindex = way->vlan.uplink;
	device = bpf_map_lookup_elem(&vlan_devices, &ifindex);
	if (!device)
		return false;
	way->vlan = device->vlan;
	size = size_of_tags(&way->vlan);
	if (bpf_check_mtu(ctx, way->vlan.uplink, &mtu, (__s32)(size - sizeof(struct mstack_tag)), 0))
		return false;
	mtu = mtu + sizeof(struct mstack_tag) - size;
	if (way->mtu > mtu)
		way->mtu = mtu;
	return bpf_redirect_map(&uplinks, way->vlan.uplink, XDP_PASS) == XDP_REDIRECT;
}

/* In front of the packet. False: there is no room. */
__noinline __weak int add_tags(struct xdp_md *ctx, struct way *way)
{
	struct ethhdr *eth;
	__u32 size;

	if (!way)
		return false;
	size = size_of_tags(&way->vlan);
	if (bpf_xdp_adjust_head(ctx, -(__s32)size))
		return false;
	eth = (void *)(long)ctx->data;
	if ((void *)(eth + 1) + sizeof(way->vlan.tags) > (void *)(long)ctx->data_end)
		return false;
	write_macs(eth, way->dmac, way->smac);
	__builtin_memcpy((void *)eth + TAGS_OFFSET, way->vlan.tags, sizeof(struct mstack_tag));
	if (size > sizeof(struct mstack_tag))
		__builtin_memcpy((void *)eth + TAGS_OFFSET + sizeof(struct mstack_tag), &way->vlan.tags[1],
				 sizeof(struct mstack_tag));
	return true;
}

#endif
