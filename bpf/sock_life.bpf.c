/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A claim lives as long as its owner's bind(). post_bind writes down who bound what and refuses a bind that would
 * share a claimed tuple; sock_release, at the last close, takes the claim away. sock_port, sock_connect and sock_option
 * see to it that no owner lets go of its port before that. No daemon has a part in any of it.
 */
#include <linux/errno.h>

#include <bpf/bpf_core_read.h>

#include "lib/maps.h"
#include "lib/steer.h"

const volatile __u64 netns_cookie; /* of the uplinks' network namespace; other namespaces have other ports */

/* What the context of a cgroup socket program is underneath; `bpf_sock` does not show these to post_bind. */
struct sock_common___mstack {
	unsigned char skc_reuse : 4;
	unsigned char skc_reuseport : 1;
	unsigned char skc_ipv6only : 1;
	int skc_bound_dev_if;
} __attribute__((preserve_access_index));

struct sock___mstack {
	struct sock_common___mstack __sk_common;
	unsigned int sk_kern_sock : 1;
} __attribute__((preserve_access_index));

#define AF_INET6 10

static __always_inline void drop_claim(const struct mstack_tuple *tuple, __u64 cookie)
{
	struct mstack_claim *claim = bpf_map_lookup_elem(&claims, tuple);
	struct mstack_event *event;
	__u32 *count, gate, vport, slot;

	if (!claim || claim->cookie != cookie)
		return;
	vport = claim->vport;
	slot = claim->slot;
	/* mstackd may delete it as well: whoever succeeds counts. */
	if (bpf_map_delete_elem(&claims, tuple))
		return;
	begin_epoch();
	gate = mstack_gate_index(tuple->protocol, bpf_ntohs(tuple->port));
	count = bpf_map_lookup_elem(&port_gate, &gate);
	if (count)
		__sync_fetch_and_add(count, -1);
	count = bpf_map_lookup_elem(&slot_claims, &slot);
	if (count)
		__sync_fetch_and_add(count, -1);

	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return;
	*event = (struct mstack_event){
		.type = MSTACK_EVENT_CLAIM_RELEASED,
		.vport = vport,
		.slot = slot,
		.cookie = cookie,
		.tuple = *tuple,
	};
	bpf_ringbuf_submit(event, 0);
}

/* All that a socket can have claimed: its tuple, and of a dual-stack :: the IPv4 wildcard too. */
static __always_inline void drop_claims(const struct mstack_socket *socket)
{
	struct mstack_tuple tuple = socket->tuple;

	drop_claim(&tuple, socket->cookie);
	if (is_any_ipv6(&tuple)) {
		tuple.addr[2] = bpf_htonl(0xffff);
		drop_claim(&tuple, socket->cookie);
	}
}

static __always_inline bool is_claimed_by_other(const struct mstack_tuple *tuple, __u64 cookie)
{
	struct mstack_claim *claim = bpf_map_lookup_elem(&claims, tuple);

	/* PENDING counts here: its owner was bound first. */
	return claim && claim->cookie != cookie;
}

struct overlap {
	struct mstack_tuple tuple;
	__u64 cookie;
	bool ipv4, ipv6; /* the families that the new bind takes */
	bool found;
};

struct bpf_map; /* the kernel's, and opaque here */

static long overlap_with_address(struct bpf_map *map, const void *address, void *value, void *context)
{
	struct overlap *overlap = context;

	(void)map, (void)value;
	__builtin_memcpy(overlap->tuple.addr, address, sizeof(overlap->tuple.addr));
	if (is_mapped(overlap->tuple.addr) ? !overlap->ipv4 : !overlap->ipv6)
		return 0;
	overlap->found = is_claimed_by_other(&overlap->tuple, overlap->cookie);
	return overlap->found;
}

/* Would this bind share a port with a claim? The kernel itself allows it where both sockets asked for reuse. */
static __always_inline bool overlaps_claim(const struct mstack_socket *socket)
{
	const struct mstack_tuple *tuple = &socket->tuple;
	struct mstack_tuple wildcard = *tuple;
	struct overlap overlap = {
		.tuple = *tuple,
		.cookie = socket->cookie,
		.ipv4 = is_mapped(tuple->addr) || (is_any_ipv6(tuple) && !socket->v6only),
		.ipv6 = !is_mapped(tuple->addr),
	};

	if (!any_claim_on_port(tuple))
		return false;
	if (is_claimed_by_other(tuple, socket->cookie))
		return true;
	if (!is_wildcard(tuple)) {
		make_wildcard(&wildcard);
		return is_claimed_by_other(&wildcard, socket->cookie);
	}
	if (is_any_ipv6(tuple) && !socket->v6only) {
		wildcard.addr[2] = bpf_htonl(0xffff);
		if (is_claimed_by_other(&wildcard, socket->cookie))
			return true;
	}
	/* A wildcard takes the port of every address, and claims stand on this host's. */
	bpf_for_each_map_elem(&local_addrs, overlap_with_address, &overlap, 0);
	return overlap.found;
}

