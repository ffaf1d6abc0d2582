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

#endif
