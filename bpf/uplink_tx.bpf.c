/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * TC egress on an uplink: nobody on this host but its owner sends from a claimed tuple. What vport_tx sends goes by
 * XDP, and does not come here.
 */
#include <linux/pkt_cls.h>

#include "lib/count.h"
#include "lib/guard.h"

SEC("tc")
int uplink_tx(struct __sk_buff *skb)
{
	enum mstack_verdict verdict = guard(skb);
	__u32 ifindex = skb->ifindex;

	/* A device that went to another network namespace took this along: the claims there are none of ours. */
	if (verdict == GUARD_PASSES || !bpf_map_lookup_elem(&uplink_info, &ifindex))
		return TC_ACT_UNSPEC;
	count(verdict);
	return TC_ACT_SHOT;
}

char LICENSE[] SEC("license") = "GPL";
