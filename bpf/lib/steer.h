/* SPDX-License-Identifier: GPL-2.0-only */
/* From a tuple to its claim, in the kernel's own order: the exact address, then the wildcard of its family. */
#ifndef MSTACK_LIB_STEER_H
#define MSTACK_LIB_STEER_H

#include "maps.h"
#include "parse.h"

static __always_inline bool any_claim_on_port(const struct mstack_tuple *tuple)
{
	__u32 gate = mstack_gate_index(tuple->protocol, bpf_ntohs(tuple->port));
	__u32 *claims_on_port = bpf_map_lookup_elem(&port_gate, &gate);

	return claims_on_port && *claims_on_port;
}

static __always_inline bool is_local(const __be32 address[4])
{
	return bpf_map_lookup_elem(&local_addrs, address) != NULL;
}

static __always_inline bool is_any_ipv6(const struct mstack_tuple *tuple)
{
	return !tuple->addr[0] && !tuple->addr[1] && !tuple->addr[2] && !tuple->addr[3];
}

/* Most addresses say in their last four bytes already that they are none. */
static __always_inline bool is_wildcard(const struct mstack_tuple *tuple)
{
	return !tuple->addr[3] && (is_any_ipv6(tuple) || is_mapped(tuple->addr));
}

/* 0.0.0.0 is ::ffff:0.0.0.0 and :: is ::, so the wildcard of either family is its last 4 or all its bytes cleared. */
static __always_inline void make_wildcard(struct mstack_tuple *tuple)
{
	if (!is_mapped(tuple->addr)) {
		tuple->addr[0] = 0;
		tuple->addr[1] = 0;
		tuple->addr[2] = 0;
	}
	tuple->addr[3] = 0;
}

/* A claim that is only PENDING is nobody's yet. */
static __always_inline struct mstack_claim *active_claim(const struct mstack_tuple *tuple)
{
	struct mstack_claim *claim = bpf_map_lookup_elem(&claims, tuple);

	return claim && claim->state == MSTACK_CLAIM_ACTIVE ? claim : NULL;
}

static __always_inline struct mstack_claim *wildcard_claim(const struct mstack_tuple *tuple)
{
	struct mstack_tuple wildcard = *tuple;

	make_wildcard(&wildcard);
	return active_claim(&wildcard);
}

/* Who gets what is addressed to a tuple: RX_STEERED and the claim, or why it is nobody's but the kernel's. */
static __always_inline enum mstack_verdict find_receiver(const struct mstack_tuple *to, struct mstack_claim **receiver)
{
	struct mstack_claim *claim;
	bool exact;

	if (!any_claim_on_port(to))
		return MSTACK_RX_PASS_UNCLAIMED;
	claim = active_claim(to);
	exact = claim && !is_wildcard(to); /* 0.0.0.0 and :: find the wildcard's own key */
	if (!claim)
		claim = wildcard_claim(to);
	if (!claim)
		return MSTACK_RX_PASS_UNCLAIMED;
	/* A wildcard is every address of this host: not a neighbour's that this host forwards for. */
	if (!exact && !is_local(to->addr))
		return MSTACK_RX_PASS_NOT_LOCAL;
	*receiver = claim;
	return MSTACK_RX_STEERED;
}

/* A flow stays on one queue, whatever CPU it arrives on: the queue is a hash of the remote address and port. */
static __always_inline __u32 queue_of(const struct mstack_claim *claim, const struct mstack_tuple *remote)
{
	__u32 hash;

	if (claim->queues == 1)
		return 0;
	hash = remote->addr[0] ^ remote->addr[1] ^ remote->addr[2] ^ remote->addr[3];
	hash = (hash ^ (__u32)remote->port * 0x9e3779b1) * 0x85ebca6b;
	hash = (hash ^ hash >> 15) * 0xc2b2ae35;
	hash ^= hash >> 16;
	return ((__u64)hash * claim->queues) >> 32;
}

#endif
