/* SPDX-License-Identifier: GPL-2.0-only */
/* What stands around the thing that is measured: a source of frames, a sink that counts, and the plain AF_XDP way in.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define FLOWS	   64
#define FIRST_PORT 20000

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} out SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} arrived SEC(".maps");

static __u32 next_flow;

/* Run by BPF_PROG_TEST_RUN with BPF_F_TEST_XDP_LIVE_FRAMES: every run is a frame on its way. */
SEC("xdp")
int generate(struct xdp_md *ctx)
{
	(void)ctx;
	return bpf_redirect_map(&out, 0, 0);
}

/* The same, of many flows in turn. The UDP checksum is absent. */
SEC("xdp")
int generate_flows(struct xdp_md *ctx)
{
	struct iphdr *ip = (void *)(long)ctx->data + sizeof(struct ethhdr);
	struct udphdr *udp = (void *)(ip + 1);

	if ((void *)(udp + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	udp->source = bpf_htons(FIRST_PORT + next_flow++ % FLOWS);
	return bpf_redirect_map(&out, 0, 0);
}

/* The far end of the wire: a frame that came so far was sent. */
SEC("xdp")
int count_and_drop(struct xdp_md *ctx)
{
	__u32 key = 0;
	__u64 *frames = bpf_map_lookup_elem(&arrived, &key);

	(void)ctx;
	if (frames)
		(*frames)++;
	return XDP_DROP;
}

/* What every AF_XDP program has on its interface. */
SEC("xdp")
int to_socket(struct xdp_md *ctx)
{
	return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS);
}

char LICENSE[] SEC("license") = "GPL";
