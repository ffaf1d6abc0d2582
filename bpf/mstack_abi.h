/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the BPF programs, mstackd and the tools agree on: the layout of every map, the verdicts, and the
 * version of the whole. A change to any layout here is a new MSTACK_SCHEMA_VERSION.
 *
 * Byte order: fields of type __be16 and __be32 hold wire order, all others host order.
 */
#ifndef MSTACK_ABI_H
#define MSTACK_ABI_H

#include <linux/types.h>

#define MSTACK_SCHEMA_VERSION 5

#define MSTACK_MAX_SLOTS      1024 /* slots are 2 .. MSTACK_MAX_SLOTS - 1: ifindexes of stack ends, where 1 is lo */
#define MSTACK_MIN_FRAME      1792 /* bytes of an Ethernet frame that every vport's device takes, at least */
#define MSTACK_MAX_QUEUES     16   /* queues of one vport; they take contiguous slots */
#define MSTACK_MAX_UPLINKS    64
#define MSTACK_MAX_ADDRS      4096
#define MSTACK_MAX_VLANS      4096 /* VLAN devices on uplinks */
#define MSTACK_MAX_TAGS	      2	   /* of a frame */
#define MSTACK_DEFAULT_CLAIMS 65536
#define MSTACK_IFNAMSIZ	      16

/* local_addrs: an address of this host. IPv4 is the mapped address ::ffff:a.b.c.d, here and in every tuple. */
struct mstack_address {
	__be32 addr[4];
};

/* local_addrs: address > where it is */
struct mstack_local {
	__u32 ifindex;	/* of a device that has it */
	__u8 mac[6];	/* of that device; zero if it has none */
	__u8 broadcast; /* the broadcast address of a subnet: nobody's to send from, and no wildcard's */
	__u8 zero;
};

/* The key of everything: who is the local party of a packet. */
struct mstack_tuple {
	__be32 addr[4];
	__be16 port;
	__u8 protocol; /* IPPROTO_TCP, _UDP, _UDPLITE, _SCTP or _DCCP */
	__u8 zero;     /* part of the key, so it must be 0 */
};

/*
 * A claim is written PENDING, the owner is looked at once more, and only then is it made ACTIVE: a bind
 * that sock_bind sees in between is refused, one that it saw before is found by that second look. The
 * data path acts on ACTIVE claims alone.
 */
enum mstack_claim_state {
	MSTACK_CLAIM_PENDING = 0,
	MSTACK_CLAIM_ACTIVE = 1,
	MSTACK_CLAIM_SUSPENDED = 2, /* its address is none of this host's; ACTIVE again when it is */
};

/* claims: tuple > claim */
struct mstack_claim {
	__u64 cookie; /* SO_COOKIE of the owner */
	__u32 vport;  /* never used twice */
	__u32 uid;    /* who bound the owner */
	__u16 slot;   /* the vport's first slot */
	__u16 queues; /* 1 .. MSTACK_MAX_QUEUES */
	__u32 state;  /* enum mstack_claim_state */
};

/* sockets: socket storage that the hooks of sock_life write and nobody else. It says what the owner is bound to. */
struct mstack_socket {
	struct mstack_tuple tuple; /* as bound: 0.0.0.0 is ::ffff:0.0.0.0, a dual-stack :: is :: */
	__u32 uid;
	__u64 netns_cookie;
	__u64 cookie; /* 0: the record of nothing, `unfit` may say why */
	__u32 unfit;  /* enum mstack_socket_unfit: why it can own no claim, for good */
	__u32 v6only; /* of an IPv6 socket: whether its :: leaves IPv4 alone */
};

/*
 * An owner must hold its port for as long as its claim lives: connect() and sendto() on a socket that was never bound
 * take any port that the kernel thinks is free, and no hook sees that. These are the sockets that would let go of it,
 * or share it.
 */
