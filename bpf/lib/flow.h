/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The way that the last packet of a flow took: which host end it came from, and the next hop that bpf_fib_lookup found.
 * What a sender sends comes in runs of a flow, and to look a route up costs more than all the rest of vport_tx.
 *
 * Of a change to routes, rules or neighbours nobody tells a program, so a flow is forgotten at the next tick of the
 * kernel's clock, 1 to 10 ms later. Who may send is never remembered: the claim is looked up for every packet.
 */
#ifndef MSTACK_LIB_FLOW_H
#define MSTACK_LIB_FLOW_H

#include "maps.h"
#include "parse.h"
#include "vlan.h"

#define FLOW_BITS 8

/* First all that bpf_fib_lookup is asked with, then what it said. */
struct flow {
	struct mstack_tuple source;
	struct mstack_tuple destination;
	__u64 tick;
	__be32 flow;   /* as in struct packet */
	__u32 ifindex; /* of the host end; 0 is no flow */
	struct mstack_host_end from;
	struct way way;
};

/* Two flows of a place take turns in it. Of no use to anybody else, hence not pinned. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1 << FLOW_BITS);
	__type(key, __u32);
	__type(value, struct flow);
} flows SEC(".maps") __weak;

static __always_inline struct flow *place_of_flow(const struct packet *packet, __u32 ifindex)
{
	__u32 ports = (__u32)packet->source.port << 16 | packet->destination.port;
	__u32 hash = packet->destination.addr[3] ^ packet->destination.addr[1];
	__u32 place;

	hash = (hash ^ ifindex) * 0x9e3779b1;
	hash = (hash ^ ports) * 0x85ebca6b;
	place = hash >> (32 - FLOW_BITS);
	return bpf_map_lookup_elem(&flows, &place);
}

static __always_inline bool are_same_tuples(const struct flow *flow, const struct packet *packet)
{
	const __u64 *a = (const __u64 *)&flow->source, *b = (const __u64 *)&packet->source;

	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3] && a[4] == b[4];
}

static __always_inline bool is_known(const struct flow *flow, const struct packet *packet, __u32 size, __u32 ifindex)
{
	return flow->ifindex == ifindex && flow->tick == bpf_jiffies64() && are_same_tuples(flow, packet) &&
	       flow->flow == packet->flow && size <= flow->way.mtu;
}

static __always_inline void remember_flow(struct flow *flow, const struct packet *packet, __u32 ifindex,
					  const struct mstack_host_end *from, const struct way *way)
{
	*flow = (struct flow){
		.source = packet->source,
		.destination = packet->destination,
		.tick = bpf_jiffies64(),
		.flow = packet->flow,
		.ifindex = ifindex,
		.from = *from,
		.way = *way,
	};
}

#endif
