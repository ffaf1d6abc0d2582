/* SPDX-License-Identifier: GPL-2.0-only */
/* XDP on an uplink: whose is this packet? Its owner's stack gets it; what nobody claimed is the kernel's, untouched. */
#include "lib/count.h"
#include "lib/deliver.h"
#include "lib/looped.h"
#include "lib/receive.h"

SEC("xdp")
int uplink_rx(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	enum mstack_verdict verdict;
	struct packet packet;
	union owner owner;

	if (is_looped(ctx, data, end)) {
		count(MSTACK_RX_PASS_OWN_SOURCE);
		return XDP_PASS;
	}
	verdict = receive(&packet, &owner, ctx, data, end, PARSE_RECEIVED);
	if (verdict != MSTACK_RX_STEERED) {
		count(verdict);
		return XDP_PASS;
	}
	verdict = deliver(ctx, data, owner, &packet);
	if (verdict == MSTACK_RX_STEERED) {
		count(MSTACK_RX_STEERED);
		return XDP_REDIRECT;
	}
	count(verdict);
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
