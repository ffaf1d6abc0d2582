/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every map of MultiStack, named as it is pinned; their layouts are in mstack_abi.h. Weak, since each object defines
 * those it includes and the linker makes one of all of them.
 */
#ifndef MSTACK_LIB_MAPS_H
#define MSTACK_LIB_MAPS_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "mstack_abi.h"

/* Sized by mstackd before load. Read by three hooks for every packet of a claimed port, written once a claim. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MSTACK_DEFAULT_CLAIMS);
	__type(key, struct mstack_tuple);
	__type(value, struct mstack_claim);
} claims SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MSTACK_GATE_SIZE);
	__type(key, __u32);
	__type(value, __u32);
} port_gate SEC(".maps") __weak;

/* One number, counted up by every change to `claims` or `local_addrs`, and odd while mstackd is at one: see known.h. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} claims_epoch SEC(".maps") __weak;

/* First slot of a vport > how many claims it has. mstackd maps it, as port_gate, to keep the quotas. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MSTACK_MAX_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} slot_claims SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct mstack_socket);
} sockets SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MSTACK_MAX_SLOTS);
	__type(key, __u32);
	__type(value, struct mstack_host_end);
} host_ends SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MSTACK_MAX_SLOTS);
	__type(key, __u32);
	__type(value, struct mstack_vport);
} vports SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, MSTACK_MAX_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} vport_devs SEC(".maps") __weak;

/*
 * The same twice more, for the kernel lets programs of one kind alone use a devmap. In a chain of XDP programs
 * uplink_rx is of another: it takes no frames of several buffers. And TC is.
 */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, MSTACK_MAX_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} vport_chain_devs SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MSTACK_MAX_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} vport_ifindexes SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, MSTACK_MAX_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} vport_xsks SEC(".maps") __weak;

/* The uplinks that take redirected XDP frames; a FIB result that is not among them is left to vport_tx_slow. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, MSTACK_MAX_UPLINKS);
	__type(key, __u32);
	__type(value, __u32);
} uplinks SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MSTACK_MAX_UPLINKS);
	__type(key, __u32);
	__type(value, struct mstack_uplink);
} uplink_info SEC(".maps") __weak;

/* What a tagged frame says that came in by an uplink > ifindex of the VLAN device that it is for. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MSTACK_MAX_VLANS);
	__type(key, struct mstack_vlan);
	__type(value, __u32);
} vlans SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MSTACK_MAX_VLANS);
	__type(key, __u32);
	__type(value, struct mstack_vlan_device);
} vlan_devices SEC(".maps") __weak;

/* The addresses of this host and the broadcast addresses of its subnets, as in a tuple. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MSTACK_MAX_ADDRS);
	__type(key, struct mstack_address);
	__type(value, struct mstack_local);
} local_addrs SEC(".maps") __weak;

/* mstackd alone writes it, as it writes local_addrs. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1 << MSTACK_ADDRESS_GATE_BITS);
	__type(key, __u32);
	__type(value, __u32);
} address_gate SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MSTACK_VERDICT_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MSTACK_MAX_SLOTS);
	__type(key, __u32);
	__type(value, struct mstack_vport_stats);
} vport_stats SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} events SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mstack_meta);
} meta SEC(".maps") __weak;

#endif
