/* SPDX-License-Identifier: GPL-2.0-only */
/* XDP on an uplink: whose is this packet? Its owner's stack gets it; what nobody claimed is the kernel's, untouched. */
#include "lib/count.h"
#include "lib/l2.h"
#include "lib/parse.h"
#include "lib/steer.h"

static __always_inline int pass(enum mstack_verdict verdict)
{
	count(verdict);
	return XDP_PASS;
}

/* A flow stays on one queue, whatever CPU it arrives on: the queue is a hash of the remote address and port. */
static __always_inline __u32 queue_of(const struct mstack_claim *claim, const struct mstack_tuple *remote)
{
	__u32 hash;

	if (claim->queues == 1)
		return 0;
	hash = remote->addr[0] ^ remote->addr[1] ^ remote->addr[2] ^ remote->addr[3];
	hash = (hash ^ (__u32)remote->port * 0x9e3779b1) * 0x85ebca6b;
	hash = (hash ^ hash >> 15) * 0xc2b2ae35;
	hash ^= hash >> 16;
	return ((__u64)hash * claim->queues) >> 32;
}

SEC("xdp")
int uplink_rx(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct packet packet;
	struct mstack_claim *claim;
	bool exact;

	switch (parse(&packet, data, end, PARSE_RECEIVED)) {
	case PARSED:
		break;
	case PARSED_ARP:
	case NOT_IP:
		return pass(MSTACK_RX_PASS_NOT_IP);
	case PARSED_ICMPV6:
	case NOT_TCP_UDP:
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

	if (!any_claim_on_port(&packet.destination))
		return pass(MSTACK_RX_PASS_UNCLAIMED);
	claim = active_claim(&packet.destination);
	exact = claim && packet.destination.addr[3]; /* 0.0.0.0 and :: find the wildcard's own key */
	if (!claim)
		claim = wildcard_claim(&packet.destination);
	if (!claim)
		return pass(MSTACK_RX_PASS_UNCLAIMED);
	/* A wildcard is every address of this host: not a neighbour's that this host forwards for. */
	if (!exact && !is_local(packet.destination.addr))
		return pass(MSTACK_RX_PASS_NOT_LOCAL);

	__u32 slot = claim->slot + queue_of(claim, &packet.source);

	if (bpf_redirect_map(&vport_devs, slot, XDP_DROP) != XDP_REDIRECT) {
		count(MSTACK_RX_DROP_NO_VPORT);
		return XDP_DROP;
	}
	write_macs_to_stack(data, slot);
	count(MSTACK_RX_STEERED);
	return XDP_REDIRECT;
}

char LICENSE[] SEC("license") = "GPL";