enum mstack_socket_unfit {
	MSTACK_SOCKET_PICKED_PORT = 1 << 0, /* bound to port 0: connect(AF_UNSPEC) gives the port back */
	MSTACK_SOCKET_CONNECTED = 1 << 1,   /* of 0.0.0.0 and :: it then holds one address */
	MSTACK_SOCKET_ON_DEVICE = 1 << 2,   /* SO_BINDTODEVICE: it holds the port on that device alone */
	MSTACK_SOCKET_SHARES = 1 << 3,	    /* SO_REUSEADDR or SO_REUSEPORT: bind() may give its port to another too */
	MSTACK_SOCKET_KERNEL = 1 << 4,	    /* made by the kernel below another (SMC): its close runs no sock_release */
};

/* host_ends: ifindex of a host end > whose frames vport_tx is looking at */
struct mstack_host_end {
	__u32 vport;
	__u32 slot;
};

/* vports: vport id > what the tools show of it, and what a restarted mstackd needs to take it over */
struct mstack_vport {
	__u64 xsk_cookie; /* SO_COOKIE of queue 0's AF_XDP socket: who holds that socket holds the vport */
	__u64 umem_bytes;
	__u64 created_ns; /* CLOCK_REALTIME */
	__u32 uid;
	__u32 pid;
	__u16 slot;
	__u16 queues;
	__u32 flags; /* enum mstack_vport_flags */
	char comm[16];
};

enum mstack_vport_flags {
	MSTACK_VPORT_THROUGHPUT = 1 << 0,   /* host ends defer their NAPI: fewer, larger batches on transmit */
	MSTACK_VPORT_MULTI_BUFFER = 1 << 1, /* a packet may take several frames */
};

/* uplink_info: ifindex > what MultiStack knows of an uplink. One that is not there has a number that is no ifindex. */
struct mstack_uplink {
	char name[MSTACK_IFNAMSIZ];
	char asked[MSTACK_IFNAMSIZ]; /* by which it was attached, and is again when it comes back */
	__u32 flags;		     /* enum mstack_uplink_flags */
	__u32 mode;		     /* of XDP, as asked: enum XdpMode of the protocol */
};

#define MSTACK_NO_IFINDEX 0x80000000

enum mstack_uplink_flags {
	MSTACK_UPLINK_NATIVE = 1 << 0,	/* XDP in the driver; otherwise generic */
	MSTACK_UPLINK_XMIT = 1 << 1,	/* takes redirected XDP frames, so it is in `uplinks`; otherwise TC sends */
	MSTACK_UPLINK_STAYS = 1 << 2,	/* attached by `mstack attach` or kept: stays when mstackd ends */
	MSTACK_UPLINK_DOWN = 1 << 3,	/* set down, or without a carrier */
	MSTACK_UPLINK_GONE = 1 << 4,	/* attached again when an interface of the name `asked` is there */
	MSTACK_UPLINK_CHAIN = 1 << 5,	/* is to be in a chain of XDP programs */
	MSTACK_UPLINK_CHAINED = 1 << 6, /* is in one */
	MSTACK_UPLINK_GUARDED = 1 << 7, /* uplink_tx is on it */
	MSTACK_UPLINK_XMIT_SG = 1 << 8, /* takes XDP frames of several buffers too; otherwise TC sends them */
};

/* A tag of 802.1Q or 802.1ad, in the bytes that it has on the wire if its priority and drop eligibility are 0. */
struct mstack_tag {
	__be16 protocol; /* 0x8100, 0x88a8 */
	__be16 id;	 /* of the VLAN */
};

/* A VLAN on an uplink, and in front of which tags its packets are there. One tag alone has zeros behind it. */
struct mstack_vlan {
	__u32 uplink;				 /* ifindex */
	struct mstack_tag tags[MSTACK_MAX_TAGS]; /* the outer first */
};

/* vlan_devices: ifindex of a VLAN device > how its packets leave by the uplink below it. The other way round: vlans. */
struct mstack_vlan_device {
	struct mstack_vlan vlan;
	char name[MSTACK_IFNAMSIZ];
};

/* meta: one element, written by mstackd at its start */
struct mstack_meta {
	__u32 schema;
	__u32 next_vport;
	__u64 netns_cookie; /* of the uplinks' network namespace */
	__u64 started_ns;   /* CLOCK_REALTIME */
	__u32 pid;	    /* of the mstackd that wrote this */
	__u32 max_claims;
};

