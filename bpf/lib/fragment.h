/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fragments. Only the first of a datagram holds the ports. They are remembered, with the claim that it went under, and
 * a later fragment is treated as a packet with these ports: its claim is looked up like any other's, and must be the
 * same vport's and the same socket's still. So no entry outlives the claim that it speaks of. Of several first ones of
 * the same key the newest decides, also by being refused.
 *
 * A fragment that could write over what was checked is none of the datagram (RFC 1858, RFC 3128, RFC 5722): the first
 * holds the whole transport header, and no later one begins before the first one's end.
 *
 * A receiver joins fragments by addresses and a number, which all vports of an address share. So a stack could send a
 * first one of its own that dies on its way, and behind it the rest of somebody else's datagram. That rest arrives
 * nowhere alone: nothing that can end a first fragment's way may differ between the two, see check_sent().
 */
#ifndef MSTACK_LIB_FRAGMENT_H
#define MSTACK_LIB_FRAGMENT_H

#include "parse.h"
#include "steer.h"

const volatile __u64 fragment_lifetime_ns __weak = 30000000000; /* as the kernel waits for the rest of an IPv4 one */
#define RX_DATAGRAM_BITS 14
#define LO_DATAGRAM_BITS 10
#define TX_DATAGRAM_BITS 5 /* of one vport */

/* By which a receiver puts fragments together (RFC 791, RFC 8200). */
struct datagram_key {
	__be32 source[4];
	__be32 destination[4];
	__be32 id;
	__u8 protocol; /* of IPv4; IPv6 goes without it */
	__u8 zero[3];
};

/* What the first fragment of a datagram said, and under whose claim it went. */
struct datagram {
	struct datagram_key key;
	__u64 expires_ns; /* 0: nothing is here */
	__u64 cookie;	  /* of the claim's owner */
	__u32 vport;
	__u32 first_length; /* bytes of the first fragment behind its IP header, or its fragment header */
	__be16 source_port;
	__be16 destination_port;
	__u8 protocol; /* that has these ports */
	__u8 hops;
	__u8 zero[2];
	__be32 flow; /* as in struct packet */
};

/* A hash map's value may be another key's by the time it is read; what is read here is one datagram's, whole. */
struct datagram_place {
	struct bpf_spin_lock lock;
	__u32 zero;
	struct datagram datagram;
};

/*
 * Of no use to anybody else, hence not pinned. Two datagrams that fall on one place push each other out. Whoever floods
 * the wire with first fragments can do that to received datagrams, and to nothing that is not in fragments. Any user of
 * this host can make fragments too (IPV6_MTU), in an address that is not the host's (IPV6_FREEBIND): what comes over
 * the loopback device has places of its own, so that neither side pushes out or begins the other's. Among those sent,
 * each vport has.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << RX_DATAGRAM_BITS);
	__type(key, __u32);
	__type(value, struct datagram_place);
} rx_datagrams SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << LO_DATAGRAM_BITS);
	__type(key, __u32);
	__type(value, struct datagram_place);
} lo_datagrams SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MSTACK_MAX_SLOTS << TX_DATAGRAM_BITS);
	__type(key, __u32);
	__type(value, struct datagram_place);
} tx_datagrams SEC(".maps") __weak;

enum fragment_kind {
	NO_FRAGMENT, /* not even what says which it is could be read */
	FIRST_FRAGMENT,
	LATER_FRAGMENT,
};

struct fragment {
	struct datagram_key key;
	__u32 offset; /* of its data in the datagram, bytes */
	__u32 length; /* of its data */
	enum fragment_kind kind;
	bool more;
	__u8 hops; /* time to live, hop limit */
};