/*
 * A socket that never asked for reuse has its tuple alone, by bind()'s own rule: no socket that overlaps was there, and
 * none can come, neither by bind() nor by the port that connect() or sendto() picks; nor, once it is claimed, by the
 * address that connect() picks.
 */
static __always_inline bool may_share(struct bpf_sock *ctx)
{
	struct sock___mstack *sk = (void *)ctx;

	return BPF_CORE_READ_BITFIELD_PROBED(sk, __sk_common.skc_reuse) ||
	       BPF_CORE_READ_BITFIELD_PROBED(sk, __sk_common.skc_reuseport);
}

static __always_inline int bound(struct bpf_sock *ctx, const struct mstack_socket *socket)
{
	struct mstack_socket *record = bpf_sk_storage_get(&sockets, ctx, NULL, 0);
	bool refused = overlaps_claim(socket);
	struct mstack_socket before = {}, after = *socket;
	struct sock___mstack *sk = (void *)ctx;

	if (record)
		before = *record;
	if (BPF_CORE_READ(sk, __sk_common.skc_bound_dev_if))
		after.unfit = MSTACK_SOCKET_ON_DEVICE;
	if (may_share(ctx))
		after.unfit |= MSTACK_SOCKET_SHARES;
	/* An SMC socket that falls back to TCP hands its inner one to the user, who could claim by it. */
	if (BPF_CORE_READ_BITFIELD_PROBED(sk, sk_kern_sock))
		after.unfit |= MSTACK_SOCKET_KERNEL;
	after.unfit |= before.unfit;
	if (refused || after.unfit)
		after = (struct mstack_socket){.unfit = after.unfit}; /* of cookie 0: the record of nothing */
	if (record)
		*record = after;
	else if (!refused)
		bpf_sk_storage_get(&sockets, ctx, &after, BPF_SK_STORAGE_GET_F_CREATE);
	/*
	 * A socket that was bound before has lost that tuple, and its claim goes with it. First the new record, then
	 * the claim: mstackd, which inserts first and then reads the record, cannot miss both.
	 */
	if (before.cookie)
		drop_claims(&before);
	if (!refused)
		return 1;
	bpf_set_retval(-EADDRINUSE);
	return 0;
}

/* SCTP is not among them: its sockets bind() by a function of their own, which runs none of the hooks. */
static __always_inline bool has_ports(__u32 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE ||
	       protocol == IPPROTO_DCCP;
}

static __always_inline bool is_of_concern(struct bpf_sock *ctx)
{
	return has_ports(ctx->protocol) && bpf_get_netns_cookie(ctx) == netns_cookie;
}

static __always_inline struct mstack_socket describe(struct bpf_sock *ctx)
{
	return (struct mstack_socket){
		.tuple.port = bpf_htons(ctx->src_port), /* in host order here, unlike everywhere else */
		.tuple.protocol = ctx->protocol,
		.uid = (__u32)bpf_get_current_uid_gid(),
		.netns_cookie = netns_cookie,
		.cookie = bpf_get_socket_cookie(ctx),
	};
}

SEC("cgroup/post_bind4")
int sock_bind4(struct bpf_sock *ctx)
{
	struct mstack_socket socket;

	if (!is_of_concern(ctx))
		return 1;
	socket = describe(ctx);
	address_from_ipv4(socket.tuple.addr, ctx->src_ip4);
	return bound(ctx, &socket);
}

SEC("cgroup/post_bind6")
int sock_bind6(struct bpf_sock *ctx)
{
	struct sock___mstack *sk = (void *)ctx;
	struct mstack_socket socket;

	if (!is_of_concern(ctx))
		return 1;
	socket = describe(ctx);
	socket.tuple.addr[0] = ctx->src_ip6[0];
	socket.tuple.addr[1] = ctx->src_ip6[1];
	socket.tuple.addr[2] = ctx->src_ip6[2];
	socket.tuple.addr[3] = ctx->src_ip6[3];
	socket.v6only = BPF_CORE_READ_BITFIELD_PROBED(sk, __sk_common.skc_ipv6only);
	return bound(ctx, &socket);
}

/*
 * Before bind(): is the kernel to pick the port? It then locks the port to the socket less than one that was asked for,
 * and connect(AF_UNSPEC), which runs no hook, gives it back. The mark is for good, so that a second thread's bind() of
 * the same socket cannot take it off again; all hooks here run under the socket's lock.
 */
static __always_inline int mark_picked_port(struct bpf_sock_addr *ctx)
{
	struct mstack_socket *record;

	if (ctx->user_port || !has_ports(ctx->protocol) || bpf_get_netns_cookie(ctx) != netns_cookie)
		return 1;
	record = bpf_sk_storage_get(&sockets, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!record)
		return 0; /* no memory: better no bind than one without the mark */
	record->unfit |= MSTACK_SOCKET_PICKED_PORT;
	return 1;
}

