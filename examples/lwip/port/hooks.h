/* SPDX-License-Identifier: BSD-2-Clause */
/* Included by lwIP (LWIP_HOOK_FILENAME). */
#ifndef MSTACK_LWIP_HOOKS_H
#define MSTACK_LWIP_HOOKS_H

#include "lwip/ip_addr.h"

#ifdef __cplusplus
extern "C" {
#endif
/* RFC 6528: what nobody but the two ends can guess. lwIP's own initial sequence numbers count up from a constant. */
u32_t mstack_lwip_initial_sequence(const ip_addr_t* local, u16_t local_port, const ip_addr_t* remote,
                                   u16_t remote_port);
/* Packets that a connection may hold out of order: those of a whole window, or none where many have been held. */
u16_t mstack_lwip_out_of_order_limit(void);
#ifdef __cplusplus
}
#endif

#define LWIP_HOOK_TCP_ISN mstack_lwip_initial_sequence

#endif