/* The fields of the fragment that parse() stopped at; transport_offset is then where its data begins. */
static __always_inline void read_fragment_fields(struct packet *packet, struct fragment *fragment, void *data,
						 const void *end)
{
	__u16 field;

	if (is_ipv6(packet)) {
		const struct ipv6hdr *ip = network_of(packet, data);
		const __be16 *header = transport_of(packet, data);

		if (!ip || (const void *)(ip + 1) > end || !header || (const void *)(header + 4) > end)
			return;
		field = bpf_ntohs(header[1]);
		fragment->more = field & 1;
		fragment->offset = field & 0xfff8;
		fragment->key.id = header[2] | (__u32)header[3] << 16; /* as in memory */
		fragment->hops = ip->hop_limit;
		packet->protocol = *(const __u8 *)header;
		packet->transport_offset += 8;
	} else {
		const struct iphdr *ip = network_of(packet, data);

		if (!ip || (const void *)(ip + 1) > end)
			return;
		field = bpf_ntohs(ip->frag_off);
		fragment->more = field & IPV4_MORE;
		fragment->offset = (field & IPV4_OFFSET) * 8;
		fragment->key.id = ip->id;
		fragment->key.protocol = ip->protocol;
		fragment->hops = ip->ttl;
	}
	fragment->kind = fragment->offset ? LATER_FRAGMENT : FIRST_FRAGMENT;
	fragment->length = packet->length - packet->transport_offset;
	__builtin_memcpy(fragment->key.source, packet->source.addr, sizeof(fragment->key.source));
	__builtin_memcpy(fragment->key.destination, packet->destination.addr, sizeof(fragment->key.destination));
}

static __always_inline bool is_ipv4_checksum_right(const struct iphdr *ip)
{
	const __be16 *words = (const __be16 *)ip;
	__u32 sum = 0;

	for (int i = 0; i < 10; i++)
		sum += words[i];
	return (sum & 0xffff) + (sum >> 16) == 0xffff;
}

/*
 * Wherever the first fragment goes, the others go, and the other way round: nobody on the way has a reason to end one
 * and not the other. So there are no options that one could have and the other not, no demand not to cut it up further,
 * and a header that is right. Hops and traffic class are compared: recall_datagram().
 */
static __always_inline enum parse_result check_sent(const struct packet *packet, void *data, const void *end)
{
	const struct iphdr *ip = network_of(packet, data);

	if (is_ipv6(packet))
		return packet->headers > 1 ? TOO_MANY_HEADERS : PARSED;
	if (packet->transport_offset > sizeof(*ip))
		return TOO_MANY_HEADERS;
	if (!ip || (const void *)(ip + 1) > end || ip->frag_off & bpf_htons(0xc000) || !is_ipv4_checksum_right(ip))
		return MALFORMED;
	return PARSED;
}

/* What no part of a datagram that was cut up looks like. */
static __always_inline bool is_cut_wrong(const struct packet *packet, const struct fragment *fragment)
{
	return packet->length <= packet->transport_offset || (fragment->more && fragment->length % 8) ||
	       fragment->offset + fragment->length > 65535;
}

/*
 * Of a FRAGMENT. PARSED: nothing is wrong with it, and of a first one `packet` has the ports. One that is sent has
 * nothing in front of them but the fragment header: they are then in the 8 bytes that no later fragment can begin in,
 * whatever a receiver does with fragments that overlap.
 */
static __always_inline enum parse_result read_fragment(struct packet *packet, struct fragment *fragment, void *ctx,
						       void *data, const void *end, __u32 how)
{
	enum parse_result parsed;

	*fragment = (struct fragment){};
	read_fragment_fields(packet, fragment, data, end);
	if (fragment->kind == NO_FRAGMENT)
		return MALFORMED;
	if (!is_ipv6(packet) && packet->transport_offset > sizeof(struct iphdr)) {
		parsed = parse_ipv4_options(network_of(packet, data), packet->transport_offset, end);
		if (parsed != PARSED)
			return parsed;
	}
	if (how & PARSE_TRANSMITTED) {
		parsed = check_sent(packet, data, end);
		if (parsed != PARSED)
			return parsed;
	}
	if (is_cut_wrong(packet, fragment))
		return MALFORMED;
	if (fragment->kind == LATER_FRAGMENT)
		return PARSED;
	if (how & PARSE_TRANSMITTED && is_extension(packet))
		return TOO_MANY_HEADERS;
	return walk(packet, ctx, how | PARSE_FIRST_FRAGMENT);
}

const volatile __u32 fragment_seed __weak; /* so that nobody can tell from outside which datagrams share a place */

static __always_inline __u32 datagram_hash(const struct datagram_key *key)
{
	const __u32 *words = (const __u32 *)key;
	__u32 hash = fragment_seed;

	for (__u32 i = 0; i < sizeof(*key) / sizeof(*words); i++) {
		hash = (hash ^ words[i]) * 0x9e3779b1;
		hash ^= hash >> 15;
	}
	return hash;
}