/*
 * Every outcome of a packet, once: X(NAME, "text"). BPF counts by MSTACK_<NAME>, the tools print the text.
 * RX_PASS, LO_PASS: left to the kernel's stack untouched. RX_DROP, TX_DROP, GUARD_DROP: dropped. The rest was
 * delivered.
 */
#define MSTACK_VERDICTS(X)                                                                                             \
	X(RX_STEERED, "steered to a vport")                                                                            \
	X(RX_PASS_UNCLAIMED, "to the kernel: tuple is not claimed")                                                    \
	X(RX_PASS_NOT_LOCAL, "to the kernel: wildcard claim, but not an address of this host")                         \
	X(RX_PASS_OWN_SOURCE, "to the kernel: not from the wire, but from this host itself, or says so")               \
	X(RX_PASS_NOT_IP, "to the kernel: neither IPv4 nor IPv6")                                                      \
	X(RX_PASS_VLAN, "to the kernel: tagged, and for no VLAN device that is up on the uplink, or in three tags")    \
	X(RX_PASS_PROTOCOL, "to the kernel: a protocol without ports, or ICMP that is no error")                       \
	X(RX_PASS_ICMP, "to the kernel: ICMP error that does not quote enough of a packet of the address it went to")  \
	X(RX_PASS_FRAGMENT, "to the kernel: fragment of a datagram whose first one was not steered")                   \
	X(RX_PASS_OVERLAP, "to the kernel: fragment that overlaps the first one")                                      \
	X(RX_PASS_HEADERS, "to the kernel: source routed, or more options or extension headers than are walked")       \
	X(RX_PASS_MALFORMED, "to the kernel: truncated or malformed")                                                  \
	X(RX_DROP_TOO_BIG, "dropped: larger than the vport's frames")                                                  \
	X(RX_DROP_NO_VPORT, "dropped: claimed, but the vport is gone")                                                 \
	X(LO_PASS, "of this host to itself, to the kernel: for no claimed tuple")                                      \
	X(RX_DELIVERED, "delivered to a stack's socket")                                                               \
	X(RX_DROP_NO_SOCKET, "dropped: the stack's socket is closed")                                                  \
	X(RX_DROP_NOT_STEERED, "dropped: reached a stack end without being steered there")                             \
	X(TX_SENT, "sent by an uplink")                                                                                \
	X(TX_SENT_SLOW, "handed to the kernel, which finds the neighbour and sends by an uplink")                      \
	X(TX_TO_HOST, "handed to this host's own stack")                                                               \
	X(TX_TO_STACK, "handed to a stack of this host")                                                               \
	X(TX_ANSWERED, "ARP request or neighbour solicitation answered")                                               \
	X(TX_DROP_NO_VPORT, "dropped: from a host end of no vport, or to a vport that is gone")                        \
	X(TX_DROP_MALFORMED, "dropped: truncated or malformed")                                                        \
	X(TX_DROP_NOT_IP, "dropped: neither IPv4 nor IPv6")                                                            \
	X(TX_DROP_ARP, "dropped: ARP other than a request for another's address")                                      \
	X(TX_DROP_PROTOCOL, "dropped: a protocol without ports, or ICMP that is no error")                             \
	X(TX_DROP_ICMP, "dropped: ICMP error that is not about a packet to the sender, or that only routers send")     \
	X(TX_DROP_ICMP_RATE, "dropped: more ICMP errors than a queue may send")                                        \
	X(TX_DROP_FRAGMENT, "dropped: fragment, and none may be sent, or not without its first one")                   \
	X(TX_DROP_OVERLAP, "dropped: fragment that overlaps the first one")                                            \
	X(TX_DROP_HEADERS, "dropped: more options or extension headers than are walked")                               \
	X(TX_DROP_SOURCE_ROUTE, "dropped: source routing")                                                             \
	X(TX_DROP_UNCLAIMED, "dropped: source tuple is not claimed")                                                   \
	X(TX_DROP_NOT_OWNER, "dropped: source tuple is claimed by another vport")                                      \
	X(TX_DROP_NOT_LOCAL, "dropped: source is not an address of this host")                                         \
	X(TX_DROP_DESTINATION, "dropped: destination is no host, nor a group that UDP can be sent to")                 \
	X(TX_DROP_NO_ROUTE, "dropped: no route to the destination")                                                    \
	X(TX_DROP_TOO_BIG, "dropped: larger than the route's MTU, or than the frames of the vport it is for")          \
	X(TX_DROP_NOT_UPLINK, "dropped: the route leaves by no uplink")                                                \
	X(TX_DROP_NO_NEIGHBOUR, "dropped: the kernel could not take it for neighbour resolution")                      \
	X(TX_DROP_NEIGHBOUR_PACE, "dropped: too many packets to neighbours that are not known yet")                    \
	X(GUARD_DROP_NOT_OWNER, "dropped: sent from a claimed tuple by another than its owner")                        \
	X(GUARD_DROP_HEADERS, "dropped: headers that the guard cannot read to the end")

