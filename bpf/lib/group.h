/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Packets to many: to a multicast group, to 255.255.255.255 and to the broadcast address of a subnet. No route and no
 * neighbour has a part in it. They leave by the device that has the source's address, which is how a socket chooses it
 * too (IP_MULTICAST_IF), to the MAC address that follows from the group's (RFC 1112, RFC 2464); those to a subnet by
 * the subnet's device.
 *
 * They are for the wire alone: members on this host get no copy.
 */
#ifndef MSTACK_LIB_GROUP_H
#define MSTACK_LIB_GROUP_H

#include "maps.h"
#include "parse.h"

#define IPV6_SCOPE_INTERFACE 1 /* RFC 4291, 2.7: leaves no node. 0 is reserved. */

/* Who is meant is more than one, whatever the host's addresses are. */
static __always_inline bool is_group(const __be32 address[4])
{
	if (is_mapped(address))
		return (address[3] & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) ||
		       address[3] == bpf_htonl(0xffffffff);
	return (address[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000) &&
	       (bpf_ntohl(address[0]) >> 16 & 0xf) > IPV6_SCOPE_INTERFACE;
}

/* Only datagrams go to many. An ICMP error is about one packet, and goes to who sent it. */
static __always_inline bool may_go_to_many(const struct packet *packet)
{
	return packet->protocol == IPPROTO_UDP || packet->protocol == IPPROTO_UDPLITE;
}

static __always_inline void group_mac(__u8 mac[ETH_ALEN], const __be32 address[4])
{
	__u32 last = bpf_ntohl(address[3]);

	if (!is_mapped(address)) {
		mac[0] = 0x33;
		mac[1] = 0x33;
		mac[2] = last >> 24;
	} else if (last >> 28 == 0xe) {
		mac[0] = 0x01;
		mac[1] = 0x00;
		mac[2] = 0x5e;
		last &= 0x7fffff;
	} else {
		mac[0] = 0xff;
		mac[1] = 0xff;
		mac[2] = 0xff;
		last = 0xffffff;
	}
	mac[3] = last >> 16;
	mac[4] = last >> 8;
	mac[5] = last;
}

/* Where a packet to many leaves. NULL: it is not to many. `source` is an address of this host. */
static __always_inline struct mstack_local *way_to_many(const struct packet *packet)
{
	struct mstack_local *local;

	if (is_group(packet->destination.addr))
		return bpf_map_lookup_elem(&local_addrs, packet->source.addr);
	local = bpf_map_lookup_elem(&local_addrs, packet->destination.addr);
	return local && local->broadcast ? local : NULL;
}

#endif