/* By the wire, which XDP sees, or by the loopback device, which TC sees. */
static __always_inline struct datagram_place *place_of_received(const struct datagram_key *key, __u32 how)
{
	__u32 hash = datagram_hash(key), rx = hash >> (32 - RX_DATAGRAM_BITS), lo = hash >> (32 - LO_DATAGRAM_BITS);

	return how & PARSE_IN_TC ? bpf_map_lookup_elem(&lo_datagrams, &lo) : bpf_map_lookup_elem(&rx_datagrams, &rx);
}

/* A datagram may be sent by any queue of the vport. */
static __always_inline struct datagram_place *place_of_sent(const struct datagram_key *key, __u32 vport_id)
{
	struct mstack_vport *vport = bpf_map_lookup_elem(&vports, &vport_id);
	__u32 place = datagram_hash(key) >> (32 - TX_DATAGRAM_BITS);

	if (!vport)
		return NULL;
	place |= (__u32)vport->slot << TX_DATAGRAM_BITS;
	return bpf_map_lookup_elem(&tx_datagrams, &place);
}

static __always_inline bool is_same_datagram(const struct datagram_key *a, const struct datagram_key *b)
{
	const __u32 *left = (const __u32 *)a, *right = (const __u32 *)b;
	__u32 difference = 0;

	for (__u32 i = 0; i < sizeof(*a) / sizeof(*left); i++)
		difference |= left[i] ^ right[i];
	return difference == 0;
}

static __always_inline void remember_datagram(struct datagram_place *place, const struct packet *packet,
					      const struct fragment *fragment, __u32 vport, __u64 cookie)
{
	__u64 expires_ns = bpf_ktime_get_ns() + fragment_lifetime_ns;

	bpf_spin_lock(&place->lock);
	place->datagram.key = fragment->key;
	place->datagram.expires_ns = expires_ns;
	place->datagram.cookie = cookie;
	place->datagram.vport = vport;
	place->datagram.first_length = fragment->length;
	place->datagram.source_port = packet->source.port;
	place->datagram.destination_port = packet->destination.port;
	place->datagram.protocol = packet->source.protocol;
	place->datagram.hops = fragment->hops;
	place->datagram.flow = packet->flow;
	bpf_spin_unlock(&place->lock);
}

static __always_inline void forget_datagram(struct datagram_place *place, const struct fragment *fragment)
{
	bpf_spin_lock(&place->lock);
	if (is_same_datagram(&place->datagram.key, &fragment->key))
		place->datagram.expires_ns = 0;
	bpf_spin_unlock(&place->lock);
}

/* What a later fragment is measured by. */
struct recalled {
	__u64 cookie;
	__u32 vport;
	__u32 length; /* of the first one's data */
};

/* Fills in the ports, which are the first one's. What is sent lives on its way no longer and no shorter than that. */
static __always_inline bool recall_datagram(struct datagram_place *place, struct packet *packet,
					    const struct fragment *fragment, struct recalled *first, __u32 how)
{
	__be16 source_port, destination_port;
	__u64 expires_ns;
	bool same;

	bpf_spin_lock(&place->lock);
	same = is_same_datagram(&place->datagram.key, &fragment->key) &&
	       (!(how & PARSE_TRANSMITTED) ||
		(place->datagram.flow == packet->flow && place->datagram.hops == fragment->hops));
	expires_ns = place->datagram.expires_ns;
	first->cookie = place->datagram.cookie;
	first->vport = place->datagram.vport;
	first->length = place->datagram.first_length;
	source_port = place->datagram.source_port;
	destination_port = place->datagram.destination_port;
	packet->protocol = place->datagram.protocol;
	bpf_spin_unlock(&place->lock);
	parsed_ports(packet, source_port, destination_port);
	return same && expires_ns > bpf_ktime_get_ns();
}

/* Of the socket under whose claim, the vport's, a packet with this local tuple goes. 0: there is none any more. */
static __noinline __u64 cookie_of(const struct mstack_tuple *local, __u32 vport)
{
	struct mstack_tuple key = *local;
	struct mstack_claim *claim = active_claim(&key);

	if (!claim) {
		make_wildcard(&key);
		claim = active_claim(&key);
	}
	return claim && claim->vport == vport ? claim->cookie : 0;
}

/* Whether a later fragment, which is the vport's by its ports, goes under the very claim that the first went under. */
static __always_inline bool is_under_same_claim(const struct recalled *first, const struct mstack_tuple *local,
						__u32 vport)
{
	return first->vport == vport && first->cookie && first->cookie == cookie_of(local, vport);
}

#endif
