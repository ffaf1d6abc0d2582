/* SPDX-License-Identifier: GPL-2.0-only */
/* The two MAC addresses of a frame. A stack sees only the made-up pair of its queue, the wire only real ones. */
#ifndef MSTACK_LIB_L2_H
#define MSTACK_LIB_L2_H

#include <stdbool.h>

#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>

#include "mstack_abi.h"

/* By twos, for which all of them are aligned; the compiler sees only bytes. */
static __always_inline void write_mac(__u8 to[ETH_ALEN], const __u8 from[ETH_ALEN])
{
	((__be16 *)to)[0] = ((const __be16 *)from)[0];
	((__be16 *)to)[1] = ((const __be16 *)from)[1];
	((__be16 *)to)[2] = ((const __be16 *)from)[2];
}

static __always_inline void write_own_mac(__u8 to[ETH_ALEN], __u8 end, __u32 slot)
{
	__be16 mac[ETH_ALEN / 2];

	mstack_mac((__u8 *)mac, end, slot);
	write_mac(to, (const __u8 *)mac);
}

static __always_inline void write_macs_to_stack(struct ethhdr *eth, __u32 slot)
{
	write_own_mac(eth->h_dest, MSTACK_MAC_STACK_END, slot);
	write_own_mac(eth->h_source, MSTACK_MAC_HOST_END, slot);
}

static __always_inline void write_macs_to_host(struct ethhdr *eth, __u32 slot)
{
	write_own_mac(eth->h_dest, MSTACK_MAC_HOST_END, slot);
	write_own_mac(eth->h_source, MSTACK_MAC_STACK_END, slot);
}

static __always_inline void write_macs(struct ethhdr *eth, const __u8 dest[ETH_ALEN], const __u8 source[ETH_ALEN])
{
	write_mac(eth->h_dest, dest);
	write_mac(eth->h_source, source);
}

static __always_inline bool is_for_stack_end(const struct ethhdr *eth, __u32 slot)
{
	const __be16 *dest = (const __be16 *)eth->h_dest;
	__be16 mac[ETH_ALEN / 2];

	mstack_mac((__u8 *)mac, MSTACK_MAC_STACK_END, slot);
	return dest[0] == mac[0] && dest[1] == mac[1] && dest[2] == mac[2];
}

#endif
