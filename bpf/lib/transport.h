/* SPDX-License-Identifier: GPL-2.0-only */
/* From a transport header to its ports, by the rules of parse.h. */
#ifndef MSTACK_LIB_TRANSPORT_H
#define MSTACK_LIB_TRANSPORT_H

#include "packet.h"

static __always_inline enum parse_result parsed_ports(struct packet *packet, __be16 source, __be16 destination)
{
	packet->source.port = source;
	packet->source.protocol = packet->protocol;
	packet->source.zero = 0;
	packet->destination.port = destination;
	packet->destination.protocol = packet->protocol;
	packet->destination.zero = 0;
	return PARSED;
}

static __always_inline bool is_whole_udp(const struct udphdr *udp, __u32 length, __u32 how)
{
	__u32 said = bpf_ntohs(udp->len);

	return said >= sizeof(*udp) && (said <= length || how & PARSE_FIRST_FRAGMENT);
}

static __always_inline bool is_whole_tcp(const struct tcphdr *tcp, __u32 length)
{
	return tcp->doff >= 5 && tcp->doff * 4 <= length;
}

static __always_inline enum parse_result parse_udp(struct packet *packet, const struct udphdr *udp, const void *end,
						   __u32 how)
{
	__u32 length = packet->length - packet->transport_offset;

	if (packet->length < packet->transport_offset + sizeof(*udp) || (const void *)(udp + 1) > end)
		return MALFORMED;
	if (!(how & PARSE_QUOTED) && !is_whole_udp(udp, length, how))
		return MALFORMED;
	return parsed_ports(packet, udp->source, udp->dest);
}

static __always_inline enum parse_result parse_tcp(struct packet *packet, const struct tcphdr *tcp, const void *end)
{
	__u32 length = packet->length - packet->transport_offset;

	if (packet->length < packet->transport_offset + sizeof(*tcp) || (const void *)(tcp + 1) > end)
		return MALFORMED;
	if (!is_whole_tcp(tcp, length))
		return MALFORMED;
	return parsed_ports(packet, tcp->source, tcp->dest);
}

/* What the headers of the rarer protocols begin with, and the first 8 bytes of all in a quote. */
struct transport_start {
	__be16 source;
	__be16 destination;
	union {
		__be16 coverage;  /* UDP-Lite (RFC 3828): how much of the datagram the checksum covers, 0 is all */
		__u8 data_offset; /* DCCP (RFC 4340), in words */
	};
	__be16 checksum;
};

#define UDPLITE_HEADER	      8
#define SCTP_HEADER_AND_CHUNK 16
#define DCCP_HEADER	      12
#define DCCP_EXTENDED_HEADER  16
#define DCCP_EXTENDED	      0x01 /* X, in byte 8: sequence numbers of 48 bits */
#define ICMP_HEADER	      8

static __always_inline enum parse_result check_udplite(const struct transport_start *start, __u32 length, __u32 how)
{
	__u32 coverage = bpf_ntohs(start->coverage);

	if (coverage && coverage < UDPLITE_HEADER)
		return MALFORMED;
	return coverage > length && !(how & PARSE_FIRST_FRAGMENT) ? MALFORMED : PARSED;
}

static __always_inline enum parse_result check_dccp(const struct transport_start *start, __u32 length, const void *end)
{
	const __u8 *flags = (const __u8 *)(start + 1);
	__u32 header = DCCP_HEADER;

	if (length < header || (const void *)(flags + 4) > end)
		return MALFORMED;
	if (*flags & DCCP_EXTENDED)
		header = DCCP_EXTENDED_HEADER;
	return start->data_offset * 4 < header || start->data_offset * 4 > length ? MALFORMED : PARSED;
}

/* Of the transport header at transport_offset, whatever it is. */
static __always_inline enum parse_result parse_transport(struct packet *packet, void *data, const void *end, __u32 how)
{
	const struct transport_start *start = transport_of(packet, data);
	__u32 length = packet->length - packet->transport_offset;
	enum parse_result checked = PARSED;
	bool quoted = how & PARSE_QUOTED;

	if (!start)
		return MALFORMED;
	switch (packet->protocol) {
	case IPPROTO_UDP:
		return parse_udp(packet, (const void *)start, end, how);
	case IPPROTO_TCP:
		if (!quoted)
			return parse_tcp(packet, (const void *)start, end);
		break;
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
		break;
	case IPPROTO_ICMP:
		if (is_ipv6(packet))
			return NO_PORTS;
		break;
	case IPPROTO_ICMPV6:
		if (!is_ipv6(packet))
			return NO_PORTS;
		break;
	default:
		return NO_PORTS;
	}
	/* All of them have 8 bytes at least, ICMP and what is quoted no more. */
	if (packet->length < packet->transport_offset + sizeof(*start) || (const void *)(start + 1) > end)
		return MALFORMED;
	if (packet->protocol == IPPROTO_ICMP || packet->protocol == IPPROTO_ICMPV6)
		return PARSED_ICMP;
	if (!quoted) {
		if (packet->protocol == IPPROTO_UDPLITE)
			checked = check_udplite(start, length, how);
		else if (packet->protocol == IPPROTO_DCCP)
			checked = check_dccp(start, length, end);
		else if (packet->protocol == IPPROTO_SCTP && length < SCTP_HEADER_AND_CHUNK)
			checked = MALFORMED;
	}
	return checked == PARSED ? parsed_ports(packet, start->source, start->destination) : checked;
}

#endif
