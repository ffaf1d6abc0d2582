/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A bad wire: loses, doubles and delays what passes one end of a link, both ways. TC ingress and egress of it, and
 * ingress of two delay lines, one for each way.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

enum fault { LOST, DOUBLED, LATE, FAULTS };

/* Of a thousand packets, and where to start among the pseudo-random numbers: set before load. */
const volatile __u32 rates[FAULTS];
const volatile __u32 seed;
const volatile __u32 wire, late_in, late_out; /* ifindexes */

__u64 done[FAULTS];
static __u64 packets;

/* The mark of packets that come by here again. */
enum { DONE = 0xfa01 };

/* One number for each packet, the same in each run as far as packets come in the same order. */
static __always_inline __u32 draw(void)
{
	__u64 x = __sync_fetch_and_add(&packets, 1) + ((__u64)seed << 32);

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return (x ^ (x >> 31)) % 1000;
}

static __always_inline int pass(struct __sk_buff *skb, __u64 way)
{
	__u32 number = draw();

	if (number < rates[LOST]) {
		__sync_fetch_and_add(&done[LOST], 1);
		/* Not TC_ACT_SHOT: a TCP of this host would hear of it, and send the segment again before any other. */
		return TC_ACT_STOLEN;
	}
	number -= rates[LOST];
	if (number < rates[DOUBLED]) {
		__sync_fetch_and_add(&done[DOUBLED], 1);
		skb->mark = DONE;
		bpf_clone_redirect(skb, skb->ifindex, way);
		return TC_ACT_OK;
	}
	number -= rates[DOUBLED];
	if (number < rates[LATE]) {
		__sync_fetch_and_add(&done[LATE], 1);
		return bpf_redirect(way ? late_in : late_out, 0);
	}
	return TC_ACT_OK;
}

SEC("tc")
int faults_in(struct __sk_buff *skb)
{
	return skb->mark == DONE ? TC_ACT_OK : pass(skb, BPF_F_INGRESS);
}

SEC("tc")
int faults_out(struct __sk_buff *skb)
{
	return skb->mark == DONE ? TC_ACT_OK : pass(skb, 0);
}

SEC("tc")
int faults_late_in(struct __sk_buff *skb)
{
	skb->mark = DONE;
	return bpf_redirect(wire, BPF_F_INGRESS);
}

SEC("tc")
int faults_late_out(struct __sk_buff *skb)
{
	skb->mark = DONE;
	return bpf_redirect(wire, 0);
}

char _license[] SEC("license") = "GPL";
