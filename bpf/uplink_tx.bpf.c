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

	if (verdict == GUARD_PASSES)
		return TC_ACT_UNSPEC;
	count(verdict);
	return TC_ACT_SHOT;
}

char LICENSE[] SEC("license") = "GPL";
