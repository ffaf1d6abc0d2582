/* SPDX-License-Identifier: GPL-2.0-only */
/* From a packet to the queue of the vport that gets it. */
#ifndef MSTACK_LIB_STEER_H
#define MSTACK_LIB_STEER_H

#include "known.h"
#include "maps.h"
#include "parse.h"

static __always_inline bool has_claims(__u8 protocol, __be16 port)
{
	__u32 gate = mstack_gate_index(protocol, bpf_ntohs(port));
	__u32 *claims_on_port = bpf_map_lookup_elem(&port_gate, &gate);

	return claims_on_port && *claims_on_port;
}

static __always_inline bool any_claim_on_port(const struct mstack_tuple *tuple)
{
	return has_claims(tuple->protocol, tuple->port);
}

/* Whose a tuple is on whose port there are claims: as find_receiver(). */
static __always_inline enum mstack_verdict find_owner(const struct mstack_tuple *to, union owner *receiver)
{
	*receiver = owner_of(to);
	if (!receiver->vport)
		return MSTACK_RX_PASS_UNCLAIMED;
	/* A wildcard is every address of this host: not a neighbour's that this host forwards for. */
	if (!(receiver->flags & (OWNER_EXACT | OWNER_LOCAL)))
		return MSTACK_RX_PASS_NOT_LOCAL;
	return MSTACK_RX_STEERED;
}

/* Who gets what is addressed to a tuple: RX_STEERED and the owner, or why it is nobody's but the kernel's. */
static __always_inline enum mstack_verdict find_receiver(const struct mstack_tuple *to, union owner *receiver)
{
	return any_claim_on_port(to) ? find_owner(to, receiver) : MSTACK_RX_PASS_UNCLAIMED;
}

static __always_inline __u32 queue_of(union owner owner, const struct mstack_tuple *local,
				      const struct mstack_tuple *remote)
{
	return owner.queues == 1 ? 0 : mstack_queue_of(local, remote, owner.queues);
}

#endif
