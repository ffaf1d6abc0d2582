/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bpf_fib_lookup uses a neighbour without the kernel's knowledge. An entry that the kernel's own packets do not use
 * grows stale, is never probed, and still answers: a gateway that changed its MAC would be lost to stacks for ever. So
 * now and then a packet to each next hop is left to the kernel although XDP could send it, and neighbours live as they
 * do natively.
 */
#ifndef MSTACK_LIB_NEXT_HOP_H
#define MSTACK_LIB_NEXT_HOP_H

#include "maps.h"
#include "pace.h"

/* 0: never. */
const volatile __u64 next_hop_interval_ns = 0;

/*
 * What follows a packet overtakes it, if it comes soon enough, and what is overtaken by three packets TCP and QUIC take
 * for lost. A short packet (an acknowledgement, the begin of a connection, a question) is seldom part of such a train,
 * or does not mind; only where none comes for this many intervals is it any packet's turn.
 */
#define NEXT_HOP_SHORT	  128 /* bytes, without the Ethernet header */
#define NEXT_HOP_PATIENCE 10

/* By address, since those of one MAC, as IPv4 and IPv6 of one gateway, have an entry each in the kernel. */
struct next_hop {
	__u32 ifindex;
	__u32 family;
	__be32 address[4];
};

/* > when the kernel's next turn is due. Of use to nobody else, hence not pinned. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct next_hop);
	__type(value, __u64);
} next_hops SEC(".maps") __weak;

/* `fib` is what the lookup left: it writes the next hop where the destination was. */
static __always_inline bool is_kernels_turn(const struct bpf_fib_lookup *fib, __u32 size)
{
	struct next_hop hop = {.ifindex = fib->ifindex, .family = fib->family};
	__u64 now, *due, wait;

	if (!next_hop_interval_ns)
		return false;
	__builtin_memcpy(hop.address, fib->ipv6_dst, sizeof(hop.address));
	due = bpf_map_lookup_elem(&next_hops, &hop);
	if (!due) { /* the kernel has had to do with it: it knows the neighbour */
		now = bpf_ktime_get_ns() + next_hop_interval_ns;
		bpf_map_update_elem(&next_hops, &hop, &now, BPF_NOEXIST);
		return false;
	}
	wait = size <= NEXT_HOP_SHORT ? 0 : (NEXT_HOP_PATIENCE - 1) * next_hop_interval_ns;
	return bpf_ktime_get_ns() >= *due + wait && keeps_pace(due, next_hop_interval_ns, 1);
}

#endif
