/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lwIP as a server's stack over one vport queue: one thread, the raw API, TCP and UDP over IPv4 and IPv6. See
 * lwip/opt.h for what each option means; here is why it has this value.
 */
#ifndef MSTACK_LWIPOPTS_H
#define MSTACK_LWIPOPTS_H

/* One thread does everything: no locks, no mailboxes, no sequential API. */
#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_NETCONN 0
#define LWIP_SOCKET 0
#define LWIP_TIMERS 1
#define LWIP_HOOK_FILENAME "hooks.h"

/* Below IP there is nothing for a stack to do: its one neighbour, the host end, answers for every address, and writes
 * both MACs itself. So there is no ARP and no neighbour discovery, and the netif writes the Ethernet header. */
#define LWIP_SINGLE_NETIF 1
#define LWIP_ARP 0
#define LWIP_ETHERNET 0
#define LWIP_IPV4 1
#define LWIP_IPV6 1
#define LWIP_IPV6_MLD 0
#define LWIP_IPV6_AUTOCONFIG 0
#define LWIP_IPV6_SEND_ROUTER_SOLICIT 0
#define LWIP_IPV6_DUP_DETECT_ATTEMPTS 0
#define LWIP_IPV6_NUM_ADDRESSES 1
#define LWIP_ND6_TCP_REACHABILITY_HINTS 0
#define LWIP_NETIF_LOOPBACK 0 /* what is sent to an own address goes out too: another stack may have that port */
#define LWIP_NETIF_EXT_STATUS_CALLBACK 0
#define LWIP_ICMP 1
#define LWIP_ICMP6 1
#define LWIP_IGMP 0
#define LWIP_RAW 0
#define LWIP_DHCP 0
#define LWIP_DNS 0
/* Of the counters only those of the pools, which tell how scarce segments are. */
#define LWIP_STATS 1
#define MEMP_STATS 1
#define LINK_STATS 0
#define IP_STATS 0
#define IP6_STATS 0
#define ICMP_STATS 0
#define ICMP6_STATS 0
#define UDP_STATS 0
#define TCP_STATS 0
#define MEM_STATS 0
#define SYS_STATS 0
/* TCP sends nothing larger than the MTU, and takes nothing that is not whole. */
#define IP_FORWARD 0
#define IP_REASSEMBLY 0
#define IP_FRAG 0
#define LWIP_IPV6_FRAG 0
#define LWIP_IPV6_REASS 0

/* lwIP computes and checks all checksums, with mstack_lwip_checksum(): see the README for why nobody else does. */
#define LWIP_CHECKSUM_ON_COPY 0
#define LWIP_NETIF_TX_SINGLE_PBUF 0 /* a packet is gathered when it is copied into its UMEM frame, once */

/* Fixed pools, whose sizes are the limits of a hostile peer; packets' payload and headers from malloc(). */
#define MEM_LIBC_MALLOC 1
#define MEMP_MEM_MALLOC 0
#define MEM_ALIGNMENT 8
/* Connections, in any state. The oldest in TIME_WAIT makes room for a new one, and the oldest that is half open: see
 * HalfOpen. Whoever keeps so many others open keeps everybody out, until the program lets them go. */
#define MEMP_NUM_TCP_PCB 8192
#define MEMP_NUM_TCP_PCB_LISTEN 64
#define MEMP_NUM_UDP_PCB 256
#define MEMP_NUM_TCP_SEG 65535 /* the most that lwIP can count */
#define MEMP_NUM_PBUF 65535    /* pbufs that refer to data, one for each segment that is written without a copy */
#define MEMP_NUM_SYS_TIMEOUT 32
#define LWIP_SUPPORT_CUSTOM_PBUF 1
#define PBUF_POOL_SIZE 64 /* hardly used: what is received stays in the UMEM */

#define LWIP_TCP 1
#define LWIP_UDP 1
#define LWIP_UDPLITE 0
/* The most there is; the MSS of a connection is of the vport's MTU. */
#define TCP_MSS 8960
#define TCP_OVERSIZE 0
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 4
#define TCP_WND (256 * 1024)
#define TCP_SND_BUF (256 * 1024)
#define TCP_SND_QUEUELEN 1024
#define TCP_SNDLOWAT 32768
#define TCP_SNDQUEUELOWAT 256
#define TCP_QUEUE_OOSEQ 1
/* What has come out of order takes segments of the pool that all connections send from, one for each packet, be it a
 * byte. To drop it is always allowed: it comes again. */
#define TCP_OOSEQ_PBUFS_LIMIT(pcb) mstack_lwip_out_of_order_limit()
#define LWIP_TCP_SACK_OUT 1
#define LWIP_TCP_KEEPALIVE 1
#define TCP_LISTEN_BACKLOG 0
#define LWIP_TCP_PCB_NUM_EXT_ARGS 2 /* for PcbIndex and HalfOpen */
/* Delayed acknowledgements after 20 ms, retransmission timeouts from 120 ms on: about what Linux does. lwIP's own
 * 250 ms make for timeouts of 1.5 s, since they are counted in slow ticks of twice as much, three at least. */
#define TCP_TMR_INTERVAL 20
/* lwiperf counts its seconds in polls, each of two slow ticks, of two timer intervals each: this is 10 s, in a u8. */
#define LWIPERF_TCP_MAX_IDLE_SEC (10000 / (2 * 2 * TCP_TMR_INTERVAL))
/* TIME_WAIT for 30 s. */
#define TCP_MSL 15000UL
/* The pools are malloc'ed and bounded otherwise than lwIP's checks expect. */
#define LWIP_DISABLE_TCP_SANITY_CHECKS 1

#endif
