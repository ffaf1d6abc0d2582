/* SPDX-License-Identifier: GPL-2.0-only */
/* Every outcome of a packet is counted, by the verdicts of mstack_abi.h. */
#ifndef MSTACK_LIB_COUNT_H
#define MSTACK_LIB_COUNT_H

#include "maps.h"

static __always_inline void count(enum mstack_verdict verdict)
{
	__u32 key = verdict;
	__u64 *packets = bpf_map_lookup_elem(&counters, &key);

	if (packets)
		(*packets)++;
}

/* Counts for the host and for the queue; the queue's statistics are returned so that bytes can be added. */
static __always_inline struct mstack_vport_stats *count_queue(__u32 slot, enum mstack_verdict verdict)
{
	struct mstack_vport_stats *stats = bpf_map_lookup_elem(&vport_stats, &slot);

	count(verdict);
	if (stats)
		stats->packets[verdict]++;
	return stats;
}

static __always_inline void count_received(__u32 slot, __u64 bytes)
{
	struct mstack_vport_stats *stats = count_queue(slot, MSTACK_RX_DELIVERED);

	if (stats)
		stats->rx_bytes += bytes;
}

static __always_inline void count_sent(__u32 slot, enum mstack_verdict verdict, __u64 bytes)
{
	struct mstack_vport_stats *stats = count_queue(slot, verdict);

	if (stats)
		stats->tx_bytes += bytes;
}

#endif
