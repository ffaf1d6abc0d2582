/* SPDX-License-Identifier: GPL-2.0-only */
/* What is read out of a frame, and how it is to be read: the words that parse.h and all who go by it share. */
#ifndef MSTACK_LIB_PACKET_H
#define MSTACK_LIB_PACKET_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "mstack_abi.h"

/* Options of an IPv4 header or of a destination options header, extension headers of a packet. */
#define HEADERS_WALKED 6

enum parse_result {
	PARSED,
	PARSED_ARP,
	PARSED_ICMP, /* ICMP in IPv4, ICMPv6 in IPv6; at transport_offset, with the addresses but no ports */
	TAGGED,	     /* 802.1Q or 802.1ad: not read any further */
	NOT_IP,
	NO_PORTS, /* a protocol without, or one that is not known here */
	FRAGMENT,
	TOO_MANY_HEADERS,
	SOURCE_ROUTED,
	MALFORMED,
};

struct packet {
	struct mstack_tuple source __attribute__((aligned(8))); /* the two are compared as one: see flow.h */
	struct mstack_tuple destination;
	__u32 network_offset;	/* from the frame's first byte to the IPv4 or IPv6 header */
	__u32 transport_offset; /* from there to the transport header */
	__u32 length;		/* of the network header and all that it encloses */
	__be32 flow;		/* IPv4: type of service. IPv6: traffic class and flow label, as on the wire. */
	__be16 ethertype;
	__u8 protocol;
	__u8 headers; /* extension headers passed so far */
	__u32 zero;   /* in place of padding: see walk() */
};

/* How a packet is to be read. */
enum parse_how {
	PARSE_RECEIVED = 0,
	PARSE_TRANSMITTED = 1 << 0, /* it may not leave this host if it asks for a way around its routes */
	PARSE_FIRST_FRAGMENT =
		1 << 1,	       /* the transport header is whole, what it says of the datagram's length is not here */
	PARSE_QUOTED = 1 << 2, /* by an ICMP error: cut off anywhere behind the ports */
	PARSE_IN_TC = 1 << 3,  /* the context is TC's */
};

/* No header that is read starts further behind the one before it; the verifier wants to be told. */
#define OFFSET_MAX 0x3fff

/*
 * Does the packet end inside its frame? A program sees the frame's beginning, up to `end`. The rest of a large frame is
 * in further buffers, and of a packet that the kernel made in pages.
 */
static __always_inline bool ends_in_frame(const struct packet *packet, void *ctx, const void *data, const void *end,
					  __u32 how)
{
	__u32 needed = packet->network_offset + packet->length;

	if (needed <= (__u64)(end - data))
		return true;
	return needed <= (how & PARSE_IN_TC ? ((struct __sk_buff *)ctx)->len : bpf_xdp_get_buff_len(ctx));
}

static __always_inline void *network_of(const struct packet *packet, void *data)
{
	return packet->network_offset > OFFSET_MAX ? NULL : data + packet->network_offset;
}

/* Where the transport header is, or where the next extension header is. NULL: beyond all that is read. */
static __always_inline void *transport_of(const struct packet *packet, void *data)
{
	__u32 network = packet->network_offset, transport = packet->transport_offset;

	return network > OFFSET_MAX || transport > OFFSET_MAX ? NULL : data + network + transport;
}

static __always_inline void address_from_ipv4(__be32 address[4], __be32 ipv4)
{
	address[0] = 0;
	address[1] = 0;
	address[2] = bpf_htonl(0xffff);
	address[3] = ipv4;
}

static __always_inline void address_from_ipv6(__be32 address[4], const struct in6_addr *ipv6)
{
	address[0] = ipv6->s6_addr32[0];
	address[1] = ipv6->s6_addr32[1];
	address[2] = ipv6->s6_addr32[2];
	address[3] = ipv6->s6_addr32[3];
}

static __always_inline bool is_mapped(const __be32 address[4])
{
	return address[0] == 0 && address[1] == 0 && address[2] == bpf_htonl(0xffff);
}

static __always_inline bool is_tag(__be16 ethertype)
{
	return ethertype == bpf_htons(ETH_P_8021Q) || ethertype == bpf_htons(ETH_P_8021AD);
}

static __always_inline bool is_ipv6(const struct packet *packet)
{
	return packet->ethertype == bpf_htons(ETH_P_IPV6);
}

/* Of an IPv4 header's frag_off. The other two bits, DF and a reserved one, say nothing of fragments. */
#define IPV4_MORE   0x2000
#define IPV4_OFFSET 0x1fff

static __always_inline bool is_ipv4_fragment(const struct iphdr *ip)
{
	return ip->frag_off & bpf_htons(IPV4_MORE | IPV4_OFFSET);
}

#endif
