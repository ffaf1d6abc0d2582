/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * TC egress on the loopback device: what this host sends to itself. What is for a claimed tuple goes to its owner's
 * stack, as from the wire; all else goes on untouched, to other filters and to the kernel.
 *
 * A program sees a packet's linear part, into which the kernel writes all headers of what it sends. A packet socket
 * need not; what it sends so stays the kernel's.
 */
#include <linux/pkt_cls.h>

#include "lib/count.h"
#include "lib/deliver.h"
#include "lib/guard.h"
#include "lib/receive.h"
#include "lib/route.h"

const volatile __u8 guard_loopback; /* as uplink_tx guards uplinks */

SEC("tc")
int lo_tx(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	enum mstack_verdict verdict;
	struct packet packet;
	union owner owner;

	if (guard_loopback) {
		verdict = guard(skb);
		if (verdict != GUARD_PASSES) {
			count(verdict);
			return TC_ACT_SHOT;
		}
	}
	verdict = receive(&packet, &owner, skb, data, end, PARSE_RECEIVED | PARSE_IN_TC);
	/* What is from a loopback address no stack could answer. */
	if (verdict != MSTACK_RX_STEERED || !is_unicast(packet.source.addr)) {
		count(MSTACK_LO_PASS);
		return TC_ACT_UNSPEC;
	}
	verdict = deliver_from_tc(skb, owner, &packet);
	count(verdict);
	return verdict == MSTACK_RX_STEERED ? TC_ACT_REDIRECT : TC_ACT_SHOT;
}

char LICENSE[] SEC("license") = "GPL";