enum mstack_verdict {
#define MSTACK_VERDICT_ENUM(name, text) MSTACK_##name,
	MSTACK_VERDICTS(MSTACK_VERDICT_ENUM)
#undef MSTACK_VERDICT_ENUM
		MSTACK_VERDICT_COUNT,
};

/* vport_stats: slot > verdicts of that queue, per CPU. counters: verdict > packets of the whole host, per CPU. */
struct mstack_vport_stats {
	__u64 packets[MSTACK_VERDICT_COUNT];
	__u64 rx_bytes; /* of RX_DELIVERED */
	__u64 tx_bytes; /* of TX_SENT, TX_SENT_SLOW, TX_TO_HOST and TX_TO_STACK */
};

/* events: ring buffer */
enum mstack_event_type {
	MSTACK_EVENT_CLAIM_RELEASED = 1, /* the owner's socket closed or was bound anew */
	MSTACK_EVENT_TX_DROP = 2,	 /* a sample: the first of a reason on a slot and CPU, then one in 4,096 */
};

struct mstack_event {
	__u32 type;
	__u32 vport;
	__u32 verdict; /* enum mstack_verdict, of a drop */
	__u32 slot;
	__u64 cookie; /* of the owner, of a release */
	struct mstack_tuple tuple;
	__u32 zero;
};

/*
 * port_gate: how many claims a (protocol, port) has. One array read tells uplink_rx that nobody claimed
 * what most packets carry. mstackd maps it and counts up, sock_release counts down, both atomically.
 */
#define MSTACK_GATE_SIZE (5 * 65536)

static inline __attribute__((always_inline)) __u32 mstack_gate_index(__u8 protocol, __u16 port_host_order)
{
	switch (protocol) {
	case 6: /* IPPROTO_TCP */
		return port_host_order;
	case 17: /* IPPROTO_UDP */
		return 65536 + port_host_order;
	case 136: /* IPPROTO_UDPLITE */
		return 2 * 65536 + port_host_order;
	case 132: /* IPPROTO_SCTP */
		return 3 * 65536 + port_host_order;
	case 33: /* IPPROTO_DCCP */
		return 4 * 65536 + port_host_order;
	default: /* no element */
		return MSTACK_GATE_SIZE;
	}
}

/* address_gate: how many of local_addrs have an index. One array read tells of most addresses that they are not there.
 */
#define MSTACK_ADDRESS_GATE_BITS 12

static inline __attribute__((always_inline)) __u32 mstack_address_gate_index(const __be32 addr[4])
{
	return ((addr[0] ^ addr[1] ^ addr[2] ^ addr[3]) * 0x9e3779b1) >> (32 - MSTACK_ADDRESS_GATE_BITS);
}

/*
 * Which queue of a vport a flow belongs to, whatever CPU its packets arrive on. By both ends, so that many flows to one
 * server spread as well as many flows from its clients.
 */
