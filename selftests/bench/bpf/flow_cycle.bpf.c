/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * BPF_PROG_TEST_RUN repeats one frame. So that packets can be of many flows, flow_cycle rewrites the frame's
 * destination to the next of a list and goes on, by tail call, to the program that is measured. Measured against
 * `empty` behind the same tail call, its own cost drops out. It reads the clock whenever the list begins anew: the
 * kernel's own figure is in whole nanoseconds, and a call from user space has some 20 ms of its own.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define FLOWS 65536

struct flow {
	__be32 addr[4]; /* IPv4: the last of them */
	__be16 port;
	__u16 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FLOWS);
	__type(key, __u32);
	__type(value, struct flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} measured SEC(".maps");

__u32 next_flow;
__u64 lap_ns[64]; /* when the list began for the n-th time */

SEC("xdp")
int flow_cycle(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	__u32 packet = next_flow++;
	__u32 index = packet % FLOWS;
	struct flow *flow = bpf_map_lookup_elem(&flows, &index);
	struct udphdr *udp;

	if (index == 0)
		lap_ns[packet / FLOWS % 64] = bpf_ktime_get_ns();
	if (!flow || (void *)(eth + 1) > end)
		return XDP_ABORTED;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(eth + 1);

		udp = (void *)(ip + 1);
		if ((void *)(udp + 1) > end)
			return XDP_ABORTED;
		ip->daddr = flow->addr[3];
	} else {
		struct ipv6hdr *ip = (void *)(eth + 1);

		udp = (void *)(ip + 1);
		if ((void *)(udp + 1) > end)
			return XDP_ABORTED;
		__builtin_memcpy(&ip->daddr, flow->addr, sizeof(ip->daddr));
	}
	udp->dest = flow->port;
	bpf_tail_call(ctx, &measured, 0);
	return XDP_ABORTED;
}

SEC("xdp")
int empty(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
