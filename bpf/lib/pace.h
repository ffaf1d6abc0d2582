/* SPDX-License-Identifier: GPL-2.0-only */
/* How often something may happen: so many at once, and from then on one an interval. */
#ifndef MSTACK_LIB_PACE_H
#define MSTACK_LIB_PACE_H

#include "maps.h"

/*
 * `due` is when the last one would have been due at an even pace. Of two CPUs that come at the same instant one is told
 * no, which neither can notice.
 */
static __always_inline bool keeps_pace(__u64 *due, __u64 interval_ns, __u32 at_once)
{
	__u64 now = bpf_ktime_get_ns();
	__u64 last = *due;

	if (last > now + (at_once - 1) * interval_ns)
		return false;
	return __sync_val_compare_and_swap(due, last, (last > now ? last : now) + interval_ns) == last;
}

/*
 * Every packet to a neighbour that nobody has asked for yet makes an entry in the kernel's neighbour table, which is
 * the whole host's: of some 1,000 entries, with those of the gateways among them. From a socket, packets that wait for
 * a neighbour count against its buffer; from a vport, against these.
 */
const volatile __u64 neighbour_interval_ns __weak = 62500000; /* 16 a second for a user, 64 for all */
#define NEIGHBOURS_AT_ONCE     32
#define NEIGHBOURS_AT_ONCE_ALL 128

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32); /* user id */
	__type(value, __u64);
} neighbours_of_user SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} neighbours_of_all SEC(".maps") __weak;

static __always_inline bool may_ask_for_neighbour(__u32 vport)
{
	struct mstack_vport *record = bpf_map_lookup_elem(&vports, &vport);
	__u64 *of_user, *of_all, never = 0;
	__u32 uid, first = 0;

	if (!record)
		return false;
	uid = record->uid;
	of_user = bpf_map_lookup_elem(&neighbours_of_user, &uid);
	if (!of_user) {
		bpf_map_update_elem(&neighbours_of_user, &uid, &never, BPF_NOEXIST);
		of_user = bpf_map_lookup_elem(&neighbours_of_user, &uid);
	}
	of_all = bpf_map_lookup_elem(&neighbours_of_all, &first);
	return of_user && of_all && keeps_pace(of_user, neighbour_interval_ns, NEIGHBOURS_AT_ONCE) &&
	       keeps_pace(of_all, neighbour_interval_ns / 4, NEIGHBOURS_AT_ONCE_ALL);
}

/*
 * A node must bound the errors that it sends (RFC 4443, 2.4 f): 1,000 a second of each queue, 50 at once, as the kernel
 * bounds its own. Each queue has its own bound, so that no stack uses up another's.
 */
#define ICMP_INTERVAL_NS 1000000ULL
#define ICMP_BURST	 50

/* Of use to nobody else, hence not pinned. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MSTACK_MAX_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} icmp_pace SEC(".maps") __weak;

static __always_inline bool may_send_icmp(__u32 slot)
{
	__u64 *due = bpf_map_lookup_elem(&icmp_pace, &slot);

	return due && keeps_pace(due, ICMP_INTERVAL_NS, ICMP_BURST);
}

#endif