static inline __attribute__((always_inline)) __u32 mstack_queue_of(const struct mstack_tuple *local,
								   const struct mstack_tuple *remote, __u32 queues)
{
	__u32 hash = local->addr[0] ^ local->addr[1] ^ local->addr[2] ^ local->addr[3];

	hash ^= remote->addr[0] ^ remote->addr[1] ^ remote->addr[2] ^ remote->addr[3];
	hash = hash * 0x9e3779b1 ^ ((__u32)remote->port << 16 | local->port);
	/* MurmurHash3's last step: every bit counts in every bit. */
	hash = (hash ^ hash >> 16) * 0x85ebca6b;
	hash = (hash ^ hash >> 13) * 0xc2b2ae35;
	hash ^= hash >> 16;
	return ((__u64)hash * queues) >> 32;
}

/*
 * Layer 2 between a vport and its stack is made up: the stack end is 02:4d:53:00:SLOT, its only neighbour, the
 * gateway, is the host end 02:4d:53:01:SLOT. A steered frame has both, whatever it had on the wire.
 */
static inline __attribute__((always_inline)) void mstack_mac(__u8 mac[6], __u8 end, __u32 slot)
{
	mac[0] = 0x02;
	mac[1] = 0x4d;
	mac[2] = 0x53;
	mac[3] = end;
	mac[4] = (__u8)(slot >> 8);
	mac[5] = (__u8)slot;
}

#define MSTACK_MAC_STACK_END 0
#define MSTACK_MAC_HOST_END  1

#ifdef __cplusplus
#define MSTACK_STATIC_ASSERT static_assert
#else
#define MSTACK_STATIC_ASSERT _Static_assert
#endif

MSTACK_STATIC_ASSERT(sizeof(struct mstack_local) == 12, "mstack_local");
MSTACK_STATIC_ASSERT(sizeof(struct mstack_tuple) == 20, "mstack_tuple");
MSTACK_STATIC_ASSERT(__builtin_offsetof(struct mstack_tuple, port) == 16, "mstack_tuple.port");
MSTACK_STATIC_ASSERT(__builtin_offsetof(struct mstack_tuple, protocol) == 18, "mstack_tuple.protocol");
MSTACK_STATIC_ASSERT(sizeof(struct mstack_claim) == 24, "mstack_claim");
MSTACK_STATIC_ASSERT(__builtin_offsetof(struct mstack_claim, vport) == 8, "mstack_claim.vport");
MSTACK_STATIC_ASSERT(__builtin_offsetof(struct mstack_claim, slot) == 16, "mstack_claim.slot");
MSTACK_STATIC_ASSERT(__builtin_offsetof(struct mstack_claim, state) == 20, "mstack_claim.state");
MSTACK_STATIC_ASSERT(sizeof(struct mstack_socket) == 48, "mstack_socket");
MSTACK_STATIC_ASSERT(__builtin_offsetof(struct mstack_socket, uid) == 20, "mstack_socket.uid");
MSTACK_STATIC_ASSERT(__builtin_offsetof(struct mstack_socket, cookie) == 32, "mstack_socket.cookie");
MSTACK_STATIC_ASSERT(__builtin_offsetof(struct mstack_socket, unfit) == 40, "mstack_socket.unfit");
MSTACK_STATIC_ASSERT(sizeof(struct mstack_host_end) == 8, "mstack_host_end");
MSTACK_STATIC_ASSERT(sizeof(struct mstack_vport) == 56, "mstack_vport");
MSTACK_STATIC_ASSERT(__builtin_offsetof(struct mstack_vport, uid) == 24, "mstack_vport.uid");
MSTACK_STATIC_ASSERT(__builtin_offsetof(struct mstack_vport, comm) == 40, "mstack_vport.comm");
MSTACK_STATIC_ASSERT(sizeof(struct mstack_uplink) == 40, "mstack_uplink");
MSTACK_STATIC_ASSERT(sizeof(struct mstack_vlan) == 12, "mstack_vlan");
MSTACK_STATIC_ASSERT(sizeof(struct mstack_vlan_device) == 28, "mstack_vlan_device");
MSTACK_STATIC_ASSERT(sizeof(struct mstack_meta) == 32, "mstack_meta");
MSTACK_STATIC_ASSERT(sizeof(struct mstack_vport_stats) == (MSTACK_VERDICT_COUNT + 2) * 8, "mstack_vport_stats");
MSTACK_STATIC_ASSERT(sizeof(struct mstack_event) == 48, "mstack_event");

#endif
