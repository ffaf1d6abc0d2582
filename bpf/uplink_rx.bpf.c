/* SPDX-License-Identifier: GPL-2.0-only */
/* XDP on an uplink: whose is this packet? Its owner's stack gets it; what nobody claimed is the kernel's, untouched. */
#include "lib/count.h"
#include "lib/icmp.h"
#include "lib/l2.h"
#include "lib/parse.h"
#include "lib/steer.h"

static __always_inline int pass(enum mstack_verdict verdict)
{
	count(verdict);
	return XDP_PASS;
}

SEC("xdp")
int uplink_rx(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct packet packet;
	union owner owner;
	enum mstack_verdict verdict;

	switch (parse(&packet, ctx, data, end, PARSE_RECEIVED)) {
	case PARSED:
		break;
	case PARSED_ARP:
	case NOT_IP:
		return pass(MSTACK_RX_PASS_NOT_IP);
	case PARSED_ICMP:
		/* About a packet of whose source we may know the owner, and from here on treated like an answer to it.
		 */
		switch (read_icmp(&packet, ctx, PARSE_RECEIVED)) {
		case ICMP_QUOTED:
			break;
		case ICMP_NO_ERROR:
			return pass(MSTACK_RX_PASS_PROTOCOL);
		default:
			return pass(MSTACK_RX_PASS_ICMP);
		}
		break;
	case NO_PORTS:
		return pass(MSTACK_RX_PASS_PROTOCOL);
	case FRAGMENT:
		return pass(MSTACK_RX_PASS_FRAGMENT);
	case TOO_MANY_HEADERS:
	case SOURCE_ROUTED:
		return pass(MSTACK_RX_PASS_HEADERS);
	case MALFORMED:
	default:
		return pass(MSTACK_RX_PASS_MALFORMED);
	}

	verdict = find_receiver(&packet.destination, &owner);
	if (verdict != MSTACK_RX_STEERED)
		return pass(verdict);

	__u32 slot = owner.slot + queue_of(owner, &packet.source);

	if (bpf_redirect_map(&vport_devs, slot, XDP_DROP) != XDP_REDIRECT) {
		count(MSTACK_RX_DROP_NO_VPORT);
		return XDP_DROP;
	}
	write_macs_to_stack(data, slot);
	count(MSTACK_RX_STEERED);
	return XDP_REDIRECT;
}

char LICENSE[] SEC("license") = "GPL";