SEC("cgroup/bind4")
int sock_port4(struct bpf_sock_addr *ctx)
{
	return mark_picked_port(ctx);
}

SEC("cgroup/bind6")
int sock_port6(struct bpf_sock_addr *ctx)
{
	return mark_picked_port(ctx);
}

/* An owner that is about to hold less than it claimed has its claims no more, and can have none again. */
static __always_inline void make_unfit(struct mstack_socket *record, enum mstack_socket_unfit why)
{
	struct mstack_socket before;

	if (!record)
		return;
	before = *record;
	*record = (struct mstack_socket){.unfit = before.unfit | why};
	if (before.cookie)
		drop_claims(&before);
}

/*
 * A socket of 0.0.0.0 or :: holds its port on one address while it is connected, and others may bind and claim it on
 * the rest. Connected anew it would take whichever address the route says, with no look at who has it: so this is one,
 * as if it bound to all of the family that it connects in.
 */
static __always_inline bool would_take_claimed(struct bpf_sock_addr *ctx, bool to_ipv4)
{
	struct mstack_socket socket = {.v6only = true};
	struct bpf_sock *sk = ctx->sk;

	/* Without a port it is given a free one. */
	if (!sk || !sk->src_port || !has_ports(ctx->protocol) || bpf_get_netns_cookie(ctx) != netns_cookie)
		return false;
	socket.tuple.port = bpf_htons(sk->src_port);
	socket.tuple.protocol = ctx->protocol;
	if (sk->family == AF_INET6) {
		socket.tuple.addr[0] = sk->src_ip6[0];
		socket.tuple.addr[1] = sk->src_ip6[1];
		socket.tuple.addr[2] = sk->src_ip6[2];
		socket.tuple.addr[3] = READ_ONCE(sk->src_ip6[3]); /* not by one load with what is below */
	} else {
		address_from_ipv4(socket.tuple.addr, sk->src_ip4);
	}
	if (!is_wildcard(&socket.tuple))
		return false;
	if (to_ipv4) /* :: takes an address of IPv4 too */
		socket.tuple.addr[2] = bpf_htonl(0xffff);
	socket.cookie = bpf_get_socket_cookie(ctx);
	return overlaps_claim(&socket);
}

static __always_inline int connects(struct bpf_sock_addr *ctx, bool to_ipv4)
{
	if (would_take_claimed(ctx, to_ipv4)) {
		bpf_set_retval(-EADDRINUSE);
		return 0;
	}
	make_unfit(bpf_sk_storage_get(&sockets, ctx->sk, NULL, 0), MSTACK_SOCKET_CONNECTED);
	return 1;
}

SEC("cgroup/connect4")
int sock_connect4(struct bpf_sock_addr *ctx)
{
	return connects(ctx, true);
}

SEC("cgroup/connect6")
int sock_connect6(struct bpf_sock_addr *ctx)
{
	__be32 to[4] = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]};

	return connects(ctx, is_mapped(to));
}

#define SOL_SOCKET	 1
#define SO_REUSEADDR	 2
#define SO_REUSEPORT	 15
#define SO_BINDTODEVICE	 25
#define SO_BINDTOIFINDEX 62

/*
 * Before the option is set. A socket that asks for reuse is marked even if it is not bound: another thread may bind it
 * before the option is there for post_bind to see.
 */
static __always_inline bool mark_option(struct bpf_sockopt *ctx)
{
	struct mstack_socket *record;

	if (ctx->level != SOL_SOCKET || !ctx->sk)
		return true;
	switch (ctx->optname) {
	case SO_BINDTODEVICE:
	case SO_BINDTOIFINDEX:
		make_unfit(bpf_sk_storage_get(&sockets, ctx->sk, NULL, 0), MSTACK_SOCKET_ON_DEVICE);
		return true;
	case SO_REUSEADDR:
	case SO_REUSEPORT:
		if (!has_ports(ctx->sk->protocol) || bpf_get_netns_cookie(ctx) != netns_cookie)
			return true;
		record = bpf_sk_storage_get(&sockets, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
		if (!record)
			return false; /* no memory: better no option than no mark */
		make_unfit(record, MSTACK_SOCKET_SHARES);
		return true;
	default:
		return true;
	}
}

SEC("cgroup/setsockopt")
int sock_option(struct bpf_sockopt *ctx)
{
	bool marked = mark_option(ctx);

	/* Of a value larger than a page the kernel shows its beginning, and wants to be told (before 6.4) to take the
	 * caller's own. Smaller ones are left to other programs on the cgroup, as they are.
	 */
	if (ctx->optlen > 4096)
		ctx->optlen = 0;
	return marked;
}

SEC("cgroup/sock_release")
int sock_release(struct bpf_sock *ctx)
{
	struct mstack_socket *record = bpf_sk_storage_get(&sockets, ctx, NULL, 0);

	if (record) {
		struct mstack_socket socket = *record;

		drop_claims(&socket);
	}
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
