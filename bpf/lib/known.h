/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whose is a tuple, as this CPU found it last.
 *
 * To look a claim up in a hash map takes longer than all the rest of uplink_rx, and packets come in runs. So the answer
 * is remembered, together with the epoch of the claims: every change to `claims` or `local_addrs` begins a new one, and
 * an answer of another epoch is none. Nobody is remembered as an owner for a packet longer than the claim stands.
 *
 * mstackd, which may be killed at any time, makes the epoch odd before each change of its own, and even again after it.
 * While it is odd nothing is remembered, so nothing that was is believed either.
 */
#ifndef MSTACK_LIB_KNOWN_H
#define MSTACK_LIB_KNOWN_H

#include "maps.h"
#include "parse.h"

#define KNOWN_BITS	 11
#define READ_ONCE(x)	 (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile typeof(x) *)&(x) = (v))

enum owner_flags {
	OWNER_EXACT = 1 << 0, /* the claim is of this very address, not of the wildcard */
	OWNER_LOCAL = 1 << 1, /* the address is one of this host's */
};

/* Read and written as one word. All zero: nobody's. */
union owner {
	struct {
		__u32 vport;
		__u16 slot; /* the vport's first */
		__u8 queues;
		__u8 flags; /* enum owner_flags */
	};
	__u64 word;
};

struct known {
	struct mstack_tuple tuple;
	__u32 sequence; /* odd: being written */
	union owner owner;
	__u64 epoch; /* that `owner` was found in */
};

/* Two tuples of a place take turns in it. Of no use to anybody else, hence not pinned. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1 << KNOWN_BITS);
	__type(key, __u32);
	__type(value, struct known);
} known_owners SEC(".maps") __weak;

static __always_inline bool is_local(const __be32 address[4])
{
	struct mstack_local *local = bpf_map_lookup_elem(&local_addrs, address);

	return local && !local->broadcast;
}

/* The same at the price of an array read, for what is seldom local. */
static __always_inline bool is_unexpectedly_local(const __be32 address[4])
{
	__u32 gate = mstack_address_gate_index(address);
	__u32 *addresses = bpf_map_lookup_elem(&address_gate, &gate);

	return addresses && *addresses && is_local(address);
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

/*
 * In the kernel's own order: the exact address, then the wildcard of its family. The key is a copy, since before 6.2
 * what a function was given by a pointer cannot be one.
 */
static __always_inline union owner look_up_owner(const struct mstack_tuple *tuple)
{
	struct mstack_tuple key = *tuple;
	struct mstack_claim *claim = active_claim(&key);
	union owner owner = {};

	if (claim && !is_wildcard(tuple)) /* 0.0.0.0 and :: find the wildcard's own key */
		owner.flags = OWNER_EXACT;
	if (!claim) {
		make_wildcard(&key);
		claim = active_claim(&key);
	}
	if (!claim)
		return (union owner){};
	owner.vport = claim->vport;
	owner.slot = claim->slot;
	owner.queues = claim->queues;
	key = *tuple;
	if (is_local(key.addr))
		owner.flags |= OWNER_LOCAL;
	return owner;
}

/* After a change to `claims`. */
static __always_inline void begin_epoch(void)
{
	__u32 zero = 0;
	__u64 *epoch = bpf_map_lookup_elem(&claims_epoch, &zero);

	if (epoch)
		__sync_fetch_and_add(epoch, 2);
}

static __always_inline bool is_same_tuple(const struct mstack_tuple *a, const struct mstack_tuple *b)
{
	return a->addr[3] == b->addr[3] && a->port == b->port && a->protocol == b->protocol &&
	       a->addr[2] == b->addr[2] && a->addr[1] == b->addr[1] && a->addr[0] == b->addr[0];
}

/*
 * Programs may preempt each other on a CPU (PREEMPT_RT): one of them writes, and what is read must be of one writer.
 * Between the epoch and the look is a full barrier, so that the answer is of that epoch, or of a later one.
 */
static __noinline __u64 find_owner_anew(struct known *known, const struct mstack_tuple *tuple, const __u64 *epoch)
{
	union owner owner;
	__u32 sequence;
	__u64 now;

	if (!known || !tuple || !epoch)
		return 0;
	now = READ_ONCE(*epoch);
	if (now & 1)
		return look_up_owner(tuple).word;
	sequence = READ_ONCE(known->sequence) & ~1U;
	if (__sync_val_compare_and_swap(&known->sequence, sequence, sequence + 1) != sequence)
		return look_up_owner(tuple).word;
	owner = look_up_owner(tuple);
	known->tuple = *tuple;
	known->owner = owner;
	known->epoch = now;
	WRITE_ONCE(known->sequence, sequence + 2);
	return owner.word;
}

static __always_inline union owner owner_of(const struct mstack_tuple *tuple)
{
	__u32 zero = 0, place = tuple->addr[3] ^ tuple->addr[1] ^ (__u32)tuple->port << 8 ^ tuple->protocol;
	union owner owner = {};
	struct known *known;
	__u32 sequence;
	__u64 *epoch;

	place = (place * 0x9e3779b1) >> (32 - KNOWN_BITS);
	known = bpf_map_lookup_elem(&known_owners, &place);
	epoch = bpf_map_lookup_elem(&claims_epoch, &zero);
	if (!known || !epoch)
		return owner;
	sequence = READ_ONCE(known->sequence);
	if (READ_ONCE(known->epoch) == READ_ONCE(*epoch) && is_same_tuple(&known->tuple, tuple)) {
		owner.word = READ_ONCE(known->owner.word);
		if (!(sequence & 1) && READ_ONCE(known->sequence) == sequence)
			return owner;
	}
	owner.word = find_owner_anew(known, tuple, epoch);
	return owner;
}

#endif
